package postgres_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// comeback is a node on its way back: by what it shows, and what became of it.
type comeback struct {
	by   postgres.Registrar
	req  api.RegisterNodeRequest
	meta postgres.RegisterMeta

	got postgres.Registration
	err error
}

// comebackOf is how a node comes back that says nothing new.
func comebackOf(reg postgres.Registration, session string) *comeback {
	return &comeback{
		by:   postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID},
		req:  api.RegisterNodeRequest{Name: reg.Node.Name, RuntimeType: api.RuntimeNode},
		meta: postgres.RegisterMeta{Session: session},
	}
}

// returnsWorld is a world with a second server whose statements are kept.
type returnsWorld struct {
	*world
	db *postgres.DB
}

func newReturnsWorld(t *testing.T) *returnsWorld {
	t.Helper()
	w := newWorld(t)
	return &returnsWorld{world: w, db: open(t, postgres.Config{URL: w.at.URL, Tracer: postgrestest.Tracer{}})}
}

// stopped lets so many registrations of other nodes wait for the lock of a table, behind
// which all later ones gather until the caller lets them go.
func (w *returnsWorld) stopped(ctx context.Context, t *testing.T, table string, first []*comeback) (letGo func()) {
	t.Helper()
	w.exec(t, "begin")
	w.exec(t, "lock table "+table+" in access exclusive mode")
	var wg sync.WaitGroup
	for i, c := range first {
		wg.Go(func() { c.got, c.err = w.db.RegisterNode(ctx, c.by, c.req, c.meta) })
		w.until(t, func() bool {
			return value[int](t, w.world, "select count(*) from pg_locks where not granted and relation = $1::text::regclass and database = (select oid from pg_database where datname = current_database())", table) == i+1
		})
	}
	return func() {
		w.exec(t, "commit")
		wg.Wait()
	}
}

func (w *returnsWorld) until(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatal("waited in vain")
		}
	}
}

func (w *returnsWorld) session(t *testing.T, nodeID string) string {
	t.Helper()
	return value[string](t, w.world, "select coalesce((select session from stark.node_leases where node_id = $1), '')", nodeID)
}

// A node whose row somebody else holds is waited for by itself.
func TestNodesThatComeBackDoNotWaitForOneThatIsHeld(t *testing.T) {
	t.Parallel()
	for what, hold := range map[string]string{
		"node":       "select from public.nodes where id = $1 for update",
		"credential": "select from stark.node_credentials where node_id = $1 for update",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newReturnsWorld(t)
			ann := w.user(t, api.RoleDeveloper)
			back := map[string]*comeback{}
			for _, name := range []string{"first", "second", "free", "free too", "held"} {
				back[name] = comebackOf(w.node(t, ann, strings.ReplaceAll(name, " ", "-")), "session of "+name)
			}
			conn := connect(t, w.at.Superuser)
			holder, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.Exec(t.Context(), hold, back["held"].by.NodeID); err != nil {
				t.Fatal(err)
			}
			letGo := w.stopped(t.Context(), t, "stark.node_leases", []*comeback{back["first"], back["second"]})
			var free, held sync.WaitGroup
			for _, name := range []string{"free", "free too", "held"} {
				wg, c := &free, back[name]
				if name == "held" {
					wg = &held
				}
				wg.Go(func() { c.got, c.err = w.db.RegisterNode(t.Context(), c.by, c.req, c.meta) })
			}
			w.until(t, func() bool {
				w.exec(t, "select 1") // a moment
				return w.db.ReturnsWaiting() == 3
			})
			letGo()
			free.Wait()
			if session := w.session(t, back["held"].by.NodeID); session == "session of held" {
				t.Error("the node has come back while its row was held")
			}
			if err := holder.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			held.Wait()
			for name, c := range back {
				if c.err != nil {
					t.Errorf("%s: %v", name, c.err)
				} else if session := w.session(t, c.by.NodeID); session != "session of "+name {
					t.Errorf("%s: the node has %q", name, session)
				}
			}
		})
	}
}

// Nodes that come back at the same moment share a transaction, and each has the outcome
// that it would have alone.
func TestNodesThatComeBackTogether(t *testing.T) {
	t.Parallel()
	w := newReturnsWorld(t)
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	regs := map[string]postgres.Registration{}
	for _, name := range []string{"first", "second", "same", "new", "down", "drained", "revoked", "rotated", "stolen", "renamed", "huge", "twice", "left"} {
		regs[name] = w.node(t, ann, name)
	}
	regs["fallen"] = w.node(t, bob, "fallen")
	w.exec(t, "delete from public.user_roles where user_id = $1 and role = 'developer'", bob.UserID)
	if err := w.RevokeCredentials(t.Context(), ann, regs["revoked"].Node.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.RotateCredential(t.Context(), ann, regs["rotated"].Node.ID); err != nil {
		t.Fatal(err)
	}
	w.exec(t, "update public.nodes set status = 'unhealthy' where name = 'down'")
	w.exec(t, "update public.nodes set maintenance = true, status = 'maintenance' where name = 'drained'")

	back := map[string]*comeback{}
	for name, reg := range regs {
		back[name] = comebackOf(reg, "session of "+name)
	}
	back["new"].req.Labels = map[string]string{"zone": "b"}
	back["new"].req.Allocatable = &api.Capacity{CPU: 9}
	back["stolen"].by.CredentialID = regs["same"].CredentialID
	back["renamed"].req.Name = "same"
	back["huge"].req.Labels = map[string]string{"x": strings.Repeat("y", 1<<10)} // the table refuses it
	back["again"] = comebackOf(regs["twice"], "session of again")

	ctx, statements := postgrestest.Record(t.Context())
	letGo := w.stopped(ctx, t, "stark.node_credentials", []*comeback{back["first"], back["second"]})
	var wg sync.WaitGroup
	leaving, leave := context.WithCancel(ctx)
	for name, c := range back {
		if name == "first" || name == "second" {
			continue
		}
		ctx := ctx
		if name == "left" {
			ctx = leaving
		}
		wg.Go(func() { c.got, c.err = w.db.RegisterNode(ctx, c.by, c.req, c.meta) })
	}
	w.until(t, func() bool {
		w.exec(t, "select 1") // a moment
		return w.db.ReturnsWaiting() == len(back)-2
	})
	leave()
	w.until(t, func() bool { return w.db.ReturnsWaiting() == len(back)-2 })
	letGo()
	wg.Wait()

	for name, want := range map[string]fault.Code{
		"first": "", "second": "", "same": "", "new": "", "down": "", "drained": "", "rotated": "", "twice": "", "again": "",
		"revoked": fault.TokenInvalid, "stolen": fault.TokenInvalid, "renamed": fault.Conflict, "fallen": fault.Conflict,
		"huge": fault.Validation, "left": fault.Timeout,
	} {
		c := back[name]
		if got := fault.CodeOf(c.err); got != want {
			t.Errorf("%s: got %v, want %q", name, c.err, want)
			continue
		}
		if want != "" {
			if s := w.session(t, c.by.NodeID); s == c.meta.Session {
				t.Errorf("%s was refused and has a lease", name)
			}
			continue
		}
		if c.got.Node.ID != c.by.NodeID || c.got.Node.Name != c.req.Name {
			t.Errorf("%s: got %+v", name, c.got)
		}
		if s := w.session(t, c.by.NodeID); s != c.meta.Session && name != "twice" && name != "again" {
			t.Errorf("%s: the lease is of %q", name, s)
		}
	}
	if s := w.session(t, regs["twice"].Node.ID); s != "session of twice" && s != "session of again" {
		t.Errorf("the lease of a node with two connections is of %q", s)
	}
	if n := back["new"].got.Node; n.Labels["zone"] != "b" || n.Allocatable.CPU != 9 {
		t.Errorf("got %+v", n)
	}
	if n := back["down"].got.Node; n.Status != api.NodeOnline || len(n.Taints) != 0 {
		t.Errorf("got %+v", n)
	}
	if n := back["drained"].got.Node; n.Status != api.NodeMaintenance {
		t.Errorf("got %+v", n)
	}
	rotated := back["rotated"].got
	if c := must(w.NodeByCredential(t.Context(), rotated.Credential))(t); c.ID != rotated.CredentialID || c.NodeID != rotated.Node.ID {
		t.Errorf("got %+v, want %+v", c, rotated)
	}
	leases := 0
	for _, sql := range statements.Sent() {
		if strings.Contains(sql, "insert into stark.node_leases") {
			leases++
		}
	}
	// The first two; those that waited, thirteen of them, by halves for the one that the
	// table refuses: once all, and twice at each of four steps; the second connection of
	// the node that has two.
	if leases > 2+1+2*4+1 {
		t.Errorf("%d statements started leases", leases)
	}
}

// What a crowd of nodes needs to come back does not grow with it.
func TestManyNodesComeBackInFewStatements(t *testing.T) {
	t.Parallel()
	const many = 100
	w := newReturnsWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	first := []*comeback{comebackOf(w.node(t, ann, "a"), "a"), comebackOf(w.node(t, ann, "b"), "b")}
	all := make([]*comeback, many)
	for i := range all {
		all[i] = comebackOf(w.node(t, ann, "n"+strconv.Itoa(i)), strconv.Itoa(i))
	}
	writes := func() int {
		return value[int](t, w.world, "select count(*) from stark.changes where kind = 'node'")
	}
	before := writes()
	ctx, statements := postgrestest.Record(t.Context())
	letGo := w.stopped(ctx, t, "stark.node_credentials", first)
	sent := len(statements.Sent())
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { c.got, c.err = w.db.RegisterNode(ctx, c.by, c.req, c.meta) })
	}
	w.until(t, func() bool {
		w.exec(t, "select 1") // a moment
		return w.db.ReturnsWaiting() == many
	})
	letGo()
	wg.Wait()
	for _, c := range all {
		if c.err != nil || c.got.Node.ID != c.by.NodeID || w.session(t, c.by.NodeID) != c.meta.Session {
			t.Errorf("got %+v, %v", c.got, c.err)
		}
	}
	// Begin, settings, three that hold rows, the leases, commit: for those that waited,
	// and the rest of the two that were stopped.
	if n := len(statements.Sent()) - sent; n > 7+2*2 {
		t.Errorf("%d statements for %d nodes:\n%s", n, many, strings.Join(statements.Sent()[sent:], "\n"))
	}
	if n := writes(); n != before {
		t.Errorf("%d nodes were written that had nothing new to say", n-before)
	}
}

// Two servers and a database that goes away in the middle: every node ends with one
// lease, of a connection that was told of it.
func TestNodesComeBackToTwoServers(t *testing.T) {
	t.Parallel()
	const many, tries = 60, 20
	w := newReturnsWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	servers := []*postgres.DB{w.db, open(t, postgres.Config{URL: w.at.URL})}
	nodes := make([]*comeback, many)
	for i := range nodes {
		nodes[i] = comebackOf(w.node(t, ann, "n"+strconv.Itoa(i)), "")
	}
	revoked := nodes[0]
	if err := w.RevokeCredentials(t.Context(), ann, revoked.by.NodeID); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	half := make(chan struct{}, many)
	for i, c := range nodes {
		wg.Go(func() {
			for try := range tries {
				c.meta.Session = strconv.Itoa(i) + "/" + strconv.Itoa(try)
				c.got, c.err = servers[(i+try)%2].RegisterNode(t.Context(), c.by, c.req, c.meta)
				half <- struct{}{}
				if !fault.Retryable(c.err) {
					return
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(half)
	}()
	ended := 0
	for range half {
		if ended++; ended%(many/4) == 0 && ended < many {
			w.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name = 'stark-server'")
		}
	}
	wantCode(t, revoked.err, fault.TokenInvalid)
	for _, c := range nodes[1:] {
		if c.err != nil || c.got.Node.ID != c.by.NodeID || c.got.Credential != "" {
			t.Errorf("got %+v, %v", c.got, c.err)
		}
		if s := w.session(t, c.by.NodeID); s != c.meta.Session {
			t.Errorf("the lease of %s is of %q, and %q was told that it has it", c.req.Name, s, c.meta.Session)
		}
	}
	if n := value[int](t, w.world, "select count(*) from stark.node_credentials where revoked_at is null"); n != many-1 {
		t.Errorf("%d credentials are good, want %d", n, many-1)
	}
}

// Lookups of credentials and of wanted sets that wait share a statement too.
func TestQuestionsOfNodesThatComeBackShareStatements(t *testing.T) {
	t.Parallel()
	const many = 40
	w := newReturnsWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	regs := make([]postgres.Registration, many)
	for i := range regs {
		regs[i] = w.node(t, ann, "n"+strconv.Itoa(i))
	}
	p := w.pod(t, ann, k.ID)
	w.exec(t, "update public.pods set node_id = $1, status = 'scheduled' where id = $2", regs[7].Node.ID, p.ID)
	ctx, statements := postgrestest.Record(t.Context())
	w.exec(t, "begin")
	w.exec(t, "lock table stark.node_credentials, public.pods in access exclusive mode")
	var wg sync.WaitGroup
	lookup := func(reg postgres.Registration) {
		if c, err := w.db.NodeByCredential(ctx, reg.Credential); err != nil || c.NodeID != reg.Node.ID || c.ID != reg.CredentialID {
			t.Errorf("got %+v, %v", c, err)
		}
	}
	wanted := func(i int) {
		runs, err := w.db.Wanted(ctx, regs[i].Node.ID)
		if err != nil || runs == nil || i == 7 && (len(runs) != 1 || runs[0].PodID != p.ID) || i != 7 && len(runs) != 0 {
			t.Errorf("got %+v, %v", runs, err)
		}
	}
	const lanes = 2 // of each kind; a question alone stops each of them
	for i := range lanes {
		for n, ask := range []func(){func() { lookup(regs[i]) }, func() { wanted(i) }} {
			wg.Go(ask)
			w.until(t, func() bool {
				return value[int](t, w.world, "select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())") == 2*i+n+1
			})
		}
	}
	for i, reg := range regs[lanes:] {
		wg.Go(func() { lookup(reg) })
		wg.Go(func() { wanted(i + lanes) })
	}
	wg.Go(func() {
		_, err := w.db.NodeByCredential(ctx, "stark_node_x")
		wantCode(t, err, fault.TokenInvalid)
	})
	w.until(t, func() bool { return w.db.QuestionsWaiting() == 2*(many-lanes)+1 })
	w.exec(t, "commit")
	wg.Wait()
	n := 0
	for _, sql := range statements.Sent() {
		if strings.Contains(sql, "from stark.node_credentials c") || strings.Contains(sql, "from public.pods p") {
			n++
		}
	}
	if n > 2+1+2+2 { // of lookups and of wanted sets: what was stopped, and the rest, of which 32 go together
		t.Errorf("%d statements for %d nodes", n, many)
	}
}
