package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// maxPods is the most that a cluster may be set to hold.
const maxPods = 1_000_000

// scale measures a server on a cluster of one of the sizes that docs/scale.md speaks of,
// with ten bound pods on each node: how long it needs until it is ready, what it holds,
// how fast it binds another crowd, and how it answers.
func (b *bench) scale(size string, nodes int, when when) stage {
	var f *field
	key := "scale." + size
	return b.onField("a server with "+size+" nodes", nodes, &f, step{
		keys: []string{key, key + ".ready", key + ".rss", key + ".list"}, when: when,
		measure: func(ctx context.Context) error { return b.scaleOf(ctx, key, nodes, f) },
	})
}

func (b *bench) scaleOf(ctx context.Context, key string, nodes int, f *field) error {
	if err := f.Server.Stop(waitLimit); err != nil {
		return err
	}
	pods := min(10*nodes, maxPods-boundPods-1)
	if err := f.settle(ctx, pods); err != nil {
		return err
	}
	db, err := postmaster(ctx, f.conn)
	if err != nil {
		return err
	}
	setup := fmt.Sprintf("%d nodes, %d bound pods", nodes, pods)
	begin := time.Now()
	if err := f.StartServer(ctx); err != nil {
		return err
	}
	b.median(key+".ready", "process start to /ready, "+setup, []time.Duration{time.Since(begin)})
	pause(ctx, 5*time.Second)
	if err := b.holds(key+".rss", setup, f.Server.PID()); err != nil {
		return err
	}
	t, err := f.crowd(ctx, db)
	if err != nil {
		return err
	}
	b.figures[key] = figure{
		Value: boundPods / t.wall.Seconds(), Unit: "pods/s",
		Setup: fmt.Sprintf("%d more pods in one transaction until all are bound, %s; CPU of each: server %d us, Postgres %d us; load average %s",
			boundPods, setup, t.server.Microseconds()/boundPods, t.postgres.Microseconds()/boundPods, load()),
	}
	return b.scaleLists(ctx, f, key+".list", setup)
}

// settle writes pods and binds them in turn to all nodes, as a client of the database,
// while no server runs.
func (f *field) settle(ctx context.Context, pods int) error {
	for from := 0; from < pods; from += boundPods {
		if err := f.ask(ctx, from, min(boundPods, pods-from)); err != nil {
			return err
		}
		// The turn is worked out from one side, so that both are joined by it and not compared.
		if _, err := f.conn.Exec(ctx, `with n as (select id, row_number() over (order by name) - 1 as i from public.nodes),
				d as (select id, (row_number() over (order by id) - 1 + $1) % (select count(*) from public.nodes) as i from public.pods where node_id is null)
			update public.pods p set status = 'scheduled', node_id = n.id from d, n where p.id = d.id and n.i = d.i`, from); err != nil {
			return err
		}
	}
	_, err := f.conn.Exec(ctx, "vacuum analyze public.pods")
	return err
}

// scaleLists measures pages of a hundred pods by a label, one after another.
func (b *bench) scaleLists(ctx context.Context, f *field, key, setup string) error {
	var samples []time.Duration
	for i := range 50 {
		begin := time.Now()
		page, err := f.Client.ListPods(ctx, api.PodQuery{PageQuery: api.PageQuery{PageSize: 100}, LabelSelector: fmt.Sprintf("app=app%d", i%20)})
		if err != nil {
			return err
		}
		if len(page.Items) != 100 {
			return fmt.Errorf("a page of %d pods, want 100", len(page.Items))
		}
		samples = append(samples, time.Since(begin))
	}
	b.latencies(key, "100 pods by a label that a twentieth have, as an admin, "+setup, samples)
	return nil
}
