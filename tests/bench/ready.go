package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// dev measures `stark dev --once` from the start of the process to its end,
// which comes with the first log line of the sample pack, less the time to stop:
// the step "ready" carries the time to the first line itself.
func (b *bench) dev() stage {
	return stage{steps: []step{{keys: []string{"dev.ready.first", "dev.ready"}, measure: func(ctx context.Context) error {
		dir, err := b.folder("dev")
		if err != nil {
			return err
		}
		var later []time.Duration
		for i := range 1 + b.times(3, 5) {
			took, err := b.devOnce(ctx, dir)
			if err != nil {
				return err
			}
			if i == 0 {
				b.median("dev.ready.first", "stark dev, empty state folder, template of the database cached", []time.Duration{took})
				continue
			}
			later = append(later, took)
		}
		b.median("dev.ready", "stark dev, second start", later)
		return nil
	}}, {keys: []string{"binary.size", "binary.size.server"}, measure: func(ctx context.Context) error {
		server, err := harness.BuildServer(ctx, b.dir)
		if err != nil {
			return err
		}
		return errors.Join(
			b.sized("binary.size", b.stark, "the program stark: server, agent, command line, local stack and the page of tabs in one"),
			b.sized("binary.size.server", server, "the program stark-server: the server alone, with the page of tabs"))
	}}}}
}

// sized records the size of a program as `make build` makes it.
func (b *bench) sized(key, path, setup string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	b.figures[key] = figure{Value: float64(info.Size()) / 1e6, Unit: "MB", Setup: setup}
	return nil
}

func (b *bench) devOnce(ctx context.Context, dir string) (time.Duration, error) {
	first := &firstReady{begin: time.Now()}
	p, err := harness.Launch(harness.Spec{
		Name: "dev", Path: b.stark, Dir: b.dir, Out: first,
		Args: []string{"dev", "--json", "--once", "--dir", dir, "--port", "0", "--supabase-port", "0"},
		Env:  []string{"STARK_HOME=" + filepath.Join(b.dir, "home")},
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Stop(waitLimit)
		return 0, ctx.Err()
	}
	if first.took == 0 {
		return 0, fmt.Errorf("stark dev never said that it was ready:\n%s", p.Output())
	}
	return first.took, nil
}

// oneServer measures a server by itself: what it holds, how it tells what others have
// committed, and how soon it is ready with much in the database.
func (b *bench) oneServer() stage {
	var c *harness.Cluster
	return stage{
		name: "a server by itself",
		open: func(ctx context.Context) (shut func(), err error) {
			c, err = b.cluster(ctx, harness.Options{})
			return func() { closeCluster(ctx, c) }, err
		},
		steps: []step{
			{keys: []string{"server.rss.empty"}, measure: func(context.Context) error {
				return b.holds("server.rss.empty", "a server without nodes and pods", c.Server.PID())
			}},
			{keys: []string{"tab.size"}, measure: func(ctx context.Context) error { return b.tabSize(ctx, c.URL) }},
			{keys: []string{"watch.memory"}, measure: func(ctx context.Context) error { return b.watchMemory(ctx, c) }},
			{keys: []string{"watch.lag"}, measure: func(ctx context.Context) error { return b.lag(ctx, c) }},
			{keys: []string{"watch.cpu"}, measure: func(ctx context.Context) error { return b.watchCPU(ctx, c) }},
			{keys: []string{"server.ready"}, measure: func(ctx context.Context) error { return b.serverReady(ctx, c) }},
		},
	}
}

// closeCluster ends a cluster, if there is one, also after an interrupt.
func closeCluster(ctx context.Context, c *harness.Cluster) {
	if c != nil {
		_ = c.Close(context.WithoutCancel(ctx))
	}
}

// serverReady measures the start of a server on a full database.
func (b *bench) serverReady(ctx context.Context, c *harness.Cluster) error {
	if err := fill(ctx, c.Stack.DBURL, c.Session.User.ID); err != nil {
		return err
	}
	var samples []time.Duration
	for range b.times(3, 5) {
		if err := c.Server.Stop(waitLimit); err != nil {
			return err
		}
		begin := time.Now()
		if err := c.StartServer(ctx); err != nil {
			return err
		}
		samples = append(samples, time.Since(begin))
	}
	b.median("server.ready", "process start to /ready, 1,000 nodes and 10,000 pods in the database", samples)
	return nil
}

// fill writes 1,000 nodes and 10,000 pods straight into the tables, in place of what
// pods there are.
func fill(ctx context.Context, dbURL, owner string) error {
	conn, err := pgx.Connect(ctx, dbURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{
		`delete from public.pods`,
		`insert into public.packs (id, name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		 values ('00000000-0000-4000-8000-000000000002', 'filler', '1.0.0', 'node', '` + owner + `', 'ready', repeat('a', 64), 1)`,
		`insert into public.nodes (name, runtime_type, status, registered_by, shared, allocatable)
		 select 'n' || i, 'node', 'offline', '` + owner + `', true, '{"cpu":4000,"memory":8192,"storage":10240,"pods":50}'
		 from generate_series(1, 1000) i`,
		`insert into public.pods (pack_id, created_by, status)
		 select '00000000-0000-4000-8000-000000000002', '` + owner + `', 'pending' from generate_series(1, 10000)`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
	}
	return nil
}
