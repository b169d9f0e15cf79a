package dispatch_test

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// registering dials and has the node's registration on its way.
func (r *rig) registering(t *testing.T, token string, req wire.Register) *peer {
	t.Helper()
	p := r.dial(t, token)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", req)
	return p
}

// isTheNode checks that the connection has the node and goes on.
func (p *peer) isTheNode() {
	p.t.Helper()
	p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1"})
	for {
		e := receive(p.t, p.got, "an answer to a heartbeat")
		switch e.Type {
		case wire.TypeHeartbeat + wire.AckSuffix:
			return
		case wire.TypeRegister + wire.AckSuffix, wire.TypeRunsSet:
		default:
			p.t.Fatalf("got %s %s", e.Type, e.Payload)
		}
	}
}

// An agent whose connection breaks while it registers comes again by another one. What the
// first one's registration comes to then, late, must not end the second, which is the only
// one that there is.
func TestALateRegistrationOfALostConnectionDisplacesNobody(t *testing.T) {
	t.Parallel()
	proposal := aRegister()
	proposal.Credential = api.NewCredential([api.CredentialBytes]byte{1})
	for what, c := range map[string]struct {
		lostBy, againBy   string
		lostReq, againReq wire.Register
	}{
		"by a credential":              {credential, credential, aRegister(), aRegister()},
		"by a proposal":                {joinToken, joinToken, proposal, proposal},
		"by a token":                   {joinToken, joinToken, aRegister(), aRegister()},
		"by a proposal and what it is": {joinToken, credential, proposal, aRegister()},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db := newFakeDB()
			registering, goOn := make(chan struct{}), make(chan struct{})
			var calls atomic.Int32
			db.answer = func(context.Context) error {
				if calls.Add(1) == 1 {
					close(registering)
					<-goOn // it is stored, and its answer is on its way
				}
				return nil
			}
			r := newRig(t, db, dispatch.Config{})
			lost := r.registering(t, c.lostBy, c.lostReq)
			receive(t, registering, "a registration")
			again := r.registering(t, c.againBy, c.againReq)
			again.expect(wire.TypeRegister+wire.AckSuffix, nil)
			close(goOn)
			// Its peer is gone, which the server cannot know.
			if code := lost.expectClose(); code != 1008 {
				t.Errorf("the lost connection was closed with %d", code)
			}
			again.isTheNode()
		})
	}
}

// Of connections of one node that register at the same moment the latest has the node,
// and all others are closed.
func TestOfManyConnectionsTheLatestHasTheNode(t *testing.T) {
	t.Parallel()
	const many = 20
	shuffled := make([]int, many)
	for i := range shuffled {
		shuffled[i] = i * 7 % many
	}
	inOrder := slices.Sorted(slices.Values(shuffled))
	reversed := slices.Clone(inOrder)
	slices.Reverse(reversed)
	for what, order := range map[string][]int{"in order": inOrder, "in reverse": reversed, "in any order": shuffled} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db := newFakeDB()
			first, goOn := make(chan struct{}, many), make(chan struct{})
			db.answer = func(context.Context) error {
				first <- struct{}{}
				<-goOn // all are stored, and answered at once
				return nil
			}
			r := newRig(t, db, dispatch.Config{})
			peers := make([]*peer, many)
			for i := range peers {
				peers[i] = r.dial(t, credential)
				peers[i].expect(wire.TypeConnected, nil)
			}
			for _, i := range order {
				peers[i].send(wire.TypeRegister, "r"+strconv.Itoa(i), aRegister())
			}
			receive(t, first, "a registration")
			close(goOn)
			for i, p := range peers[:many-1] {
				if code := p.expectClose(); code != 1008 {
					t.Errorf("connection %d was closed with %d", i, code)
				}
			}
			latest := peers[many-1]
			latest.expect(wire.TypeRegister+wire.AckSuffix, nil)
			latest.isTheNode()
		})
	}
}

// A newer connection that is refused has displaced nobody: the older one goes on, and
// asks again for what was ended for the newer one's sake.
func TestARefusedConnectionDisplacesNobody(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	registering := make(chan struct{})
	var calls atomic.Int32
	db.answer = func(ctx context.Context) error {
		switch calls.Add(1) {
		case 1:
			close(registering)
			<-ctx.Done()
			return fault.Wrap(ctx.Err(), fault.Timeout, "the request was given up")
		case 2:
			return fault.New(fault.Conflict, "no")
		default:
			return nil
		}
	}
	r := newRig(t, db, dispatch.Config{})
	older := r.registering(t, credential, aRegister())
	receive(t, registering, "a registration")
	newer := r.registering(t, credential, aRegister())
	if code := newer.expectFailure(wire.TypeRegister + wire.ErrorSuffix); code != string(fault.Conflict) {
		t.Errorf("got %s", code)
	}
	older.expect(wire.TypeRegister+wire.AckSuffix, nil)
	older.isTheNode()
	// It is still the newer one.
	newer.send(wire.TypeRegister, "r", aRegister())
	newer.expect(wire.TypeRegister+wire.AckSuffix, nil)
	if code := older.expectClose(); code != 1008 {
		t.Errorf("the older connection was closed with %d", code)
	}
	newer.isTheNode()
}
