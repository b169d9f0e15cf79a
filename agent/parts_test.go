package agent_test

import (
	"context"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// part sends one part of a complete set.
func (s *server) part(seq uint64, p wire.RunsSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = seq
	s.write(context.Background(), s.conn, wire.Envelope{Type: wire.TypeRunsSet, Seq: seq}, p)
}

// A set means something only when all of it is there: what the first parts do not name
// is not stopped before the last one has come.
func TestASetInParts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := startNode(t, s, t.TempDir())
	one, two, three := assign("p1", executortest.Serves), assign("p2", executortest.Serves), assign("p3", executortest.Serves)
	s.want(one, 0)
	s.want(two, 0)
	for _, id := range []string{"p1", "p2"} {
		s.awaitReport(id, 1, api.RunRunning)
	}
	acked := func(seq uint64) {
		t.Helper()
		s.await("the set to be acknowledged", func() bool { return len(s.acks) > 0 && s.acks[len(s.acks)-1] == seq })
	}
	s.part(50, wire.RunsSet{Runs: []wire.Assignment{one}, More: true}) // this set stays unfinished
	s.part(51, wire.RunsSet{Runs: []wire.Assignment{one}, More: true})
	s.part(51, wire.RunsSet{Runs: []wire.Assignment{two}, Part: 1, More: true})
	s.part(51, wire.RunsSet{Runs: []wire.Assignment{three}, Part: 2})
	acked(51)
	s.awaitReport("p3", 1, api.RunRunning)
	if got := n.fake.Starts(); len(got) != 3 {
		t.Errorf("started %v, want each pod once", got)
	}
	s.mu.Lock()
	for _, r := range s.reports {
		if r.Status == api.RunExited || r.Status == api.RunStopping {
			t.Errorf("%s was stopped", r.PodID)
		}
	}
	resyncs := s.resyncs
	s.wanted = []wire.Assignment{one, two, three} // what is sent to who asks
	s.mu.Unlock()
	// A part that follows nothing, of another set or out of its turn, is asked for again.
	for i, p := range []wire.RunsSet{{Part: 1}, {Part: 2, More: true}} {
		s.part(uint64(60+i), p)
		s.await("the set to be asked for", func() bool { return s.resyncs == resyncs+i+1 })
		acked(uint64(61 + i))
	}
	if got := n.fake.Starts(); len(got) != 3 {
		t.Errorf("started %v, want each pod once", got)
	}
}
