package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// joinLanes is how many transactions of a server take nodes in at a time.
const joinLanes = 2

// joinWorld is a world in which nodes join by a token.
type joinWorld struct {
	*returnsWorld
	ann   access.Identity
	token api.JoinToken
	wg    sync.WaitGroup
}

func newJoinWorld(t *testing.T, uses int) *joinWorld {
	t.Helper()
	w := &joinWorld{returnsWorld: newReturnsWorld(t)}
	w.ann = w.user(t, api.RoleDeveloper)
	w.token = must(w.CreateJoinToken(t.Context(), w.ann, api.CreateJoinTokenRequest{Uses: uses}))(t)
	return w
}

// joins is how a node of this name joins by the token.
func (w *joinWorld) joins(name string) *comeback {
	return &comeback{
		by:   postgres.Registrar{JoinToken: w.token.Token},
		req:  api.RegisterNodeRequest{Name: name, RuntimeType: api.RuntimeNode},
		meta: postgres.RegisterMeta{Session: "session of " + name},
	}
}

func (w *joinWorld) begin(ctx context.Context, all ...*comeback) {
	for _, c := range all {
		w.wg.Go(func() { c.got, c.err = w.db.RegisterNode(ctx, c.by, c.req, c.meta) })
	}
}

// holds lets somebody else hold what a statement locks.
func (w *joinWorld) holds(t *testing.T, sql string, args ...any) (letGo func()) {
	t.Helper()
	holder, err := connect(t, w.at.Superuser).Begin(t.Context())
	if err == nil {
		_, err = holder.Exec(t.Context(), sql, args...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := holder.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// stopped lets one registration per lane wait for the token's row, which somebody else
// holds; later ones gather behind them until the caller lets them go.
func (w *joinWorld) stopped(ctx context.Context, t *testing.T, first ...*comeback) (letGo func()) {
	t.Helper()
	letGo = w.holds(t, "select from stark.join_tokens where id = $1 for update", w.token.ID)
	for i, c := range first {
		w.begin(ctx, c)
		w.until(t, func() bool { return w.blocked(t) == i+1 })
	}
	return letGo
}

// blocked is how many statements wait for a lock.
func (w *joinWorld) blocked(t *testing.T) int {
	t.Helper()
	return value[int](t, w.world, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
}

func (w *joinWorld) uses(t *testing.T) int {
	t.Helper()
	return value[int](t, w.world, "select uses from stark.join_tokens where id = $1", w.token.ID)
}

// A fleet that joins by one token takes turns at its row. Those that wait leave
// connections to everybody else: else the server loses its feed, its lease and the
// heartbeats of all nodes to them.
func TestNodesThatJoinByOneTokenLeaveConnectionsToOthers(t *testing.T) {
	t.Parallel()
	const many = 50
	w := newJoinWorld(t, many)
	all := make([]*comeback, many)
	for i := range all {
		all[i] = w.joins("n" + strconv.Itoa(i))
	}
	letGo := w.stopped(t.Context(), t, all[:joinLanes]...)
	w.begin(t.Context(), all[joinLanes:]...)
	w.until(t, func() bool {
		used, most := w.db.Connections()
		return w.db.JoinsWaiting() == many-joinLanes || used == most
	})
	if used, _ := w.db.Connections(); used > joinLanes {
		t.Errorf("%d connections wait for the token", used)
	}
	// The one who holds the row waits for this answer.
	if nodes, err := w.db.ListNodes(t.Context(), w.ann, api.NodeQuery{PageQuery: api.PageQuery{Page: 1, PageSize: 1}}); err != nil || nodes.Total != 0 {
		t.Errorf("a list beside nodes that join: %+v, %v", nodes, err)
	}
	letGo()
	w.wg.Wait()
	for _, c := range all {
		if c.err != nil || c.got.Node.Name != c.req.Name || w.session(t, c.got.Node.ID) != c.meta.Session {
			t.Errorf("got %+v, %v", c.got, c.err)
		}
	}
	if n := w.uses(t); n != 0 {
		t.Errorf("%d uses are left", n)
	}
}

// What a fleet needs to join does not grow with it.
func TestManyNodesJoinInFewStatements(t *testing.T) {
	t.Parallel()
	const many = 100
	w := newJoinWorld(t, many)
	all := make([]*comeback, many)
	for i := range all {
		all[i] = w.joins("n" + strconv.Itoa(i))
		all[i].by.Proposed = api.NewCredential([api.CredentialBytes]byte{byte(i), 1})
	}
	ctx, statements := postgrestest.Record(t.Context())
	letGo := w.stopped(ctx, t, all[:joinLanes]...)
	w.begin(ctx, all[joinLanes:]...)
	w.until(t, func() bool { return w.db.JoinsWaiting() == many-joinLanes })
	letGo()
	w.wg.Wait()
	for _, c := range all {
		if c.err != nil || must(w.NodeByCredential(t.Context(), c.by.Proposed))(t).NodeID != c.got.Node.ID {
			t.Errorf("got %+v, %v", c.got, c.err)
		}
	}
	// Begin, settings, seven that find and hold, nodes, credentials, uses, leases, commit.
	if n := len(statements.Sent()); n > 14*(joinLanes+1) {
		t.Errorf("%d statements for %d nodes:\n%s", n, many, strings.Join(statements.Sent(), "\n"))
	}
}

// A token lets in as many nodes as it has uses, whichever servers they come to.
func TestATokensUsesAreCountedExactly(t *testing.T) {
	t.Parallel()
	const uses, many = 50, 60
	w := newJoinWorld(t, uses)
	servers := []*postgres.DB{w.db, open(t, postgres.Config{URL: w.at.URL})}
	all := make([]*comeback, many)
	letGo := w.holds(t, "select from stark.join_tokens where id = $1 for update", w.token.ID)
	for i := range all {
		all[i] = w.joins("n" + strconv.Itoa(i))
		c, db := all[i], servers[i%2]
		w.wg.Go(func() { c.got, c.err = db.RegisterNode(t.Context(), c.by, c.req, c.meta) })
		if i < 2*joinLanes {
			w.until(t, func() bool { return w.blocked(t) == i+1 })
		}
	}
	w.until(t, func() bool { return servers[0].JoinsWaiting()+servers[1].JoinsWaiting() == many-2*joinLanes })
	letGo()
	w.wg.Wait()
	in := 0
	for _, c := range all {
		if c.err == nil {
			in++
			continue
		}
		wantCode(t, c.err, fault.TokenInvalid)
	}
	if in != uses || w.uses(t) != 0 {
		t.Errorf("%d nodes are in, and %d uses are left", in, w.uses(t))
	}
	for what, sql := range map[string]string{
		"nodes":          "select count(*) from public.nodes where status = 'online'",
		"credentials":    "select count(*) from stark.node_credentials where revoked_at is null",
		"leases":         "select count(*) from stark.node_leases",
		"rows of events": "select count(*) from stark.node_history where action = 'registered' and actor_id = '" + w.ann.UserID + "'",
	} {
		if n := value[int](t, w.world, sql); n != uses {
			t.Errorf("%d %s, want %d", n, what, uses)
		}
	}
}

// Nodes that join at the same moment share a transaction, and each has the outcome that
// it would have alone.
func TestNodesThatJoinTogether(t *testing.T) {
	t.Parallel()
	const uses = 20
	w := newJoinWorld(t, uses)
	bob := w.user(t, api.RoleOperator)
	before := map[string]postgres.Registration{}
	for _, name := range []string{"away", "here", "suspect"} {
		before[name] = w.node(t, w.ann, name)
	}
	before["strange"] = w.node(t, bob, "strange")
	w.exec(t, "update public.nodes set status = 'offline' where name in ('away', 'strange')")
	w.exec(t, "update public.nodes set status = 'suspect' where name = 'suspect'")
	told := w.joins("told")
	told.by.Proposed = api.NewCredential([api.CredentialBytes]byte{1})
	toldBefore := must(w.RegisterNode(t.Context(), told.by, told.req, told.meta))(t)
	told.meta.Session = "newer"
	gone := w.joins("gone")
	gone.by.Proposed = api.NewCredential([api.CredentialBytes]byte{2})
	if err := w.RevokeCredentials(t.Context(), w.ann, must(w.RegisterNode(t.Context(), gone.by, gone.req, gone.meta))(t).Node.ID); err != nil {
		t.Fatal(err)
	}

	join := map[string]*comeback{"told": told, "gone": gone}
	for _, name := range []string{"first", "second", "new", "new too", "same", "same again", "twice", "twice again", "away", "here", "suspect", "strange", "unknown", "huge", "left", "bobs", "nobodys"} {
		join[name] = w.joins(strings.ReplaceAll(strings.TrimSuffix(name, " again"), " ", "-"))
		join[name].meta.Session = "session of " + name
	}
	for _, name := range []string{"twice", "twice again"} {
		join[name].by.Proposed = api.NewCredential([api.CredentialBytes]byte{3})
	}
	join["new"].req.Labels, join["new"].req.Allocatable = map[string]string{"zone": "b"}, &api.Capacity{CPU: 9}
	join["unknown"].by.JoinToken += "x"
	join["huge"].req.Labels = map[string]string{"x": strings.Repeat("y", 1<<10)} // the table refuses it
	join["bobs"].by = postgres.Registrar{UserID: bob.UserID, Shared: true}
	join["nobodys"].by = postgres.Registrar{UserID: w.user(t, api.RoleViewer).UserID}

	letGo := w.stopped(t.Context(), t, join["first"], join["second"])
	leaving, leave := context.WithCancel(t.Context())
	for name, c := range join {
		switch name {
		case "first", "second":
		case "left":
			w.begin(leaving, c)
		default:
			w.begin(t.Context(), c)
		}
	}
	w.until(t, func() bool { return w.db.JoinsWaiting() == len(join)-joinLanes })
	leave()
	letGo()
	w.wg.Wait()

	in := 0
	for name, want := range map[string]fault.Code{
		"first": "", "second": "", "new": "", "new too": "", "twice": "", "twice again": "", "away": "", "told": "", "bobs": "",
		"gone": fault.Validation, "here": fault.Conflict, "suspect": fault.Conflict, "strange": fault.Conflict,
		"unknown": fault.TokenInvalid, "huge": fault.Validation, "left": fault.Timeout, "nobodys": fault.Forbidden,
	} {
		c := join[name]
		if got := fault.CodeOf(c.err); got != want {
			t.Errorf("%s: got %v, want %q", name, c.err, want)
		}
		if c.err != nil {
			continue
		}
		in++
		if c.got.Node.Name != c.req.Name || c.got.Node.Status != api.NodeOnline || (c.got.Credential == "") != (c.by.Proposed != "") {
			t.Errorf("%s: got %+v", name, c.got)
		}
		if s := w.session(t, c.got.Node.ID); s != c.meta.Session && c.req.Name != "twice" {
			t.Errorf("%s: the lease is of %q", name, s)
		}
	}
	if in != 9 {
		t.Errorf("%d nodes are in", in)
	}
	// Of two of one name one is in, and the other is told of it.
	same, again := join["same"].err, join["same again"].err
	if same == nil {
		same = again
	} else if again != nil {
		t.Error("both nodes of one name were refused")
	}
	if wantCode(t, same, fault.Conflict); !strings.Contains(fmt.Sprint(same), "is connected") {
		t.Errorf("got %v", same)
	}
	// Of two by one proposal both are the same node.
	if a, b := join["twice"].got, join["twice again"].got; a.Node.ID != b.Node.ID || a.CredentialID != b.CredentialID {
		t.Errorf("got %+v and %+v", a, b)
	}
	if n := join["new"].got.Node; n.Labels["zone"] != "b" || n.Allocatable.CPU != 9 || n.Shared || n.RegisteredBy != w.ann.UserID {
		t.Errorf("got %+v", n)
	}
	if n := join["bobs"].got.Node; !n.Shared || n.RegisteredBy != bob.UserID {
		t.Errorf("got %+v", n)
	}
	if got := join["away"].got.Node; got.ID != before["away"].Node.ID {
		t.Errorf("a node that was away is another one now: %+v", got)
	}
	_, err := w.NodeByCredential(t.Context(), before["away"].Credential)
	wantCode(t, err, fault.TokenInvalid)
	if got := join["told"].got; got.Node.ID != toldBefore.Node.ID || got.CredentialID != toldBefore.CredentialID {
		t.Errorf("got %+v, want %+v", got, toldBefore)
	}
	// Told and gone before; first, second, new, new too, same, twice and away.
	if n := uses - w.uses(t); n != 2+7 {
		t.Errorf("%d uses were taken", n)
	}
}

// A node whose name somebody else holds locked is waited for by itself, without the token.
func TestNodesThatJoinDoNotWaitForANameThatIsHeld(t *testing.T) {
	t.Parallel()
	w := newJoinWorld(t, 20)
	old := w.node(t, w.ann, "held")
	w.exec(t, "update public.nodes set status = 'offline' where name = 'held'")
	unlock := w.holds(t, "select from public.nodes where id = $1 for update", old.Node.ID)
	first, second, held, free := w.joins("first"), w.joins("second"), w.joins("held"), w.joins("free")
	letGo := w.stopped(t.Context(), t, first, second)
	var others sync.WaitGroup
	others.Go(func() { free.got, free.err = w.db.RegisterNode(t.Context(), free.by, free.req, free.meta) })
	w.until(t, func() bool { return w.db.JoinsWaiting() == 1 })
	w.begin(t.Context(), held)
	w.until(t, func() bool { return w.db.JoinsWaiting() == 2 })
	letGo()
	others.Wait()
	if free.err != nil || w.session(t, old.Node.ID) == held.meta.Session {
		t.Errorf("got %v, and the lease of %q", free.err, w.session(t, old.Node.ID))
	}
	w.until(t, func() bool { return w.blocked(t) == 1 })
	// Another one by the same token passes it by.
	late := w.joins("late")
	if _, err := w.db.RegisterNode(t.Context(), late.by, late.req, late.meta); err != nil {
		t.Error(err)
	}
	unlock()
	w.wg.Wait()
	if held.err != nil || held.got.Node.ID != old.Node.ID || w.session(t, old.Node.ID) != held.meta.Session {
		t.Errorf("got %+v, %v", held.got, held.err)
	}
}

// Who takes the role of a token's maker away while nodes join by it waits for them, and
// finds their nodes: neither locks the other out.
func TestAUserIsDisabledWhileNodesJoinByTheirToken(t *testing.T) {
	t.Parallel()
	w := newJoinWorld(t, 2)
	admin := w.user(t, api.RoleAdmin)
	w.exec(t, "insert into public.user_roles (user_id, role) values ($1, 'operator')", w.ann.UserID)
	n := w.joins("n1")
	letGo := w.stopped(t.Context(), t, n)
	w.wg.Go(func() {
		if _, err := w.SetDisabled(t.Context(), w.ann.UserID, true, admin.UserID); err != nil {
			t.Error(err)
		}
	})
	w.until(t, func() bool { return w.blocked(t) == 2 })
	letGo()
	w.wg.Wait()
	if n.err != nil {
		t.Fatal(n.err)
	}
	if got := value[string](t, w.world, "select status::text from public.nodes where id = $1", n.got.Node.ID); got != "offline" {
		t.Errorf("the node of a user without roles is %s", got)
	}
	if lease := w.session(t, n.got.Node.ID); lease != "" {
		t.Errorf("it has the lease %q", lease)
	}
}

// An agent whose first try waits for a name comes again, by a connection of its own, and
// proposes the same credential. Its second try waits for the first one, and nobody else does,
// neither those that come after it nor those that it has come with.
func TestASecondTryOfANodeWhoseNameIsHeldKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	for name, together := range map[string]bool{"before others": false, "with others": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newJoinWorld(t, 20)
			old := w.node(t, w.ann, "held")
			w.exec(t, "update public.nodes set status = 'offline' where name = 'held'")
			unlock := w.holds(t, "select from public.nodes where id = $1 for update", old.Node.ID)
			first, again, other, late := w.joins("held"), w.joins("held"), w.joins("other"), w.joins("late")
			first.by.Proposed = api.NewCredential([api.CredentialBytes]byte{1})
			again.by.Proposed, again.meta.Session = first.by.Proposed, "newer"
			w.begin(t.Context(), first)
			w.until(t, func() bool { return w.blocked(t) == 1 })

			var others sync.WaitGroup
			begin := func(all ...*comeback) {
				for _, c := range all {
					others.Go(func() { c.got, c.err = w.db.RegisterNode(t.Context(), c.by, c.req, c.meta) })
				}
			}
			if together {
				letGo := w.holds(t, "select from stark.join_tokens where id = $1 for update", w.token.ID)
				busy := []*comeback{w.joins("one"), w.joins("two")}
				for i, c := range busy {
					begin(c)
					w.until(t, func() bool { return w.blocked(t)+w.db.JoinsWaiting() == i+2 })
				}
				before := w.db.JoinsWaiting()
				w.begin(t.Context(), again)
				begin(other)
				w.until(t, func() bool { return w.db.JoinsWaiting() == before+2 })
				letGo()
			} else {
				w.begin(t.Context(), again)
				w.until(t, func() bool { return w.blocked(t) == 2 || w.db.JoinsHeld() == 1 })
				begin(other)
			}
			others.Wait()
			begin(late)
			others.Wait()
			if w.blocked(t) != 1 || other.err != nil || late.err != nil {
				t.Fatalf("%d wait for the name; others got %v and %v", w.blocked(t), other.err, late.err)
			}
			unlock()
			w.wg.Wait()
			if first.err != nil || again.err != nil || first.got.Node.ID != old.Node.ID || again.got.Node.ID != old.Node.ID ||
				w.session(t, old.Node.ID) != again.meta.Session {
				t.Errorf("got %+v, %v and %+v, %v", first.got, first.err, again.got, again.err)
			}
		})
	}
}

// Nodes whose names are held take no place from others, also where they come one by one.
func TestNodesThatJoinOneByOneForHeldNamesKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	w := newJoinWorld(t, 20)
	var held []*comeback
	for i := range joinLanes {
		name := "held-" + strconv.Itoa(i)
		w.node(t, w.ann, name)
		held = append(held, w.joins(name))
	}
	w.exec(t, "update public.nodes set status = 'offline'")
	unlock := w.holds(t, "select from public.nodes for update")
	for i, c := range held {
		w.begin(t.Context(), c)
		w.until(t, func() bool { return w.blocked(t)+w.db.JoinsHeld() == i+1 })
	}
	other := w.joins("other")
	if _, err := w.db.RegisterNode(t.Context(), other.by, other.req, other.meta); err != nil || w.blocked(t) == 0 {
		t.Errorf("%d wait for names; another one got %v", w.blocked(t), err)
	}
	unlock()
	w.wg.Wait()
	for _, c := range held {
		if c.err != nil {
			t.Errorf("%s: %v", c.req.Name, c.err)
		}
	}
}
