package dispatch_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// open waits for an answer of a connection that must not have been closed.
func (p *peer) open() {
	p.t.Helper()
	p.send(wire.TypePing, "still", struct{}{})
	p.expect(wire.TypePong, nil)
}

func (r *rig) user(t *testing.T, token string) *peer {
	t.Helper()
	p := r.dial(t, token)
	p.expect(wire.TypeConnected, nil)
	return p
}

func TestAConnectionEndsWithTheSessionOfItsUser(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{ReviewInterval: time.Hour})
	ann, bob := r.user(t, "token viewer"), r.user(t, "token admin")
	r.tokens.end("of viewer")
	r.d.Doubt([]string{"of viewer", "of nobody here"}, nil)
	ann.expect(wire.TypeDisconnect, nil)
	if code := ann.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("got %d, want 1008", code)
	}
	r.d.Doubt([]string{"of admin"}, nil) // which is doubted without reason
	bob.open()
}

func TestSessionsThatNobodyAnnouncedAreFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{ReviewInterval: 20 * time.Millisecond})
	ann, bob := r.user(t, "token viewer"), r.user(t, "token admin")
	r.tokens.end("of viewer")
	ann.expectClose()
	bob.open()
}

func TestAConnectionEndsWithTheCredentialOfItsNode(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	revoked := make(chan struct{})
	db.usable = func(ids []string) []string {
		select {
		case <-revoked:
			return slices.DeleteFunc(ids, func(id string) bool { return id == "c1" })
		default:
			return ids
		}
	}
	r := newRig(t, db, dispatch.Config{ReviewInterval: time.Hour})
	p, _ := r.agent(t)
	r.d.Doubt(nil, []string{"n1"})
	p.open()
	close(revoked)
	r.d.Doubt(nil, []string{"n1"})
	p.expectClose()
}

// A connection that comes with a credential to get another one is not ended for the one that
// it came with.
func TestAConnectionOutlivesTheCredentialThatItHasExchanged(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	asked, letGo := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db.usable = func(ids []string) []string {
		once.Do(func() { close(asked); <-letGo })
		return slices.DeleteFunc(ids, func(id string) bool { return id == "c1" })
	}
	var registered atomic.Int32
	db.register = func(dispatch.Registrar, api.RegisterNodeRequest) (dispatch.Registration, error) {
		return dispatch.Registration{Node: api.Node{ID: "n1", Status: api.NodeOnline}, CredentialID: fmt.Sprintf("c%d", registered.Add(1))}, nil
	}
	r := newRig(t, db, dispatch.Config{ReviewInterval: time.Hour})
	p, _ := r.agent(t)
	r.d.Doubt(nil, []string{"n1"})
	receive(t, asked, "the review")
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	p.expect(wire.TypeRunsSet, nil)
	close(letGo)
	p.open()
	r.d.Doubt(nil, []string{"n1"})
	p.open()
}

func TestANodeThatIsRemovedLosesItsConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	r.store.Apply(store.Batch{Cursor: "2", Nodes: store.Changes[api.Node]{Put: []api.Node{{ID: "n1"}}}})
	p, _ := r.agent(t)
	r.store.Apply(store.Batch{Cursor: "3", Nodes: store.Changes[api.Node]{Delete: []string{"n1"}}})
	p.expectClose()
}

func TestANewCredentialIsConfirmedByTheFirstHeartbeat(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	p := r.dial(t, joinToken)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	p.expect(wire.TypeRunsSet, nil)
	for range 2 {
		p.send(wire.TypeHeartbeat, "h", wire.Heartbeat{NodeID: "n1"})
		p.expect(wire.TypeHeartbeat+wire.AckSuffix, nil)
	}
	if id := receive(t, db.confirmed, "the confirmation"); id != "c1" {
		t.Errorf("confirmed %q", id)
	}
	p.open()
	if len(db.confirmed) != 0 {
		t.Error("it was confirmed twice")
	}
}

// users says which roles they have now.
func users(cursor string, roles map[string][]api.Role) store.Batch {
	b := store.Batch{Cursor: cursor}
	for id, r := range roles {
		b.Users.Put = append(b.Users.Put, api.User{ID: id, Roles: r})
	}
	return b
}

func TestAConnectionEndsWithTheRoleItLivedOn(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.roles = func(string) ([]api.Role, bool, error) { return []api.Role{api.RoleViewer}, true, nil }
	r := newRig(t, db, dispatch.Config{})
	viewer := []api.Role{api.RoleViewer}
	r.store.Apply(users("2", map[string][]api.Role{"ann": viewer, "bob": viewer, "eve": viewer}))
	ann, bob, eve := r.user(t, "token ann"), r.user(t, "token bob"), r.user(t, "token eve")
	r.store.Apply(users("3", map[string][]api.Role{"ann": {api.RoleViewer, api.RoleOperator}, "bob": {}}))
	bob.expectClose()
	ann.open() // more is no loss
	r.store.Apply(users("4", map[string][]api.Role{"ann": viewer}))
	ann.expectClose()
	eve.open()
	r.store.Apply(store.Batch{Cursor: "5", Users: store.Changes[api.User]{Delete: []string{"eve"}}})
	eve.expectClose()
}

func TestAConnectionEndsWithTheMembershipItLivedOn(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.roles = func(string) ([]api.Role, bool, error) { return []api.Role{api.RoleViewer}, true, nil }
	r := newRig(t, db, dispatch.Config{})
	b := users("2", map[string][]api.Role{"ann": {api.RoleViewer}, "bob": {api.RoleViewer}})
	b.Members.Put = []api.NamespaceMember{{Namespace: "team", UserID: "ann"}, {Namespace: "team", UserID: "bob"}}
	r.store.Apply(b)
	ann, bob := r.user(t, "token ann"), r.user(t, "token bob")
	r.store.Apply(store.Batch{Cursor: "3", Members: store.Changes[api.NamespaceMember]{Delete: []string{store.MemberKey("team", "ann")}}})
	ann.expectClose()
	bob.open()
}

func TestATicketOpensAConnection(t *testing.T) {
	t.Parallel()
	const ticket = api.TicketPrefix + "good"
	db := newFakeDB()
	db.redeem = func(string) (access.Identity, error) {
		return access.Identity{UserID: "viewer", SessionID: "of viewer", ExpiresAt: time.Now().Add(time.Hour)}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	var c wire.Connected
	p := r.dial(t, ticket)
	if p.expect(wire.TypeConnected, &c); c.RequiresAuth {
		t.Error("the ticket was not taken")
	}
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "w", Kind: "pods"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	// The session of the token that it was made with has ended meanwhile.
	r.tokens.end("of viewer")
	late := r.user(t, "")
	late.send(wire.TypeAuthenticate, "a", wire.Authenticate{Token: ticket})
	if code := late.expectFailure(wire.TypeAuthError); code != string(fault.TokenInvalid) {
		t.Errorf("got %s", code)
	}
}
