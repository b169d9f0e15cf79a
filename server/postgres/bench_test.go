package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// benchWorld has room for many pods.
func benchWorld(b *testing.B) (*world, func(context.Context) (api.Pod, error)) {
	b.Helper()
	w := newWorld(b)
	w.exec(b, "update public.cluster_config set max_total_pods = 1000000")
	ann := w.user(b, api.RoleOperator, api.RoleDeveloper)
	k := w.pack(b, ann, "hello", "1.0.0")
	return w, func(ctx context.Context) (api.Pod, error) {
		return w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID})
	}
}

func BenchmarkCreatePod(b *testing.B) {
	_, create := benchWorld(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := create(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pods/s")
}

func BenchmarkBind1000(b *testing.B) {
	const pods = 1000
	w, create := benchWorld(b)
	ann := w.user(b, api.RoleOperator)
	n := w.node(b, ann, "n1").Node
	p, err := create(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	_ = w.Lead(ctx, func(ctx context.Context) error {
		defer cancel()
		for b.Loop() {
			b.StopTimer()
			w.exec(b, `insert into public.pods (pack_id, pack_name, pack_version, created_by)
				select $1, '', '', $2 from generate_series(1, $3)`, p.PackID, p.CreatedBy, pods)
			rows, err := w.conn.Query(ctx, "select id::text from public.pods where status = 'pending' limit $1", pods)
			if err != nil {
				b.Fatal(err)
			}
			var ds []scheduler.Decision
			for rows.Next() {
				d := scheduler.Decision{Incarnation: 1, NodeID: n.ID}
				if err := rows.Scan(&d.PodID); err != nil {
					b.Fatal(err)
				}
				ds = append(ds, d)
			}
			b.StartTimer()
			if stale, err := w.Bind(ctx, ds); err != nil || len(stale) > 0 {
				b.Errorf("bind: %v, %d stale", err, len(stale))
			}
		}
		b.ReportMetric(pods*float64(b.N)/b.Elapsed().Seconds(), "pods/s")
		return nil
	})
}

// BenchmarkListPods lists a hundred of 10,000 pods by a label, of the rows and with the
// read model, and tells what the process of Postgres and this one need for one list.
func BenchmarkListPods(b *testing.B) {
	w := newWorld(b)
	ann := w.user(b, api.RoleDeveloper)
	k := w.pack(b, ann, "hello", "1.0.0")
	w.exec(b, "update public.cluster_config set max_total_pods = 1000000, max_total_nodes = 10000")
	w.exec(b, `insert into public.pods (pack_id, created_by, labels)
		select $1::uuid, $2::uuid, jsonb_build_object('shard', 's' || i % 100) from generate_series(1, 10000) i`, k.ID, ann.UserID)
	w.exec(b, `insert into public.nodes (name, runtime_type, status, registered_by, allocatable)
		select 'n' || i, 'node', 'online', $1, '{"cpu":4000,"memory":8192,"storage":10240,"pods":50}' from generate_series(1, 1000) i`, ann.UserID)
	w.exec(b, `update public.pods p set status = 'scheduled', node_id = n.id
		from (select id, row_number() over () as i from public.nodes) n, (select id, row_number() over () as i from public.pods) q
		where q.id = p.id and n.i = q.i % 1000 + 1`)
	w.exec(b, "vacuum analyze")
	model := store.New()
	for name, c := range map[string]postgres.Config{"rows": {}, "model": {Store: model}} {
		b.Run(name, func(b *testing.B) {
			c.URL, c.PoolSize = w.at.URL, 1
			db := open(b, c)
			if err := db.Ping(b.Context()); err != nil {
				b.Fatal(err)
			}
			if c.Store != nil {
				fill(b, db, model)
			}
			pid := value[int](b, w, "select max(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'stark-server'")
			before, own, n := onCPU(b, pid), onCPU(b, os.Getpid()), 0
			for b.Loop() {
				q := api.PodQuery{PageQuery: api.PageQuery{PageSize: 100}, LabelSelector: "shard=s" + strconv.Itoa(n%100)}
				if page, err := db.ListPods(b.Context(), ann, q); err != nil || len(page.Items) != 100 {
					b.Fatal(len(page.Items), err)
				}
				n++
			}
			b.ReportMetric(float64((onCPU(b, pid)-before).Microseconds())/float64(n), "postgres-us/op")
			b.ReportMetric(float64((onCPU(b, os.Getpid())-own).Microseconds())/float64(n), "own-us/op")
		})
	}
}

// fill keeps a read model up to date until the benchmark ends.
func fill(b *testing.B, db *postgres.DB, model *store.Store) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Feed(ctx, model.Apply)
	}()
	b.Cleanup(func() { cancel(); <-done })
	if err := model.Await(ctx, func(string) bool { return !model.Pods.Snapshot().At().IsZero() }); err != nil {
		b.Fatal(err)
	}
}

// onCPU is how long a process has run on a CPU.
func onCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	var sum time.Duration
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	if err != nil || len(threads) == 0 {
		b.Skip("this system does not tell: ", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}

// BenchmarkFeedLag measures from before a commit of another server to its row in
// the read model.
func BenchmarkFeedLag(b *testing.B) {
	w, create := benchWorld(b)
	s := feed(b, open(b, postgres.Config{URL: w.at.URL}))
	events := s.Pods.Notify(b.Context())
	var worst atomic.Int64
	for b.Loop() {
		start := time.Now()
		p, err := create(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, ok := s.Pods.Snapshot().Get(p.ID); !ok; _, ok = s.Pods.Snapshot().Get(p.ID) {
			<-events
		}
		worst.Store(max(worst.Load(), int64(time.Since(start))))
	}
	b.ReportMetric(float64(worst.Load())/1e6, "worst-ms")
}
