package dispatch_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// stoppingRig has a node that is to stop a pod, whose time is over when margin is.
func stoppingRig(t *testing.T, margin time.Duration, runs ...wire.RunState) (*rig, *peer) {
	t.Helper()
	db := newFakeDB()
	db.wanted = func() ([]wire.Assignment, error) {
		return []wire.Assignment{{
			PodID: podID, Incarnation: 2, LastAttempt: 3, Desire: wire.DesireStop, StopReason: api.ReasonEvicted,
		}}, nil
	}
	r := newRig(t, db, dispatch.Config{StopMargin: margin})
	p, set := r.agent(t, runs...)
	if len(set.Runs) != 1 || set.Runs[0].Desire != wire.DesireStop {
		t.Fatalf("got %+v, want the stop", set)
	}
	return r, p
}

// beat sends a heartbeat and takes its answer.
func (p *peer) beat() {
	p.t.Helper()
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1", Timestamp: time.Now()})
	p.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
}

// toldAgain sends heartbeats until the node is told something.
func (p *peer) toldAgain(d *wire.RunsDelta) (e wire.Envelope) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		p.beat()
		p.send(wire.TypePing, "", struct{}{})
		if e = receive(p.t, p.got, "an answer"); e.Type == wire.TypePong {
			select {
			case <-limit:
				p.t.Fatal("heartbeats lead to nothing")
			default:
			}
			continue
		}
		if err := json.Unmarshal(e.Payload, d); err != nil || e.Type != wire.TypeRunsDelta {
			p.t.Fatalf("got %s %s, %v", e.Type, e.Payload, err)
		}
		p.expect(wire.TypePong, nil)
		return e
	}
}

// silence holds the server to having nothing more to say.
func (p *peer) silence() {
	p.t.Helper()
	p.send(wire.TypePing, "", struct{}{})
	p.expect(wire.TypePong, nil)
}

func aState(status api.RunStatus) wire.RunState {
	return wire.RunState{RunKey: api.RunKey{PodID: podID, Incarnation: 2, Attempt: 3}, Status: status}
}

func TestAStopThatIsOverdueIsToldAgainWithEachHeartbeat(t *testing.T) {
	t.Parallel()
	r, p := stoppingRig(t, time.Nanosecond, aState(api.RunRunning))
	receive(t, r.db.reports, "the inventory")
	for round := range 3 {
		var d wire.RunsDelta
		e := p.toldAgain(&d)
		if len(d.Put) != 1 || d.Put[0].PodID != podID || d.Put[0].Incarnation != 2 || d.Put[0].Desire != wire.DesireStop || d.Prev != e.Seq-1 {
			t.Fatalf("round %d: got %+v, want the stop again", round, d)
		}
		p.beat()
		p.silence() // it is being told
		p.send(wire.TypeRunsAck, "", wire.RunsAck{Seq: e.Seq})
	}
	select {
	case rs := <-r.db.reports:
		t.Errorf("%+v was stored, though the node alone can know", rs)
	default:
	}
}

func TestAStopWhoseTimeIsNotOverIsToldOnce(t *testing.T) {
	t.Parallel()
	_, p := stoppingRig(t, time.Hour, aState(api.RunStopping))
	p.beat()
	p.silence()
}

// Of what was not alive when the node came, and was told to stop alone since, there is
// nothing to wait for.
func TestAPodThatItsNodeCameBackWithoutEnds(t *testing.T) {
	t.Parallel()
	r, p := stoppingRig(t, time.Nanosecond)
	limit := time.Now().Add(patience)
	for len(r.db.reports) == 0 && time.Now().Before(limit) { // the set may still be under way for the server
		p.beat()
		p.silence()
	}
	got := receive(t, r.db.reports, "the end of the pod")
	if len(got) != 1 || got[0].RunKey != aState("").RunKey || got[0].Status != api.RunExited || !got[0].Final ||
		got[0].Reason != api.ReasonEvicted || got[0].Termination == nil || got[0].Termination.Message == "" {
		t.Errorf("got %+v", got)
	}
}

// A node that has a word on the pod after all is believed.
func TestAPodThatItsNodeSpeaksOfIsWaitedFor(t *testing.T) {
	t.Parallel()
	r, p := stoppingRig(t, time.Nanosecond)
	p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: []wire.RunReport{{RunKey: aState("").RunKey, Status: api.RunStopping}}})
	p.expect(wire.TypeRunReport+wire.AckSuffix, nil)
	receive(t, r.db.reports, "the report")
	p.toldAgain(&wire.RunsDelta{})
	select {
	case rs := <-r.db.reports:
		t.Errorf("%+v was stored, though the node speaks of the pod", rs)
	default:
	}
}
