package pg

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	restartPause  = 250 * time.Millisecond
	restartTries  = 40 // of one restart: crash recovery and a port that is still busy take their time
	restartWindow = time.Minute
	restartMost   = 5 // within the window; beyond, each restart waits first
	restartDelay  = 5 * time.Second
)

// keeper owns the postmaster: one goroutine waits for its end and may bring it back.
type keeper struct {
	done     chan struct{}
	process  atomic.Pointer[process]
	stopping context.Context //nolint:containedctx // the life of the goroutine, not of a call
	cancel   context.CancelFunc
	how      spec
	restart  bool
	log      logger
}

// keep watches first from now on. The end of ctx does not matter to it.
func keep(ctx context.Context, first *process, how spec, o Options) *keeper {
	k := &keeper{done: make(chan struct{}), how: how, restart: o.Restart, log: o.Logger}
	k.stopping, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k.process.Store(first)
	go k.watch()
	return k
}

func (k *keeper) current() *process { return k.process.Load() }

func (k *keeper) watch() {
	defer close(k.done)
	var restarts []time.Time
	for {
		<-k.current().done
		if !k.restart || k.stopping.Err() != nil {
			return
		}
		now := time.Now()
		for len(restarts) > 0 && now.Sub(restarts[0]) > restartWindow {
			restarts = restarts[1:]
		}
		if restarts = append(restarts, now); len(restarts) > restartMost {
			k.log.WarnContext(k.stopping, "postgres ended too often: waiting before it is started again",
				slog.Int("ends", len(restarts)), slog.Duration("wait", restartDelay))
			if pause(k.stopping, restartDelay) != nil {
				return
			}
		}
		if !k.bringBack() {
			return
		}
	}
}

// bringBack starts the server again, and tells whether it runs.
func (k *keeper) bringBack() bool {
	k.log.WarnContext(k.stopping, "postgres ended by itself: starting it again")
	var last error
	for range restartTries {
		if last = clearStale(k.stopping, k.how.data); last == nil {
			var next *process
			if next, _, last = run(k.stopping, k.how); last == nil {
				k.process.Store(next)
				k.log.InfoContext(k.stopping, "postgres runs again", slog.Bool("recovered", true))
				return true
			}
		}
		if pause(k.stopping, restartPause) != nil {
			return false
		}
	}
	k.log.ErrorContext(k.stopping, "postgres does not come back", slog.Any("error", last))
	return false
}

// stop ends the server and waits for the goroutine. A restart under way is called off first; should it
// succeed in the same moment, the new server is stopped as well.
func (k *keeper) stop(ctx context.Context) {
	k.cancel()
	for {
		k.current().stop(ctx)
		select {
		case <-k.done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
