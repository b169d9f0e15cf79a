package rest_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// fakeWrites keeps idempotent writes as the table does, without their time.
type fakeWrites struct {
	mu   sync.Mutex
	kept map[string]*fakeWrite
}

type fakeWrite struct {
	w      idempotency.Write
	claim  idempotency.Claim
	held   bool
	answer []byte
}

func (f *fakeDB) ClaimWrite(_ context.Context, w idempotency.Write) (idempotency.Claim, error) {
	f.writes.mu.Lock()
	defer f.writes.mu.Unlock()
	k := f.writes.kept[string(w.Hash)]
	if k == nil {
		k = &fakeWrite{w: w, claim: idempotency.Claim{ObjectID: api.NewID()}}
		if f.writes.kept == nil {
			f.writes.kept = map[string]*fakeWrite{}
		}
		f.writes.kept[string(w.Hash)] = k
	}
	c := idempotency.Claim{ObjectID: k.claim.ObjectID, Sealed: k.answer, Other: !bytes.Equal(k.w.Fingerprint, w.Fingerprint)}
	if !c.Other && k.answer == nil && (!k.held || k.w.Claim == w.Claim) {
		k.held, k.w, c.Mine = true, w, true
	}
	return c, nil
}

func (f *fakeDB) AnswerWrite(_ context.Context, w idempotency.Write, sealed []byte) error {
	f.writes.mu.Lock()
	defer f.writes.mu.Unlock()
	if k := f.writes.kept[string(w.Hash)]; k != nil && k.w.Claim == w.Claim {
		k.answer = sealed
	}
	return nil
}

func (f *fakeDB) ReleaseWrite(_ context.Context, w idempotency.Write, forget bool) error {
	f.writes.mu.Lock()
	defer f.writes.mu.Unlock()
	if k := f.writes.kept[string(w.Hash)]; k != nil && k.w.Claim == w.Claim {
		k.held = false
		if forget {
			delete(f.writes.kept, string(w.Hash))
		}
	}
	return nil
}

// keyed sends a request with an Idempotency-Key.
func (h *harness) keyed(key string, r request) reply {
	h.t.Helper()
	header := map[string]string{"Idempotency-Key": key}
	maps.Copy(header, r.header)
	r.header = header
	return h.do(r)
}

func TestRepeatedCreatesAreOne(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var ids []string
	h.db.createPod = func(_ context.Context, _ access.Identity, r api.CreatePodRequest) (api.Pod, error) {
		ids = append(ids, r.ID)
		return api.Pod{ID: r.ID, PackName: r.PackName, ResourceVersion: "3"}, nil
	}
	pods := request{method: http.MethodPost, path: "/api/pods", token: "good-developer", body: `{"packName":"hello"}`}
	first, again := h.keyed("k1", pods), h.keyed("k1", pods)
	first.want(http.StatusCreated, nil)
	again.want(http.StatusCreated, nil)
	if len(ids) != 1 || !bytes.Equal(first.raw, again.raw) || again.header.Get("ETag") != `"3"` {
		t.Errorf("the same request made %d pods and was answered %s, then %s", len(ids), first.raw, again.raw)
	}
	if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Error("only the second answer is a repeated one")
	}
	other := pods
	other.body = `{"packName":"other"}`
	h.keyed("k1", other).fails(http.StatusUnprocessableEntity, fault.KeyReused)
	other.path, other.body = "/api/nodes", pods.body
	h.keyed("k1", other).fails(http.StatusUnprocessableEntity, fault.KeyReused)

	other = pods
	other.token = "good-admin" // with the same key, and yet another request
	h.keyed("k1", other).want(http.StatusCreated, nil)
	h.keyed("k2", pods).want(http.StatusCreated, nil)
	h.do(pods).want(http.StatusCreated, nil)
	h.do(pods).want(http.StatusCreated, nil)
	if len(ids) != 5 || ids[3] != "" {
		t.Errorf("got pods %q, want one for each key and user, and without a key one for each request", ids)
	}
	for _, bad := range []string{"a b", strings.Repeat("k", 256)} {
		if e := h.keyed(bad, pods).fails(http.StatusBadRequest, fault.Validation); e.Details["Idempotency-Key"] == nil {
			t.Errorf("%q: got %v, want a fault of the header", bad, e.Details)
		}
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var ids []string
	failing := map[int]error{
		0: fault.New(fault.QuotaExceeded, "full"),
		1: fault.New(fault.Unavailable, "the database is not available"),
	}
	h.db.createPod = func(_ context.Context, _ access.Identity, r api.CreatePodRequest) (api.Pod, error) {
		ids = append(ids, r.ID)
		return api.Pod{ID: r.ID}, failing[len(ids)-1]
	}
	pods := request{method: http.MethodPost, path: "/api/pods", token: "good-developer", body: `{"packName":"hello"}`}
	h.keyed("k", pods).fails(http.StatusForbidden, fault.QuotaExceeded)
	h.keyed("k", pods).fails(http.StatusServiceUnavailable, fault.Unavailable)
	h.keyed("k", pods).want(http.StatusCreated, nil)
	if len(ids) != 3 || ids[1] != ids[2] {
		t.Errorf("got ids %q, want the same one after a failure that may have made the pod", ids)
	}
}

// TestSecondRequestWaitsForTheFirst sends the second while the first is being made.
func TestSecondRequestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	h.db.createPod = func(_ context.Context, _ access.Identity, r api.CreatePodRequest) (api.Pod, error) {
		close(begun) // panics when a second pod is made
		<-goOn
		return api.Pod{ID: r.ID}, nil
	}
	pods := request{method: http.MethodPost, path: "/api/pods", token: "good-developer", body: `{"packName":"hello"}`}
	answers := make(chan reply, 2)
	var both sync.WaitGroup
	both.Go(func() { answers <- h.keyed("k", pods) })
	<-begun
	both.Go(func() { answers <- h.keyed("k", pods) })
	close(goOn)
	both.Wait()
	a, b := <-answers, <-answers
	a.want(http.StatusCreated, nil)
	b.want(http.StatusCreated, nil)
	if !bytes.Equal(a.raw, b.raw) {
		t.Errorf("got %s and %s", a.raw, b.raw)
	}
}

// TestJoinTokenIsGivenAgain shows a secret that is stored nowhere else again to whom it
// was made for.
func TestJoinTokenIsGivenAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	made := 0
	h.db.createJoinToken = func(access.Identity, api.CreateJoinTokenRequest) (api.JoinToken, error) {
		made++
		return api.JoinToken{ID: someID, Token: "stark_join_secret", State: api.TokenActive, CreatedBy: someID}, nil
	}
	tokens := request{method: http.MethodPost, path: "/api/node-tokens", token: "good-admin", body: `{}`}
	first, again := h.keyed("k", tokens), h.keyed("k", tokens)
	if made != 1 || !bytes.Equal(first.raw, again.raw) || !bytes.Contains(again.raw, []byte("stark_join_secret")) {
		t.Errorf("made %d tokens, %s then %s", made, first.raw, again.raw)
	}
	for _, k := range h.db.writes.kept {
		if bytes.Contains(k.answer, []byte("stark_join_secret")) {
			t.Error("the secret is stored for everybody to read")
		}
	}
}

// formRequest uploads a bundle, each time with another boundary.
func formRequest(t *testing.T, bundle string) request {
	t.Helper()
	contentType, body := form(t, [2]string{"name", "hello"}, [2]string{"version", "1.0.0"}, [2]string{"runtimeTag", "node"}, [2]string{"bundle", bundle})
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return request{
		method: http.MethodPost, path: "/api/packs", token: "good-developer", body: string(data), header: map[string]string{"Content-Type": contentType},
	}
}

// TestRepeatedUploadIsOne sends a form twice: with the same bundle, and with another
// behind the same fields.
func TestRepeatedUploadIsOne(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := withBucket(h)
	send := func(key, bundle string) reply {
		return h.keyed(key, formRequest(t, bundle))
	}
	first, again := send("k", "code"), send("k", "code")
	first.want(http.StatusCreated, nil)
	if again.want(http.StatusCreated, nil); !bytes.Equal(first.raw, again.raw) || b.pending != 1 || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d packs were made, %s then %s", b.pending, first.raw, again.raw)
	}
	send("k", "other code").fails(http.StatusUnprocessableEntity, fault.KeyReused)
	send("k2", "code").want(http.StatusCreated, nil)
	if b.pending != 2 {
		t.Errorf("%d packs were made, want 2", b.pending)
	}
}

// TestUploadGoesOnWhereItsServerDied finds what an earlier try of the same request left.
func TestUploadGoesOnWhereItsServerDied(t *testing.T) {
	t.Parallel()
	for _, status := range []api.PackStatus{api.PackPending, api.PackReady} {
		h := newHarness(t)
		withBucket(h)
		h.db.createPack = func(access.Identity, api.Pack) (api.Pack, error) {
			return api.Pack{}, fault.New(fault.Conflict, "version 1.0.0 of this pack exists already")
		}
		var asked string
		h.db.getPack = func(_ access.Identity, id string) (api.Pack, error) {
			asked = id
			p := somePack()
			p.Status, p.BundleSHA256 = status, "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b" // of "code"
			return p, nil
		}
		h.keyed("k", formRequest(t, "code")).want(http.StatusCreated, nil)
		if asked == "" {
			t.Error("nobody has looked for the pack of the first try")
		}
		h.do(formRequest(t, "code")).fails(http.StatusConflict, fault.Conflict)
	}
}

// A server may die between an account and the answer about it. The same request gives
// the account then, with its roles; another request does not.
func TestAnAccountIsMadeOnce(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	made := map[string]string{} // e-mail by the request
	h.auth.madeBy = map[string]string{}
	h.auth.createUser = func(u gotrue.NewUser) (api.User, error) {
		if _, ok := made[u.Email]; ok {
			return api.User{}, fault.New(fault.Conflict, "exists already")
		}
		made[u.Email], h.auth.madeBy[otherID] = u.Request, u.Request
		return api.User{}, fault.New(fault.Unavailable, "the server dies here")
	}
	h.db.listUsers = func(_ access.Identity, q api.UserQuery) ([]api.User, int, error) {
		return []api.User{{ID: someID, Email: "x" + q.Search}, {ID: otherID, Email: q.Search}}, 2, nil
	}
	var given []api.Role
	h.db.setRoles = func(id string, roles []api.Role, _ string) error {
		if id != otherID {
			t.Errorf("roles for %s", id)
		}
		given = roles
		return nil
	}
	users := request{method: http.MethodPost, path: "/auth/users", token: "good-admin", body: `{"email":"new@example.com","password":"Correct-Horse-9","roles":["developer"]}`}
	h.keyed("k", users).fails(http.StatusServiceUnavailable, fault.Unavailable)
	h.keyed("other", users).fails(http.StatusConflict, fault.Conflict)
	h.do(users).fails(http.StatusConflict, fault.Conflict)
	if given != nil {
		t.Error("an account of somebody else was given roles")
	}
	var out struct{ User api.User }
	h.keyed("k", users).want(http.StatusCreated, &out)
	if out.User.ID != otherID || len(given) != 1 || given[0] != api.RoleDeveloper {
		t.Errorf("got %+v with roles %v", out.User, given)
	}
}
