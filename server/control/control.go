// Package control runs the loops of which a cluster has one each: the scheduler,
// the sweeper of silent nodes, evictions, drains, stops that take too long and the upkeep of tables. It owns when they run, and
// decides nothing: the rules are in core, the statements in postgres.
package control

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Leader gives leadership: fn runs while this server leads, and its context ends
// with the lease. Lead blocks until ctx ends.
type Leader interface {
	Lead(ctx context.Context, fn func(ctx context.Context) error) error
}

// Upkeep keeps the cluster's tables true and small. Each call is idempotent and
// refuses to act for a leader whose lease is gone.
type Upkeep interface {
	// Sweep marks nodes that are silent and gives up those that were for long; it
	// tells how many it changed.
	Sweep(ctx context.Context) (changed int, err error)
	// Tend takes what needs several steps one step further: pods on tainted nodes,
	// drains, namespaces that end. It tells how much it has moved.
	Tend(ctx context.Context) (moved int, err error)
	// TellOverdueStops says in these pods, once, that their nodes have not told their end
	// in time, and gives those of which it said so.
	TellOverdueStops(ctx context.Context, pods []api.Pod) (told []string, err error)
	// Compact drops what nobody needs any more: old changes, ended pods, expired tokens.
	Compact(ctx context.Context) error
}

// Deps is what Run puts together; all must be set.
type Deps struct {
	Leader Leader
	Binder scheduler.Binder
	Upkeep Upkeep
	Store  *store.Store
	Now    func() time.Time // the time of the database
	Logger *slog.Logger
}

const (
	sweepEvery   = time.Second
	tendEvery    = time.Second
	compactEvery = time.Minute
	callTimeout  = 30 * time.Second
)

// Run stands for leadership and runs the loops whenever it has it, until ctx ends.
func Run(ctx context.Context, d Deps) error {
	return d.Leader.Lead(ctx, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return scheduler.Run(ctx, d.Store, d.Binder, d.Logger) })
		g.Go(func() error { return d.sweep(ctx) })
		g.Go(func() error { return d.tend(ctx) })
		g.Go(func() error { return d.overdue(ctx) })
		g.Go(func() error { return d.compact(ctx) })
		return g.Wait()
	})
}

// sweep looks for silent nodes once a second. While the database was away no lease
// could be renewed and every node looks silent: therefore the end of a failure
// gives them one heartbeat timeout to be heard. (A new term does so too; that is in
// the statement, which counts silence from the term's beginning.)
func (d Deps) sweep(ctx context.Context) error {
	select {
	case <-d.Store.Synced():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	grace := func() time.Time { return time.Now().Add(node.TimeoutsOf(d.Store.Config()).Heartbeat) }
	var from time.Time
	return every(ctx, sweepEvery, func(ctx context.Context) {
		if d.Store.Stale() {
			from = grace()
		}
		if time.Now().Before(from) {
			return
		}
		changed, err := d.Upkeep.Sweep(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			from = grace()
			d.Logger.WarnContext(ctx, "silent nodes could not be looked for", slog.Any("error", err))
		case changed > 0:
			d.Logger.InfoContext(ctx, "nodes were found silent", slog.Int("changed", changed))
		}
	})
}

// tend goes on where the last leader has stopped: what it looks at is in the database.
func (d Deps) tend(ctx context.Context) error {
	return every(ctx, tendEvery, func(ctx context.Context) {
		moved, err := d.Upkeep.Tend(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			d.Logger.WarnContext(ctx, "evictions, drains and namespaces could not be looked after", slog.Any("error", err))
		case moved > 0:
			d.Logger.InfoContext(ctx, "evictions, drains and namespaces went on", slog.Int("moved", moved))
		}
	})
}

func (d Deps) compact(ctx context.Context) error {
	return every(ctx, compactEvery, func(ctx context.Context) {
		if err := d.Upkeep.Compact(ctx); err != nil && ctx.Err() == nil {
			d.Logger.WarnContext(ctx, "upkeep failed and will be tried again", slog.Any("error", err))
		}
	})
}

// every calls f in an interval, each time within callTimeout, until ctx ends.
func every(ctx context.Context, interval time.Duration, f func(ctx context.Context)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		f(call)
		cancel()
	}
}
