package rights

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/tests/project"
)

const patience = 60 * time.Second

// call is a request that does one action. %s in path and body is what names the
// object. A list counts as reading what it shows.
type call struct {
	method, path, body string
	relations          []relation
	list               bool
}

// calls has the cells that REST has endpoints for; the others are closed there. What
// names a member are the namespace (%ns) and the account.
var calls = map[cell]call{
	{access.Pack, access.Create}: {method: "POST", path: "/api/packs", body: `{"name":"%s","version":"1.0.0","runtimeTag":"node","bundleContent":"exports.default = () => {}"}`, relations: []relation{own}},
	{access.Pack, access.Read}:   {method: "GET", path: "/api/packs/%s", relations: shared},
	{access.Pack, access.Update}: {method: "PATCH", path: "/api/packs/%s", body: `{"description":"x"}`, relations: shared},
	{access.Pack, access.Delete}: {method: "DELETE", path: "/api/packs/%s", relations: []relation{own, other, public}},

	{access.Bundle, access.Read}: {method: "GET", path: "/api/packs/%s/bundle", relations: shared},

	{access.Pod, access.Create}: {method: "POST", path: "/api/pods", body: `{"packName":"open"}`, relations: []relation{own}},
	{access.Pod, access.Read}:   {method: "GET", path: "/api/pods/%s", relations: teams},
	{access.Pod, access.Update}: {method: "PATCH", path: "/api/pods/%s", body: `{"labels":{"a":"b"}}`, relations: teams},
	{access.Pod, access.Delete}: {method: "DELETE", path: "/api/pods/%s", relations: teams},

	{access.Namespace, access.Create}: {method: "POST", path: "/api/namespaces", body: `{"name":"%s"}`, relations: []relation{own}},
	{access.Namespace, access.Read}:   {method: "GET", path: "/api/namespaces/%s", relations: others},
	{access.Namespace, access.Update}: {method: "PATCH", path: "/api/namespaces/%s", body: `{"labels":{"a":"b"}}`, relations: others},
	{access.Namespace, access.Delete}: {method: "DELETE", path: "/api/namespaces/%s", relations: others},

	{access.NamespaceMember, access.Create}: {method: "PUT", path: "/api/namespaces/%ns/members/%s", body: `{"role":"viewer"}`, relations: memberships},
	{access.NamespaceMember, access.Read}:   {method: "GET", path: "/api/namespaces/%ns/members", relations: memberships, list: true},
	{access.NamespaceMember, access.Update}: {method: "PUT", path: "/api/namespaces/%ns/members/%s", body: `{"role":"operator"}`, relations: memberships},
	{access.NamespaceMember, access.Delete}: {method: "DELETE", path: "/api/namespaces/%ns/members/%s", relations: memberships},

	{access.PriorityClass, access.Create}: {method: "POST", path: "/api/priority-classes", body: `{"name":"%s","value":5}`, relations: others},
	{access.PriorityClass, access.Read}:   {method: "GET", path: "/api/priority-classes/%s", relations: others},
	{access.PriorityClass, access.Update}: {method: "PATCH", path: "/api/priority-classes/%s", body: `{"value":5}`, relations: others},
	{access.PriorityClass, access.Delete}: {method: "DELETE", path: "/api/priority-classes/%s", relations: others},

	{access.ClusterConfig, access.Read}:   {method: "GET", path: "/api/cluster/config", relations: others},
	{access.ClusterConfig, access.Update}: {method: "PATCH", path: "/api/cluster/config", body: `{"maxTotalPods":9999}`, relations: others},

	{access.Node, access.Create}: {method: "POST", path: "/api/nodes", body: `{"name":"%s","runtimeType":"node"}`, relations: []relation{own}},
	{access.Node, access.Read}:   {method: "GET", path: "/api/nodes/%s", relations: owned},
	{access.Node, access.Update}: {method: "PATCH", path: "/api/nodes/%s", body: `{"unschedulable":true}`, relations: owned},
	{access.Node, access.Delete}: {method: "DELETE", path: "/api/nodes/%s", relations: owned},

	{access.JoinToken, access.Create}: {method: "POST", path: "/api/node-tokens", body: `{}`, relations: []relation{own}},
	{access.JoinToken, access.Read}:   {method: "GET", path: "/api/node-tokens", relations: owned, list: true},
	{access.JoinToken, access.Delete}: {method: "DELETE", path: "/api/node-tokens/%s", relations: owned},

	{access.User, access.Create}: {method: "POST", path: "/auth/users", body: `{"email":"%s@example.com","password":"Correct-Horse-9"}`, relations: others},
	{access.User, access.Read}:   {method: "GET", path: "/auth/users/%s", relations: others},
	{access.User, access.Update}: {method: "POST", path: "/auth/users/%s/enable", relations: others},

	{access.UserRole, access.Create}: {method: "POST", path: "/auth/users/%s/roles", body: `{"roles":["viewer"]}`, relations: others},
	{access.UserRole, access.Delete}: {method: "DELETE", path: "/auth/users/%s/roles/viewer", relations: others},

	{access.Profile, access.Read}: {method: "GET", path: "/auth/me", relations: []relation{own}},
}

// closedToREST are cells that grant something which REST does not offer.
var closedToREST = map[cell]string{
	{access.Bundle, access.Create}:  "it comes with its pack",
	{access.Bundle, access.Delete}:  "it goes with its pack",
	{access.User, access.Delete}:    "of Auth",
	{access.UserRole, access.Read}:  "part of the account",
	{access.Profile, access.Update}: "by PostgREST",
}

// granted tells whether any role has the cell.
func granted(k access.Kind, a access.Action) bool {
	return slices.ContainsFunc(access.Columns, func(r api.Role) bool {
		scope := access.ScopeOf(r, a, k)
		return scope != access.None && scope != access.Socket
	})
}

// memberships are how a namespace may stand to who asks about its members.
var memberships = []relation{other, member, operated, led}

// site is a real server over the embedded stack.
type site struct {
	*ground
	url, secret, issuer string
	apiKey              string // what Supabase's gateway wants to see first
	credential          string // of the subject that is a node
}

func newSite(t *testing.T) *site {
	t.Helper()
	stack := project.New(t)
	conn, err := pgx.Connect(t.Context(), stack.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	s := &site{ground: newGround(t, conn), secret: stack.JWTSecret, issuer: stack.URL + "/auth/v1", apiKey: stack.AnonKey}
	s.credential = api.NodeCredentialPrefix + strings.Repeat("c", 43)
	for _, who := range s.subjects {
		if who.role == api.RoleNode {
			s.exec(t, `insert into stark.node_credentials (node_id, secret_hash) values ($1, $2)`, who.id, postgres.HashSecret(s.credential))
		}
	}
	s.url = serve(t, map[string]string{
		"STARK_PORT": "0", "SUPABASE_URL": stack.URL, "SUPABASE_ANON_KEY": stack.AnonKey,
		"SUPABASE_SERVICE_ROLE_KEY": stack.ServiceRoleKey, "SUPABASE_JWT_SECRET": stack.JWTSecret,
		"STARK_DATABASE_URL": stack.DBURL, "STARK_RATE_LIMIT_API": "off", "STARK_RATE_LIMIT_AUTH": "off",
	})
	return s
}

func serve(t *testing.T, env map[string]string) string {
	t.Helper()
	cfg, err := server.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg, loggingtest.New(t, env["SUPABASE_JWT_SECRET"]).Logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case <-srv.Ready():
	case err := <-done:
		t.Fatalf("the server ended with %v", err)
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	return srv.URL()
}

// token is what the subject shows: a node its credential, all others an access
// token as Supabase Auth signs them.
func (s *site) token(t *testing.T, who subject) string {
	t.Helper()
	if who.role == api.RoleNode {
		return s.credential
	}
	claims := map[string]any{}
	if err := json.Unmarshal([]byte(who.claims(t)), &claims); err != nil {
		t.Fatal(err)
	}
	claims["iss"], claims["iat"], claims["exp"] = s.issuer, time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(text)
	h := hmac.New(sha256.New, []byte(s.secret))
	_, _ = h.Write([]byte(signed)) // a hash never fails
	return signed + "." + encode(h.Sum(nil))
}

func (s *site) do(t *testing.T, method, path, body, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("apikey", s.apiKey)
	req.Header.Set("Prefer", "return=representation") // as supabase-js asks with select()
	switch {
	case strings.Contains(path, "/storage/v1/object/"):
		req.Header.Set("Content-Type", "text/javascript")
	case body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// Every cell of the table that REST has an endpoint for, and that is each that grants
// anything to anybody.
func TestEveryCellThroughREST(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			c, found := calls[cell{k, a}]
			if !found {
				if _, closed := closedToREST[cell{k, a}]; !closed && granted(k, a) {
					t.Errorf("nobody tries to %s a %s through REST", a, k)
				}
				continue
			}
			for _, who := range s.subjects {
				for _, r := range c.relations {
					want := reaches(scopeOf(who, a, k), r)
					if got := s.may(t, who, k, a, r, c); got != want {
						t.Errorf("%s, %s a %s that is %s: %t through REST, %t in the table", who, a, k, r, got, want)
					}
				}
			}
		}
	}
	s.refuseStrangers(t)
}

func (s *site) may(t *testing.T, who subject, k access.Kind, a access.Action, r relation, c call) bool {
	t.Helper()
	key := s.name()
	switch {
	case k == access.UserRole || k == access.User && a != access.Create:
		key = s.account(t, "viewer")
	case k == access.Bundle:
		key = s.bundle(t, who, r)
	case k == access.NamespaceMember:
		key = s.member(t, a, who, r)
	case k == access.PriorityClass && a != access.Create:
		key = s.make(t, `select name from public.priority_classes where id = $1`, s.object(t, k, who, r))
	case a != access.Create && k != access.Profile:
		key = s.object(t, k, who, r)
	}
	fill := strings.NewReplacer("%ns", s.object(t, access.NamespaceMember, who, r), "%s", key).Replace
	status, answer := s.do(t, c.method, fill(c.path), fill(c.body), s.token(t, who))
	switch {
	case status < 300:
		return !c.list || strings.Contains(answer, key)
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return false
	default:
		t.Errorf("%s, %s a %s that is %s: %d %s", who, a, k, r, status, answer)
		return false
	}
}

// member makes an account, in a namespace of such a relation where it is to be
// there already.
func (g *ground) member(t *testing.T, a access.Action, who subject, r relation) string {
	t.Helper()
	id := g.account(t)
	if a != access.Create {
		g.exec(t, `insert into public.namespace_members (namespace, user_id, role) values ($1, $2, 'developer')`,
			g.object(t, access.NamespaceMember, who, r), id)
	}
	return id
}

// bundle makes a pack whose bundle is in Storage, and gives the id of the pack.
func (s *site) bundle(t *testing.T, who subject, r relation) string {
	t.Helper()
	path := s.object(t, access.Bundle, who, r)
	return s.make(t, `select id::text from public.packs where bundle_path = $1`, path)
}

// Nobody without an account, no anonymous account and no node gets an answer of
// any operation that wants to know who asks.
func (s *site) refuseStrangers(t *testing.T) {
	t.Helper()
	_, text := s.do(t, "GET", "/openapi.json", "", "")
	var doc struct {
		Paths map[string]map[string]struct {
			Security []any
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"nobody": ""}
	for _, who := range s.subjects {
		if who.role == api.RoleNode || who.role == access.Anonymous {
			tokens[who.String()] = s.token(t, who)
		}
	}
	tried := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if len(op.Security) == 0 || path == "/auth/logout" { // which ends whatever it is shown
				continue
			}
			filled := strings.NewReplacer("{id}", s.stranger, "{name}", "x", "{role}", "viewer").Replace(path)
			for who, token := range tokens {
				tried++
				if status, _ := s.do(t, strings.ToUpper(method), filled, "{}", token); status != http.StatusUnauthorized && status != http.StatusForbidden {
					t.Errorf("%s gets status %d of %s %s", who, status, method, path)
				}
			}
		}
	}
	if tried < 60 {
		t.Errorf("only %d requests were tried", tried)
	}
}
