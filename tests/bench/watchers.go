package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

const (
	idleWatchers = 1000
	busyWatchers = 100
	openAtOnce   = 8 // watchers that connect at a time
	watchSettle  = 3 * time.Second
	watchQuiet   = 15 * time.Second // until the server has given back what opening them has taken
)

// openWatchers opens so many watches of all pods, each on a socket of its own; end closes
// those that there are, also beside an error.
func openWatchers(ctx context.Context, c *harness.Cluster, n int, since string) (all []*lagWatcher, end func(), err error) {
	all = make([]*lagWatcher, n)
	end = func() {
		for _, w := range all {
			if w != nil {
				_ = w.conn.CloseNow()
			}
		}
	}
	group, opening := errgroup.WithContext(ctx)
	group.SetLimit(openAtOnce)
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = watchLag(opening, c.Client.WebSocketURL(), c.Session.AccessToken, since)
			return err
		})
	}
	return all, end, group.Wait()
}

// watchMemory measures what a server holds for watchers to whom nothing happens: each has a
// socket of its own, and goes on from a list that it has read.
func (b *bench) watchMemory(ctx context.Context, c *harness.Cluster) error {
	if _, err := endedPods(ctx, c.Stack.DBURL, c.Session.User.ID); err != nil {
		return err
	}
	list, err := c.Client.ListPods(ctx, api.PodQuery{PageQuery: api.PageQuery{PageSize: 1}})
	if err != nil {
		return err
	}
	pause(ctx, watchSettle)
	before, err := residentMemory(c.Server.PID())
	if err != nil {
		return err
	}
	watchers, end, err := openWatchers(ctx, c, idleWatchers, list.Cursor)
	defer end()
	if err != nil {
		return err
	}
	pause(ctx, watchQuiet)
	after, err := residentMemory(c.Server.PID())
	if err != nil {
		return err
	}
	b.figures["watch.memory"] = figure{
		Value: (after - before) * 1024 / float64(len(watchers)), Unit: "KiB",
		Setup: fmt.Sprintf("resident memory of the server for each of %d watchers of all %d pods, a socket each, to whom nothing happens", len(watchers), list.Total),
	}
	return ctx.Err()
}

// watchCPU compares a server that takes changes in with the same one that tells each of
// them to many watchers as well.
func (b *bench) watchCPU(ctx context.Context, c *harness.Cluster) error {
	ids, err := endedPods(ctx, c.Stack.DBURL, c.Session.User.ID)
	if err != nil {
		return err
	}
	changes := lagRate * b.times(3, 10)
	alone, _, err := cpuOfChanges(ctx, c, ids, &lagRun{committed: make([]time.Time, changes)})
	if err != nil {
		return err
	}
	watchers, end, err := openWatchers(ctx, c, busyWatchers, "")
	defer end()
	if err != nil {
		return err
	}
	told, rate, err := cpuOfChanges(ctx, c, ids, &lagRun{committed: make([]time.Time, changes), watchers: watchers})
	if err != nil {
		return err
	}
	frames := 0
	for _, w := range watchers {
		frames += w.frames
	}
	b.figures["watch.cpu"] = figure{
		Value: (told - alone).Seconds() * 1e6 / float64(frames), Unit: "us",
		Setup: fmt.Sprintf("CPU of the server for each event that a watcher is told, beyond the %.0f us of a change that nobody watches; %.0f commits a second, %d watchers of all pods, %d events told; load average %s",
			alone.Seconds()*1e6/float64(changes), rate, len(watchers), frames, load()),
	}
	return nil
}

// cpuOfChanges gives the CPU that the server has taken for the changes of a run, and how
// many there were in a second.
func cpuOfChanges(ctx context.Context, c *harness.Cluster, ids []string, l *lagRun) (cpu time.Duration, rate float64, err error) {
	before, err := cpuOfProcess(c.Server.PID())
	if err != nil {
		return 0, 0, err
	}
	took, err := l.run(ctx, c.Stack.DBURL, ids)
	if err != nil {
		return 0, 0, err
	}
	pause(ctx, time.Second) // what nobody watches is taken in a little later
	after, err := cpuOfProcess(c.Server.PID())
	return after - before, float64(len(l.committed)) / took.Seconds(), err
}
