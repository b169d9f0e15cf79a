package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	flushTimeout = 5 * time.Second
	leaveTimeout = 5 * time.Second
)

// Agent is one node's agent. Run it once.
type Agent struct {
	cfg      Config
	log      *slog.Logger
	ledger   *ledger
	link     *link
	reporter *reporter
	worker   *worker
	logs     *logbook

	registered     chan struct{}
	registeredOnce sync.Once
	nodeID         atomic.Pointer[string]
	stopping       atomic.Bool
}

// New checks the configuration and makes an agent; it touches nothing yet.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger, ledger: newLedger(cfg.State), link: newLink(),
		logs: newLogbook(cfg.LogBytesPerPod, cfg.LogBytes), registered: make(chan struct{}),
	}
	a.reporter = newReporter(a.log, a.link, a.reportAcked)
	a.worker = newWorker(a)
	return a, nil
}

// Registered closes when the node has registered for the first time.
func (a *Agent) Registered() <-chan struct{} { return a.registered }

// NodeID gives the node's id, or "" before it is known.
func (a *Agent) NodeID() string {
	if id := a.nodeID.Load(); id != nil {
		return *id
	}
	return ""
}

// Run works until ctx ends, then stops all pods within their grace, delivers what
// can be delivered, and returns nil. It returns an error only when the kept state
// cannot be read, or a *RefusedError when the server does not let the node in, see
// Config.GiveUp.
func (a *Agent) Run(ctx context.Context) error {
	id, err := a.ledger.loadIdentity(ctx)
	if err != nil {
		return err
	}
	if id.Name != "" && id.Name != a.cfg.Name {
		a.log.InfoContext(ctx, "the node has another name than before, it registers anew",
			slog.String("was", id.Name), slog.String("name", a.cfg.Name))
		id = identity{}
	}
	if id.NodeID != "" {
		a.nodeID.Store(&id.NodeID)
	}
	pending, err := a.ledger.load(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("the state of the node: %w", err)
	}
	for _, rep := range pending {
		a.reporter.add(rep)
	}

	bg, cancel := detached(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { a.worker.run(bg) })
	wg.Go(func() { a.reporter.run(bg) })
	wg.Go(func() { a.checkpoint(bg) })
	unwelcome := make(chan error, 1)
	wg.Go(func() {
		if err := a.connect(bg, ctx.Done(), id); err != nil {
			unwelcome <- err
		}
	})
	select {
	case <-ctx.Done():
		a.drain(bg)
	case err = <-unwelcome:
		a.drain(bg)
	}
	cancel()
	wg.Wait()
	return err
}

// drain is the graceful stop.
func (a *Agent) drain(ctx context.Context) {
	a.stopping.Store(true)
	stop, cancel := context.WithTimeout(ctx, a.cfg.StopTimeout)
	defer cancel()
	a.worker.stopAll(stop)
	s, _ := a.link.peek()
	if s == nil {
		return // reports are on disk
	}
	flush, cancelFlush := context.WithTimeout(ctx, flushTimeout)
	defer cancelFlush()
	if !a.reporter.flush(flush) {
		a.log.WarnContext(ctx, "some reports were not acknowledged, they are kept for the next start")
	}
	if a.cfg.Leave {
		leave, cancelLeave := context.WithTimeout(ctx, leaveTimeout)
		defer cancelLeave()
		s.left.Store(true)
		if err := s.request(leave, wire.TypeUnregister, struct{}{}, nil); err != nil {
			a.log.WarnContext(ctx, "the node could not take its leave", slog.Any("error", err))
		}
	}
	// A failed close leaves nothing to do: the connection is gone either way.
	_ = s.conn.Close(CloseNormal, "the agent stops")
}

func (a *Agent) reportAcked(ctx context.Context, key api.RunKey) {
	if err := a.ledger.ack(ctx, key); err != nil {
		a.log.ErrorContext(ctx, "an acknowledged report could not be forgotten, it will be sent again", slog.Any("error", err))
	}
	a.worker.settled(ctx, refOf(key))
}

// bundleURL asks the server where the bundle of a pod lies.
func (a *Agent) bundleURL(ctx context.Context, ref wire.PodRef) (wire.BundleURLAck, error) {
	var ack wire.BundleURLAck
	for {
		s, err := a.link.get(ctx)
		if err != nil {
			return ack, err
		}
		ask, cancel := context.WithTimeout(ctx, requestTimeout)
		err = s.request(ask, wire.TypeBundleURL, wire.BundleURL(ref), &ack)
		cancel()
		if !errors.Is(err, errSessionOver) {
			return ack, err
		}
		// Gone in mid-request: the link is about to change, or has.
		_, changed := a.link.peek()
		select {
		case <-changed:
		case <-time.After(reportRetry):
		case <-ctx.Done():
			return ack, context.Cause(ctx)
		}
	}
}
