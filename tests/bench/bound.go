package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// boundPods are pending at once.
const boundPods = 10_000

// field is a cluster whose nodes are rows: online, with leases that the bench renews,
// and without an agent. The server and its scheduler are the real ones.
type field struct {
	*harness.Cluster
	conn   *pgx.Conn // the bench's own
	packs  []string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (b *bench) field(ctx context.Context, nodes int) (*field, error) {
	c, err := b.cluster(ctx, harness.Options{})
	if err != nil {
		return nil, err
	}
	f := &field{Cluster: c, cancel: func() {}}
	if f.conn, err = pgx.Connect(ctx, c.Stack.DBURL); err != nil {
		return f, err
	}
	if err := f.populate(ctx, nodes); err != nil {
		return f, err
	}
	if err := f.renew(ctx); err != nil {
		return f, err
	}
	syscall.Sync() // see cluster
	return f, f.known(ctx)
}

func (f *field) close(ctx context.Context) {
	if f == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	f.cancel()
	f.done.Wait()
	if f.conn != nil {
		_ = f.conn.Close(ctx)
	}
	_ = f.Close(ctx)
}

// populate writes the nodes of crowd and twenty packs.
func (f *field) populate(ctx context.Context, n int) error {
	owner := f.Session.User.ID
	if _, err := f.conn.Exec(ctx, "update public.cluster_config set max_total_nodes = 100000, max_total_pods = 1000000"); err != nil {
		return err
	}
	for i := range 20 {
		var id string
		if err := f.conn.QueryRow(ctx, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
			values ($1, '1.0.0', 'node', $2, 'ready', repeat('a', 64), 1) returning id::text`, fmt.Sprintf("pack%d", i), owner).Scan(&id); err != nil {
			return err
		}
		f.packs = append(f.packs, id)
	}
	nodes := crowd(n, 0).Nodes
	text, err := json.Marshal(nodes)
	if err != nil {
		return err
	}
	_, err = f.conn.Exec(ctx, `with made as (
			insert into public.nodes (name, runtime_type, status, registered_by, shared, allocatable, labels, taints)
			select d.name, 'node', 'online', $2, true, d.allocatable, d.labels, coalesce(d.taints, '[]')
			from jsonb_to_recordset($1::text::jsonb) as d (name text, allocatable jsonb, labels jsonb, taints jsonb)
			returning id)
		insert into stark.node_leases (node_id) select id from made`, string(text), owner)
	return err
}

// renew keeps the leases fresh until the field is closed.
func (f *field) renew(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, f.Stack.DBURL)
	if err != nil {
		return err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.done.Go(func() {
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		for {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
			if _, err := conn.Exec(ctx, "update stark.node_leases set renewed_at = now()"); err != nil {
				return
			}
		}
	})
	return nil
}

// known waits until the scheduler knows all nodes: the feed has an order, so it does
// when a pod is bound that came after them.
func (f *field) known(ctx context.Context) error {
	if err := f.ask(ctx, 0, 1); err != nil {
		return err
	}
	return f.allBound(ctx)
}

// ask writes pods of mixed shapes in one transaction.
func (f *field) ask(ctx context.Context, from, n int) error {
	type row struct {
		Pack        string           `json:"pack"`
		Labels      any              `json:"labels"`
		Requests    any              `json:"requests"`
		Tolerations []api.Toleration `json:"tolerations"`
		Scheduling  api.Scheduling   `json:"scheduling"`
	}
	rows := make([]row, n)
	for i := range rows {
		p := mixedPod(from + i)
		rows[i] = row{f.packs[(from+i)%len(f.packs)], p.Labels, p.ResourceRequests, p.Tolerations, p.Scheduling}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	_, err = f.conn.Exec(ctx, `insert into public.pods (pack_id, created_by, labels, resource_requests, resource_limits, tolerations, scheduling)
		select d.pack, $2, d.labels, d.requests, d.requests, coalesce(d.tolerations, '[]'), d.scheduling
		from jsonb_to_recordset($1::text::jsonb) as d (pack uuid, labels jsonb, requests jsonb, tolerations jsonb, scheduling jsonb)`,
		string(text), f.Session.User.ID)
	return err
}

// allBound waits until no pod is pending.
func (f *field) allBound(ctx context.Context) error {
	if err := noneLeft(ctx, f.conn, "p.node_id is null"); err != nil {
		return fmt.Errorf("%w\n%s", err, f.Server.Output())
	}
	return nil
}

// cpu is the time of the CPU that the server and its database, of which db is the
// postmaster, have taken so far.
func (f *field) cpu(db int) (server, postgres time.Duration, err error) {
	if server, err = cpuOfProcess(f.Server.PID()); err != nil {
		return 0, 0, err
	}
	postgres, err = cpuOfFamily(db)
	return server, postgres, err
}

// clear takes all pods away and waits until the scheduler knows.
func (f *field) clear(ctx context.Context) error {
	if _, err := f.conn.Exec(ctx, "delete from public.pods"); err != nil {
		return err
	}
	return f.known(ctx)
}

// onField is a stage of steps on a field.
func (b *bench) onField(name string, nodes int, f **field, steps ...step) stage {
	return stage{name: name, steps: steps, open: func(ctx context.Context) (func(), error) {
		opened, err := b.field(ctx, nodes)
		*f = opened
		return func() { opened.close(ctx) }, err
	}}
}

func (b *bench) thousandNodes() stage {
	var f *field
	return b.onField("a server with 1,000 nodes", 1000, &f, append([]step{
		{keys: []string{"schedule.latency"}, measure: func(ctx context.Context) error { return b.scheduleLatency(ctx, f) }},
		b.bound("schedule.bound.1k", 1000, &f),
	}, b.rest(&f)...)...)
}

func (b *bench) fiveThousandNodes() stage {
	var f *field
	return b.onField("a server with 5,000 nodes", 5000, &f,
		step{keys: []string{"server.rss"}, measure: func(ctx context.Context) error {
			if err := f.ask(ctx, 1, boundPods); err != nil {
				return err
			}
			if err := f.allBound(ctx); err != nil {
				return err
			}
			pause(ctx, time.Second) // until the feed has shown what was bound
			return b.holds("server.rss", "5,000 nodes and 10,000 bound pods", f.Server.PID())
		}},
		b.bound("schedule.bound.5k", 5000, &f))
}

// bound measures the whole way from pending rows to bound ones in Postgres.
func (b *bench) bound(key string, nodes int, f **field) step {
	return step{keys: []string{key, key + ".cpu"}, measure: func(ctx context.Context) error { return b.boundOn(ctx, key, nodes, *f) }}
}

// crowdTime is what one crowd of pending pods took.
type crowdTime struct{ wall, server, postgres time.Duration }

func (b *bench) boundOn(ctx context.Context, key string, nodes int, f *field) error {
	db, err := postmaster(ctx, f.conn)
	if err != nil {
		return err
	}
	var all []crowdTime
	for range b.times(3, 5) {
		if err := f.clear(ctx); err != nil {
			return err
		}
		t, err := f.crowd(ctx, db)
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b crowdTime) int { return int(a.wall - b.wall) })
	mid := all[len(all)/2]
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / boundPods }
	setup := fmt.Sprintf("%d pods in one transaction, from its commit until all are bound, on %d nodes; median of %d (%.0f to %.0f), load average %s",
		boundPods, nodes, len(all), boundPods/all[len(all)-1].wall.Seconds(), boundPods/all[0].wall.Seconds(), load())
	b.figures[key] = figure{Value: boundPods / mid.wall.Seconds(), Unit: "pods/s", Setup: setup}
	b.figures[key+".cpu"] = figure{
		Value: each(mid.server + mid.postgres), Unit: "ms",
		Setup: fmt.Sprintf("CPU for each bound pod until a second after the last: server %.3f ms, Postgres %.3f ms", each(mid.server), each(mid.postgres)),
	}
	return nil
}

// crowd has as many pods asked for, and waits until they are bound. The CPU counts
// until a second after that, when the feed has shown what was bound.
func (f *field) crowd(ctx context.Context, db int) (crowdTime, error) {
	if err := f.ask(ctx, 1, boundPods); err != nil {
		return crowdTime{}, err
	}
	begin := time.Now()
	server, postgres, err := f.cpu(db)
	if err != nil {
		return crowdTime{}, err
	}
	if err := f.allBound(ctx); err != nil {
		return crowdTime{}, err
	}
	t := crowdTime{wall: time.Since(begin)}
	pause(ctx, time.Second)
	serverNow, postgresNow, err := f.cpu(db)
	t.server, t.postgres = serverNow-server, postgresNow-postgres
	return t, err
}
