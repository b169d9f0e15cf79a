package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

const (
	someID  = "0190b2f5-7c1a-7d3e-9f00-000000000001"
	otherID = "0190b2f5-7c1a-7d3e-9f00-000000000002"
	userID  = "0190b2f5-7c1a-7d3e-9f00-00000000aaaa"
)

// Tokens of the harness: "good-<role>" is valid and its user has that role.
type fakeVerifier struct{}

func (fakeVerifier) Alive(context.Context, access.Identity) error { return nil }

func (fakeVerifier) Verify(_ context.Context, token string) (access.Identity, error) {
	switch {
	case token == "expired":
		return access.Identity{}, fault.New(fault.TokenExpired, "the access token has expired")
	case token == "outage":
		return access.Identity{}, fault.New(fault.Unavailable, "access tokens cannot be checked now")
	case strings.HasPrefix(token, "good-"):
		return access.Identity{UserID: userIDOf(strings.TrimPrefix(token, "good-")), Email: "a@b.example"}, nil
	case strings.HasPrefix(token, "session-"):
		return access.Identity{UserID: userIDOf("viewer"), SessionID: token}, nil
	default:
		return access.Identity{}, fault.New(fault.TokenInvalid, "the access token is not valid")
	}
}

var roleIDs = []string{"admin", "operator", "developer", "viewer", "nobody"}

func userIDOf(role string) string {
	for i, r := range roleIDs {
		if r == role {
			return userID[:len(userID)-1] + string(rune('0'+i))
		}
	}
	return userID
}

func rolesOf(id string) ([]api.Role, bool, error) {
	for _, r := range roleIDs[:4] {
		if userIDOf(r) == id {
			return []api.Role{api.Role(r)}, true, nil
		}
	}
	return nil, false, nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// harness is the API over real HTTP, with fakes behind it. Every JSON answer of
// its documented routes is checked against the served OpenAPI document.
type harness struct {
	t       *testing.T
	db      *fakeDB
	auth    *fakeAuth
	bundles *fakeBundles
	model   *store.Store
	logs    *lockedBuffer
	srv     *httptest.Server
	router  routers.Router
}

type option func(*rest.Deps)

func newHarness(t *testing.T, opts ...option) *harness {
	t.Helper()
	h := &harness{
		t: t, db: &fakeDB{userRoles: rolesOf}, auth: &fakeAuth{}, bundles: &fakeBundles{},
		model: store.New(), logs: &lockedBuffer{},
	}
	h.model.Apply(store.Batch{Reset: true, Cursor: "1"})
	d := rest.Deps{
		DB: h.db, Auth: h.auth, Bundles: h.bundles, Verifier: fakeVerifier{}, Store: h.model,
		WS:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		Logger: loggingtest.NewTo(t, h.logs, goodPassword).Logger,
		Config: rest.Config{
			CORSOrigins: []string{"http://localhost:*", "https://stark.example.com"}, SetupCode: "printed-code",
			SpoolDir: t.TempDir(), Version: "1.2.3",
		},
	}
	for _, o := range opts {
		o(&d)
	}
	h.srv = httptest.NewServer(rest.New(d))
	t.Cleanup(h.srv.Close)
	h.router = openAPIRouter(t, h.srv)
	return h
}

func openAPIRouter(t *testing.T, srv *httptest.Server) routers.Router {
	t.Helper()
	resp, err := srv.Client().Get(srv.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatalf("the served OpenAPI document cannot be loaded: %v", err)
	}
	doc.Servers = openapi3.Servers{{URL: srv.URL}}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the served OpenAPI document is not valid: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// request is one call of a test.
type request struct {
	method, path string
	token        string
	body         any // string: sent as it is; else JSON
	header       map[string]string
}

type reply struct {
	t      *testing.T
	status int
	header http.Header
	raw    []byte
}

func (h *harness) do(r request) reply {
	h.t.Helper()
	var body io.Reader
	contentType := ""
	switch b := r.body.(type) {
	case nil:
	case string:
		body, contentType = strings.NewReader(b), "application/json"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			h.t.Fatal(err)
		}
		body, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(h.t.Context(), r.method, h.srv.URL+r.path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for k, v := range r.header {
		if req.Header.Set(k, v); k == "Host" {
			req.Host = v
		}
	}
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.checkDocument(req, resp, raw)
	return reply{t: h.t, status: resp.StatusCode, header: resp.Header, raw: raw}
}

// checkDocument holds a real answer against the served OpenAPI document.
func (h *harness) checkDocument(req *http.Request, resp *http.Response, raw []byte) {
	h.t.Helper()
	if h.router == nil || req.Method == http.MethodOptions || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && resp.StatusCode != http.StatusNoContent {
		return
	}
	route, params, err := h.router.FindRoute(req)
	if err != nil {
		if resp.StatusCode < http.StatusMultipleChoices {
			h.t.Errorf("%s %s answers and is not documented: %v", req.Method, req.URL.Path, err)
		}
		return // 404, 405
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(raw)
	if err := openapi3filter.ValidateResponse(h.t.Context(), in); err != nil {
		h.t.Errorf("%s %s: answer %d does not fit the OpenAPI document: %v\n%s", req.Method, req.URL.Path, resp.StatusCode, err, raw)
	}
}

// want checks the status and decodes the data of a success.
func (r reply) want(status int, into any) {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("got status %d, want %d: %s", r.status, status, r.raw)
	}
	if into == nil {
		return
	}
	var env struct {
		Success bool            `json:"success"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(r.raw, &env); err != nil || !env.Success {
		r.t.Fatalf("no success envelope: %s", r.raw)
	}
	if err := json.Unmarshal(env.Data, into); err != nil {
		r.t.Fatalf("decode data: %v: %s", err, env.Data)
	}
}

// fails checks the error envelope and gives its body.
func (r reply) fails(status int, code fault.Code) fault.Body {
	r.t.Helper()
	var env fault.Envelope
	if err := json.Unmarshal(r.raw, &env); err != nil {
		r.t.Fatalf("status %d without an envelope: %s", r.status, r.raw)
	}
	if r.status != status || env.Error.Code != code || env.Success {
		r.t.Fatalf("got %d %s, want %d %s: %s", r.status, env.Error.Code, status, code, r.raw)
	}
	if env.Error.Message == "" {
		r.t.Errorf("the envelope has no message: %s", r.raw)
	}
	return env.Error
}

// field gives the fault of one field of a validation error.
func field(t *testing.T, b fault.Body, path string) string {
	t.Helper()
	m, ok := b.Details[path].(map[string]any)
	if !ok {
		t.Fatalf("no fault on field %q: %v", path, b.Details)
	}
	code, _ := m["code"].(string)
	return code
}

func someTime() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func applyUser(m *store.Store, id string, roles []api.Role) {
	m.Apply(store.Batch{Users: store.Changes[api.User]{Put: []api.User{{ID: id, Roles: roles, UpdatedAt: someTime()}}}})
}

func (d *fakeDB) Time() time.Time { return time.Now() }

func (d *fakeDB) Events(_ context.Context, _ access.Identity, q api.EventQuery) ([]api.Event, error) {
	return []api.Event{{ID: "e1", Kind: api.EventNode, ObjectID: q.ObjectID, Time: q.Since}}, nil
}

func (d *fakeDB) PodUsage(_ context.Context, _ access.Identity, q api.UsageQuery) ([]api.PodFigures, error) {
	return []api.PodFigures{{PodID: q.PodID, NodeID: q.NodeID, Namespace: q.Namespace, Usage: &api.Figures{CPU: new(api.Millicores(5)), Memory: new(api.Mebibytes(6)), LoopDelayMS: 7, At: someTime()}}}, nil
}

func (d *fakeDB) NodeUsage(_ context.Context, _ access.Identity, q api.UsageQuery) ([]api.NodeFigures, error) {
	return []api.NodeFigures{{NodeID: q.NodeID, NodeName: q.LabelSelector, Usage: &api.Figures{CPU: new(api.Millicores(5)), At: someTime()}}}, nil
}
