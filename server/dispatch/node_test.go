package dispatch_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const podID = "0198c0de-0000-7000-8000-000000000001"

func TestRightToRegister(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		token string
		want  fault.Code
		by    dispatch.Registrar
	}{
		"admin":      {"token admin", "", dispatch.Registrar{UserID: "admin", Shared: true}},
		"operator":   {"token operator", "", dispatch.Registrar{UserID: "operator", Shared: true}},
		"developer":  {"token developer", "", dispatch.Registrar{UserID: "developer"}},
		"viewer":     {"token viewer", fault.Forbidden, dispatch.Registrar{}},
		"join token": {joinToken, "", dispatch.Registrar{JoinToken: joinToken}},
		"credential": {credential, "", dispatch.Registrar{NodeID: "n1", CredentialID: "c1"}},
		"nobody":     {"", fault.AuthenticationRequired, dispatch.Registrar{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newFakeDB()
			seen := make(chan dispatch.Registrar, 1)
			db.register = func(r dispatch.Registrar, _ api.RegisterNodeRequest) (dispatch.Registration, error) {
				seen <- r
				return dispatch.Registration{Node: api.Node{ID: "n1"}, Credential: "secret"}, nil
			}
			p := newRig(t, db, dispatch.Config{}).dial(t, tt.token)
			p.expect(wire.TypeConnected, nil)
			p.send(wire.TypeRegister, "x", aRegister())
			if tt.want != "" {
				if code := p.expectFailure(wire.TypeRegister + wire.ErrorSuffix); code != string(tt.want) {
					t.Errorf("got %s, want %s", code, tt.want)
				}
				return
			}
			var ack wire.Registered
			p.expect(wire.TypeRegister+wire.AckSuffix, &ack)
			if by := <-seen; by != tt.by {
				t.Errorf("got %+v, want %+v", by, tt.by)
			}
			if ack.Node.ID != "n1" || ack.Credential != "secret" || ack.HeartbeatIntervalMS != 10_000 {
				t.Errorf("got %+v", ack)
			}
		})
	}
}

// An agent may make its credential itself, if it is one.
func TestAProposedCredentialIsChecked(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	seen := make(chan dispatch.Registrar, 1)
	db.register = func(r dispatch.Registrar, _ api.RegisterNodeRequest) (dispatch.Registration, error) {
		seen <- r
		return dispatch.Registration{Node: api.Node{ID: "n1"}, CredentialID: "c1"}, nil
	}
	p := newRig(t, db, dispatch.Config{}).dial(t, joinToken)
	p.expect(wire.TypeConnected, nil)
	req := aRegister()
	good := api.NewCredential([api.CredentialBytes]byte{7})
	for _, bad := range []string{"secret", joinToken, good + "x", good[:len(good)-1], good[:len(good)-1] + "\x00"} {
		req.Credential = bad
		p.send(wire.TypeRegister, "x", req)
		var f wire.Failure
		p.expect(wire.TypeRegister+wire.ErrorSuffix, &f)
		if f.Code != string(fault.Validation) || f.Details["credential"] == nil || strings.Contains(f.Message, bad) {
			t.Errorf("%q: got %+v", bad, f)
		}
	}
	req.Credential = good
	p.send(wire.TypeRegister, "x", req)
	var ack wire.Registered
	p.expect(wire.TypeRegister+wire.AckSuffix, &ack)
	if by := <-seen; by != (dispatch.Registrar{JoinToken: joinToken, Proposed: good}) || ack.Credential != "" {
		t.Errorf("registered %+v, answered %+v", by, ack)
	}
}

// A change of the setting reaches the agents that are connected, without a restart.
func TestHeartbeatsFollowTheSettings(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.register = func(dispatch.Registrar, api.RegisterNodeRequest) (dispatch.Registration, error) {
		return dispatch.Registration{Node: api.Node{ID: "n1"}}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "x", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	p.expect(wire.TypeRunsSet, nil)
	for _, ms := range []int{3000, 7000} {
		r.store.Apply(store.Batch{Cursor: "2", Configs: store.Changes[api.ClusterConfig]{Put: []api.ClusterConfig{{Name: "default", HeartbeatIntervalMS: ms}}}})
		p.send(wire.TypeHeartbeat, "y", wire.Heartbeat{NodeID: "n1"})
		var ack wire.HeartbeatAck
		p.expect(wire.TypeHeartbeat+wire.AckSuffix, &ack)
		if ack.HeartbeatIntervalMS != ms {
			t.Errorf("got %d, want %d", ack.HeartbeatIntervalMS, ms)
		}
	}
}

func TestNothingWithoutRegistration(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	for typ, payload := range map[string]any{
		wire.TypeHeartbeat:  wire.Heartbeat{NodeID: "n1"},
		wire.TypeRunReport:  wire.RunReports{},
		wire.TypeBundleURL:  wire.BundleURL{PodID: podID, Incarnation: 1},
		wire.TypeRunsAck:    wire.RunsAck{},
		wire.TypeRunsResync: struct{}{},
		wire.TypeUnregister: struct{}{},
	} {
		p.send(typ, "x", payload)
		if code := p.expectFailure(typ + wire.ErrorSuffix); code != string(fault.NotFound) {
			t.Errorf("%s: got %s, want NOT_FOUND", typ, code)
		}
	}
}

func TestHeartbeatsRenewTheLease(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	if ids := receive(t, db.leases, "the lease of the registration"); len(ids) != 1 || ids[0] != "n1" {
		t.Errorf("got %v, want n1", ids)
	}
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1"})
	p.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
	receive(t, db.leases, "the lease of the heartbeat")
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n2"})
	if code := p.expectFailure(wire.TypeHeartbeat + wire.ErrorSuffix); code != string(fault.Forbidden) {
		t.Errorf("got %s, want FORBIDDEN for another node", code)
	}
}

// Another server has the node now, its credential was replaced, or it was removed.
func TestAConnectionThatLostItsNodeIsClosed(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.lost = func(nodes []string) []string { return nodes }
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	if got := receive(t, db.leases, "a renewal"); len(got) != 1 || got[0] != "n1" {
		t.Errorf("got a renewal of %v", got)
	}
	p.expect(wire.TypeDisconnect, nil)
	if code := p.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", code)
	}
}

func TestLostSocketMakesTheNodeSuspectAtOnce(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{PingInterval: time.Hour}) // so that no ping finds it out
	p, _ := r.agent(t)
	_ = p.conn.CloseNow()
	if got := receive(t, db.statuses, "suspect"); got != (statusCall{"n1", api.NodeSuspect}) {
		t.Errorf("got %+v, want n1 suspect", got)
	}
}

func TestUnregisterMakesTheNodeOffline(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	p.send(wire.TypeUnregister, "u", struct{}{})
	p.expect(wire.TypeUnregister+wire.AckSuffix, nil)
	_ = p.conn.CloseNow()
	for range 2 { // once for the word, once for the closed socket
		if got := receive(t, db.statuses, "offline"); got.status != api.NodeOffline {
			t.Errorf("got %+v, want offline", got)
		}
	}
}

// Who has left has nothing to say any more by that connection, but may come again by it.
func TestANodeThatHasLeftMustRegisterAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	p.send(wire.TypeUnregister, "u", struct{}{})
	p.expect(wire.TypeUnregister+wire.AckSuffix, nil)
	for _, what := range []string{wire.TypeHeartbeat, wire.TypeUnregister} {
		p.send(what, "again", wire.Heartbeat{})
		if code := p.expectFailure(what + wire.ErrorSuffix); code != string(fault.NotFound) {
			t.Errorf("%s is answered by %s", what, code)
		}
	}
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	p.expect(wire.TypeRunsSet, nil)
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{})
	p.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
}

// The lease of a node that takes its leave cannot be renewed any more; its goodbye is
// answered all the same.
func TestAGoodbyeIsAnsweredBesideARenewal(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	var nodes atomic.Int32
	db.register = func(dispatch.Registrar, api.RegisterNodeRequest) (dispatch.Registration, error) {
		return dispatch.Registration{Node: api.Node{ID: fmt.Sprintf("n%d", nodes.Add(1)), Status: api.NodeOnline}, CredentialID: "c"}, nil
	}
	renewing, goodbye, renewed, answer := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	var renewals, goodbyes sync.Once
	db.lost = func(of []string) []string {
		if slices.Contains(of, "n1") {
			close(renewing)
			<-goodbye
			return []string{"n1"}
		}
		renewals.Do(func() { close(renewed) })
		return nil
	}
	db.offline = func(node string) {
		if node == "n1" {
			goodbyes.Do(func() { close(goodbye); <-answer })
		}
	}
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	receive(t, renewing, "the lease to be renewed")
	p.send(wire.TypeUnregister, "u", struct{}{})
	receive(t, goodbye, "the goodbye")
	r.agent(t) // whose lease is renewed when the renewal before is dealt with
	receive(t, renewed, "the lease of the other node to be renewed")
	close(answer)
	p.expect(wire.TypeUnregister+wire.AckSuffix, nil)
}

func TestNewerConnectionDisplacesTheOlder(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	older, _ := r.agent(t)
	newer, _ := r.agent(t)
	older.expect(wire.TypeDisconnect, nil)
	if code := older.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("got %d, want 1008", code)
	}
	newer.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1"})
	newer.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
	_ = newer.conn.CloseNow()
	if got := receive(t, db.statuses, "suspect"); got.status != api.NodeSuspect {
		t.Errorf("got %+v, want suspect", got)
	}
	if len(db.statuses) != 0 {
		t.Error("the displaced session has changed the node's status")
	}
}

func TestInventoryIsReported(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	key := api.RunKey{PodID: podID, Incarnation: 1, Attempt: 2}
	r.agent(t, wire.RunState{RunKey: key, Status: api.RunRunning})
	got := receive(t, db.reports, "the inventory")
	if len(got) != 1 || got[0].RunKey != key || !got[0].Ready {
		t.Errorf("got %+v, want %+v ready", got, key)
	}
}

func podOn(node string, status api.PodStatus) api.Pod {
	return api.Pod{ID: podID, PackID: "pack", PackName: "hello", NodeID: &node, Status: status, Incarnation: 1, Namespace: "default", CreatedBy: "ann"}
}

func put(pods ...api.Pod) store.Batch {
	return store.Batch{
		Packs: store.Changes[api.Pack]{Put: []api.Pack{{ID: "pack", BundleSHA256: "abc", BundleSize: 3}}},
		Pods:  store.Changes[api.Pod]{Put: pods},
	}
}

func TestDeltasFollowThePod(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	r.store.Apply(put(podOn("n1", api.PodScheduled)))
	var d wire.RunsDelta
	e := p.expect(wire.TypeRunsDelta, &d)
	if e.Seq != 2 || d.Prev != 1 || len(d.Put) != 1 || d.Put[0].Desire != wire.DesireRun || d.Put[0].Pod.BundleSHA256 != "abc" {
		t.Fatalf("got seq %d %+v, want the pod to run", e.Seq, d)
	}
	r.store.Apply(put(podOn("n1", api.PodStarting)))
	r.store.Apply(put(podOn("n1", api.PodRunning)))
	stop := podOn("n1", api.PodStopping)
	stop.StopRequestedAt = new(time.Now())
	r.store.Apply(put(stop))
	d = wire.RunsDelta{}
	if p.expect(wire.TypeRunsDelta, &d); d.Prev != 2 || len(d.Put) != 1 || d.Put[0].Desire != wire.DesireStop || d.Put[0].LastAttempt != 1 {
		t.Fatalf("got %+v, want the pod to stop, and nothing for its progress", d)
	}
	r.store.Apply(put(podOn("n1", api.PodRunning))) // an older state may not start it again
	r.store.Apply(put(podOn("n1", api.PodStopped)))
	d = wire.RunsDelta{}
	if p.expect(wire.TypeRunsDelta, &d); d.Prev != 3 || len(d.Remove) != 1 || d.Remove[0] != (wire.PodRef{PodID: podID, Incarnation: 1}) {
		t.Fatalf("got %+v, want the pod removed", d)
	}
}

func TestPodThatMovesAwayIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	r.store.Apply(put(podOn("n1", api.PodRunning)))
	p.expect(wire.TypeRunsDelta, nil)
	moved := podOn("n2", api.PodScheduled)
	moved.Incarnation = 2
	r.store.Apply(put(moved))
	var d wire.RunsDelta
	if p.expect(wire.TypeRunsDelta, &d); len(d.Remove) != 1 || d.Remove[0].Incarnation != 1 {
		t.Errorf("got %+v, want incarnation 1 removed", d)
	}
}

func TestDeletedPodIsRemoved(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.wanted = func() ([]wire.Assignment, error) {
		return []wire.Assignment{{PodID: podID, Incarnation: 3, Desire: wire.DesireRun}}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	pending := podOn("n1", api.PodPending)
	pending.NodeID = nil
	r.store.Apply(put(pending)) // the read model lags: it has not seen the pod on a node
	p, set := r.agent(t)
	if len(set.Runs) != 1 {
		t.Fatalf("got %+v, want one run", set)
	}
	r.store.Apply(store.Batch{Pods: store.Changes[api.Pod]{Delete: []string{podID}}})
	var d wire.RunsDelta
	if p.expect(wire.TypeRunsDelta, &d); len(d.Remove) != 1 || d.Remove[0].Incarnation != 3 {
		t.Errorf("got %+v, want the pod removed", d)
	}
}

func TestLaggingReadModelDoesNotUndoTheSet(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.wanted = func() ([]wire.Assignment, error) {
		return []wire.Assignment{{PodID: podID, Incarnation: 2, Desire: wire.DesireStop}}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	r.store.Apply(put(podOn("n1", api.PodRunning))) // incarnation 1
	same := podOn("n1", api.PodRunning)
	same.Incarnation = 2
	r.store.Apply(put(same)) // not yet stopping
	p.send(wire.TypePing, "", struct{}{})
	p.expect(wire.TypePong, nil)
}

func TestSetIsSentAgain(t *testing.T) {
	t.Parallel()
	tries := 0
	db := newFakeDB()
	db.wanted = func() ([]wire.Assignment, error) {
		if tries++; tries == 3 {
			return nil, errors.New("no database for a moment")
		}
		return nil, nil
	}
	r := newRig(t, db, dispatch.Config{AckTimeout: 50 * time.Millisecond})
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	first := p.expect(wire.TypeRunsSet, nil)
	again := p.expect(wire.TypeRunsSet, nil) // the first was not acknowledged
	if again.Seq <= first.Seq {
		t.Errorf("got %d after %d, want a higher number", again.Seq, first.Seq)
	}
	p.send(wire.TypeRunsResync, "", struct{}{})
	last := p.expect(wire.TypeRunsSet, nil) // asked for; its first reading fails
	p.send(wire.TypeRunsAck, "", wire.RunsAck{Seq: last.Seq})
	p.send(wire.TypeRunsAck, "x", wire.RunsAck{Seq: last.Seq + 100})
	for {
		e := receive(t, p.got, "the refusal of a number that was never sent")
		if e.Type == wire.TypeRunsAck+wire.ErrorSuffix {
			return
		}
	}
}
