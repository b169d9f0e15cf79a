package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// lives are the keys of pods that come and go on simulated agents: how soon a crowd runs, and
// what each of its pods costs from its create to its end.
var lives = [2]string{"agents.1k.running", "agents.1k.pod"}

const livesOn = 1000 // agents

// measureLives asks for a crowd in one request, waits until all of it runs, has it stopped,
// and waits until all has ended.
func (b *bench) measureLives(ctx context.Context, c *harness.Cluster, conn *pgx.Conn, db int) error {
	owner := c.Session.User.ID
	if _, err := conn.Exec(ctx, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values ('lives', '1.0.0', 'node', $1, 'ready', repeat('a', 64), 1)`, owner); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "update public.cluster_config set max_total_pods = 1000000"); err != nil {
		return err
	}
	cpu, memory := api.Millicores(10), api.Mebibytes(16)
	r := api.CreatePodsRequest{Items: make([]api.CreatePodRequest, api.MaxBulkPods)}
	for i := range r.Items {
		r.Items[i] = api.CreatePodRequest{PackName: "lives", PackVersion: "1.0.0", ResourceRequests: &api.ResourceInput{CPU: &cpu, Memory: &memory}}
	}
	const ended, underWay = "('succeeded', 'stopped', 'failed', 'evicted')", "p.status not in ('running', 'succeeded', 'stopped', 'failed', 'evicted')"
	// The server was killed before: a first pod runs once another leader is there.
	if _, err := c.Client.CreatePods(ctx, api.CreatePodsRequest{Items: r.Items[:1]}); err != nil {
		return err
	}
	if err := noneLeft(ctx, conn, underWay); err != nil {
		return err
	}
	before, err := burdenNow(ctx, c, conn, db)
	if err != nil {
		return err
	}
	if _, err := c.Client.CreatePods(ctx, r); err != nil {
		return err
	}
	if err := noneLeft(ctx, conn, underWay); err != nil {
		return err
	}
	runs := time.Since(before.at)
	running, err := burdenNow(ctx, c, conn, db)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "update public.pods set stop_requested_at = now() where status = 'running'"); err != nil {
		return err
	}
	if err := noneLeft(ctx, conn, "p.status not in "+ended); err != nil {
		return err
	}
	stops := time.Since(running.at)
	after, err := burdenNow(ctx, c, conn, db)
	if err != nil {
		return err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / api.MaxBulkPods }
	setup := fmt.Sprintf("%d pods in one request on 1,000 simulated agents; load average %s", api.MaxBulkPods, load())
	b.figures[lives[0]] = figure{
		Value: api.MaxBulkPods / runs.Seconds(), Unit: "pods/s",
		Setup: fmt.Sprintf("%s; CPU of each until it runs: server %.2f ms, Postgres %.2f ms", setup, each(running.server-before.server), each(running.postgres-before.postgres)),
	}
	b.figures[lives[1]] = figure{
		Value: each(after.postgres - before.postgres), Unit: "ms",
		Setup: fmt.Sprintf("%s; CPU of Postgres for each from its create to its end, server %.2f ms; all ended %.0f ms after they were told to", setup, each(after.server-before.server), stops.Seconds()*1000),
	}
	return nil
}

// noneLeft waits until no pod is as the condition says. It waits for one at a time by its
// key, at first for the one that is planned after the others: looking through the table again
// and again would keep a core busy that is to be measured.
func noneLeft(ctx context.Context, conn *pgx.Conn, condition string) error {
	ctx, stop := context.WithTimeout(ctx, 4*waitLimit)
	defer stop()
	for {
		var last string
		if err := conn.QueryRow(ctx, "select coalesce((select p.id::text from public.pods p where "+condition+" order by p.priority, p.created_at desc, p.id desc limit 1), '')").Scan(&last); err != nil {
			return fmt.Errorf("waiting until no pod is %s: %w", condition, err)
		}
		if last == "" {
			return nil
		}
		for waits := true; waits; {
			pause(ctx, 2*time.Millisecond)
			if err := conn.QueryRow(ctx, "select exists (select from public.pods p where p.id = $1 and "+condition+")", last).Scan(&waits); err != nil {
				return fmt.Errorf("waiting for pod %s until it is not %s: %w", last, condition, err)
			}
		}
	}
}
