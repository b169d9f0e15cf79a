package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	reportTimeout  = 20 * time.Second
	reportRetry    = time.Second
	maxBatchBytes  = wire.MaxMessage / 8 // of output; JSON escapes can make it six times longer
	reportOverhead = 4 << 10
	// passing is how long the report of a state is kept back that should soon give way to
	// the next one: a start or a stop that is quicker costs the control plane one commit
	// instead of two.
	passing = 50 * time.Millisecond
)

// A frame never has more reports than the server takes: this does not compile otherwise.
const _ = uint(wire.MaxReports - maxBatchBytes/reportOverhead)

// reporter keeps the newest report of every run until the control plane has taken
// or refused it. One batch is under way at a time, so reports of a run arrive in
// their order.
type reporter struct {
	log   *slog.Logger
	link  *link
	acked func(ctx context.Context, key api.RunKey)

	mu      sync.Mutex
	pending map[api.RunKey]pendingReport
	next    uint64
	changed chan struct{} // closed at every change, then replaced
}

type pendingReport struct {
	report wire.RunReport
	order  uint64
	due    time.Time // not sent before
}

func newReporter(log *slog.Logger, l *link, acked func(context.Context, api.RunKey)) *reporter {
	return &reporter{
		log: log, link: l, acked: acked,
		pending: map[api.RunKey]pendingReport{}, changed: make(chan struct{}),
	}
}

// add replaces what is known of a run. It never blocks.
func (r *reporter) add(rep wire.RunReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.pending[rep.RunKey]; ok && old.report.Status == api.RunExited && rep.Status != api.RunExited {
		return
	}
	due := time.Now()
	if rep.Status == api.RunStarting || rep.Status == api.RunStopping {
		due = due.Add(passing)
	}
	r.next++
	r.pending[rep.RunKey] = pendingReport{report: rep, order: r.next, due: due}
	r.broadcast()
}

func (r *reporter) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// run sends until ctx ends.
func (r *reporter) run(ctx context.Context) {
	for {
		batch, changed, wait := r.batch()
		if len(batch) == 0 {
			select {
			case <-changed:
			case <-wait:
			case <-ctx.Done():
				return
			}
			continue
		}
		s, err := r.link.get(ctx)
		if err != nil {
			return
		}
		if r.send(ctx, s, batch) {
			continue
		}
		_, relinked := r.link.peek()
		select {
		case <-time.After(reportRetry):
		case <-relinked:
		case <-ctx.Done():
			return
		}
	}
}

// send gives one batch to the server and reports whether all of it was answered.
func (r *reporter) send(ctx context.Context, s *session, batch []pendingReport) bool {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	out := wire.RunReports{Reports: make([]wire.RunReport, len(batch))}
	for i, p := range batch {
		out.Reports[i] = p.report
	}
	var ack wire.RunReportsAck
	err := s.request(ctx, wire.TypeRunReport, out, &ack)
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Validation {
		return r.sift(ctx, s, batch, f)
	}
	if err != nil {
		r.log.WarnContext(ctx, "reports were not taken, they are kept", slog.Int("reports", len(batch)), slog.Any("error", err))
		return false
	}
	answered := make(map[api.RunKey]bool, len(batch))
	for _, k := range ack.Accepted {
		answered[k] = true
	}
	for _, ref := range ack.Refused {
		answered[ref.Key] = true
		r.log.InfoContext(ctx, "a report was refused", slog.String("pod", ref.Key.PodID),
			slog.Int("attempt", ref.Key.Attempt), slog.String("code", ref.Code))
	}
	for _, p := range batch {
		if answered[p.report.RunKey] && p.report.Status == api.RunExited {
			r.acked(ctx, p.report.RunKey)
		}
	}
	return r.settle(batch, answered)
}

// sift finds the report for which the server refuses a whole batch: it can never be
// taken, so it counts as refused.
func (r *reporter) sift(ctx context.Context, s *session, batch []pendingReport, why *fault.Error) bool {
	if len(batch) > 1 {
		all := true
		for _, p := range batch {
			all = r.send(ctx, s, []pendingReport{p}) && all
		}
		return all
	}
	key := batch[0].report.RunKey
	r.log.ErrorContext(ctx, "the server cannot read a report, it is lost", slog.String("pod", key.PodID),
		slog.Int("attempt", key.Attempt), slog.Any("error", why))
	if batch[0].report.Status == api.RunExited {
		r.acked(ctx, key)
	}
	return r.settle(batch, map[api.RunKey]bool{key: true})
}

func (r *reporter) settle(batch []pendingReport, answered map[api.RunKey]bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := true
	for _, p := range batch {
		key := p.report.RunKey
		if !answered[key] {
			all = false
			continue
		}
		if r.pending[key].order == p.order {
			delete(r.pending, key)
		}
	}
	r.broadcast()
	return all
}

// batch gives the oldest due reports that fit into one frame, a channel that closes at
// the next change and, when nothing is due, one that fires when something is.
func (r *reporter) batch() ([]pendingReport, <-chan struct{}, <-chan time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	due := make([]pendingReport, 0, len(r.pending))
	first := now.Add(time.Hour)
	for _, p := range r.pending {
		if p.due.After(now) {
			first = earlier(first, p.due)
			continue
		}
		due = append(due, p)
	}
	if len(due) == 0 {
		return nil, r.changed, time.After(first.Sub(now))
	}
	slices.SortFunc(due, func(a, b pendingReport) int { return cmp.Compare(a.order, b.order) })
	size := 0
	for i, p := range due {
		size += reportOverhead + len(p.report.Message)
		if t := p.report.Termination; t != nil {
			size += len(t.LastOutput) + len(t.Message)
		}
		if i > 0 && size > maxBatchBytes {
			return due[:i], r.changed, nil
		}
	}
	return due, r.changed, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// flush waits until every report has been answered.
func (r *reporter) flush(ctx context.Context) bool {
	for {
		r.mu.Lock()
		n, changed := len(r.pending), r.changed
		r.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
