package dispatch

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// reportsAtOnce bounds one call of ReportRuns, whose transaction locks their pods.
const reportsAtOnce = 1000

// queuedReports are the reports of one message, waiting for their commit.
type queuedReports struct {
	envelope wire.Envelope
	reports  []wire.RunReport
}

func (s *session) onRunReport(ctx context.Context, e wire.Envelope) error {
	r, err := decode[wire.RunReports](e)
	if err != nil {
		return err
	}
	nodeID, err := s.needNode("")
	if err != nil {
		return err
	}
	if err := checkReports(r.Reports); err != nil {
		return err
	}
	s.wanted.tells(r.Reports)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reported+len(r.Reports) > maxReports {
		return fault.New(fault.RateLimited, "too many reports wait to be stored")
	}
	s.reports = append(s.reports, queuedReports{envelope: e, reports: r.Reports})
	s.reported += len(r.Reports)
	if !s.reporting {
		s.reporting = true
		s.life.run(func() { s.storeReports(ctx, nodeID) })
	}
	return nil
}

// checkReports refuses what no node can mean, before the database is asked.
func checkReports(reports []wire.RunReport) error {
	if len(reports) > wire.MaxReports {
		return fault.New(fault.Validation, "reports: %d in one message, at most %d: send them in several", len(reports), wire.MaxReports)
	}
	for i := range reports {
		r := &reports[i]
		switch {
		case !api.ValidID(r.PodID) || r.Incarnation < 1 || r.Attempt < 0:
			return fault.New(fault.Validation, "report %d names no run", i)
		case r.Status != api.RunStarting && r.Status != api.RunRunning && r.Status != api.RunStopping && r.Status != api.RunExited:
			return fault.New(fault.Validation, "report %d: a node may not report the status %q", i, truncate(string(r.Status), 32))
		case r.Termination != nil && len(r.Termination.LastOutput) > api.MaxLastOutput:
			return fault.New(fault.Validation, "report %d: lastOutput is longer than %d bytes", i, api.MaxLastOutput)
		}
	}
	return nil
}

// storeReports writes what waits, all of it in one transaction, until nothing
// does: while one commit runs, the next batch gathers.
func (s *session) storeReports(ctx context.Context, nodeID string) {
	for {
		s.mu.Lock()
		batch := s.reports
		s.reports, s.reported = nil, 0
		s.reporting = len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		s.storeBatch(ctx, nodeID, batch)
	}
}

func (s *session) storeBatch(ctx context.Context, nodeID string, batch []queuedReports) {
	var all []wire.RunReport
	for _, q := range batch {
		all = append(all, q.reports...)
	}
	accepted, refused, err := s.reportRuns(ctx, nodeID, all)
	if err != nil {
		for _, q := range batch {
			s.refuse(q.envelope, err)
		}
		return
	}
	taken := make(map[api.RunKey]bool, len(accepted))
	for _, k := range accepted {
		taken[k] = true
	}
	why := make(map[api.RunKey]wire.Refusal, len(refused))
	for _, r := range refused {
		why[r.Key] = r
	}
	for _, q := range batch {
		ack := wire.RunReportsAck{Accepted: []api.RunKey{}}
		for _, r := range q.reports {
			if refusal, no := why[r.RunKey]; no {
				ack.Refused = append(ack.Refused, refusal)
			} else if taken[r.RunKey] {
				ack.Accepted = append(ack.Accepted, r.RunKey)
			}
		}
		s.ack(q.envelope, ack)
	}
}

// reportRuns stores reports in pieces that the database takes. When a later piece
// fails, the agent sends all of them again, which changes nothing for the stored.
func (s *session) reportRuns(ctx context.Context, nodeID string, all []wire.RunReport) (accepted []api.RunKey, refused []wire.Refusal, err error) {
	for piece := range slices.Chunk(all, reportsAtOnce) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		a, r, err := s.d.DB.ReportRuns(call, nodeID, piece)
		cancel()
		if err != nil {
			return nil, nil, err
		}
		accepted, refused = append(accepted, a...), append(refused, r...)
	}
	return accepted, refused, nil
}

// reconcile stores what the inventory of a new registration tells, and asks for
// the complete wanted set; first says that nothing serves the set yet.
func (s *session) reconcile(ctx context.Context, first bool, runs []wire.RunState) {
	if !first {
		s.resync()
		return
	}
	nodeID := s.node()
	s.wanted.names(runs)
	reports := make([]wire.RunReport, 0, len(runs))
	for _, r := range runs {
		reports = append(reports, wire.RunReport{
			RunKey: r.RunKey, Status: r.Status, Ready: r.Status == api.RunRunning, At: time.Now().UTC(),
		})
	}
	s.life.run(func() {
		if len(reports) > 0 && checkReports(reports) == nil {
			s.storeInventory(ctx, nodeID, reports)
		}
		s.sets.open(func() { s.life.run(func() { s.serveWanted(ctx, nodeID) }) })
		s.resync()
	})
}

func (s *session) storeInventory(ctx context.Context, nodeID string, reports []wire.RunReport) {
	_, refused, err := s.reportRuns(ctx, nodeID, reports)
	switch {
	case err != nil && ctx.Err() == nil:
		s.log.WarnContext(ctx, "the node's inventory could not be stored", slog.Any("error", err))
	case len(refused) > 0:
		s.log.InfoContext(ctx, "the node runs what it should not; the wanted set will end it", slog.Int("runs", len(refused)))
	}
}
