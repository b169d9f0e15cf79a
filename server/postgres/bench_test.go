package postgres_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
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
