package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/server/rest/auth"
	"github.com/stark-orchestrator/stark/server/storage"
	"github.com/stark-orchestrator/stark/server/supabase"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// stack is the API on a real Postgres, Auth and Storage.
type stack struct {
	*harness
	db       *postgres.DB
	identity *gotrue.Client
	bundles  *watchedBundles
	verifier *auth.Verifier
	handler  http.Handler
	address  string // of the database, as the superuser
}

// watchedBundles is the bucket, and tells when an object was read to its end.
type watchedBundles struct {
	*storage.Client
	read atomic.Pointer[func(path string)]
}

// Open opens an object.
func (b *watchedBundles) Open(ctx context.Context, token, path string) (io.ReadCloser, int64, error) {
	body, size, err := b.Client.Open(ctx, token, path)
	if read := b.read.Load(); err == nil && read != nil {
		body = closer{body, func() { (*read)(path) }}
	}
	return body, size, err
}

type closer struct {
	io.ReadCloser
	closed func()
}

func (c closer) Close() error {
	err := c.ReadCloser.Close()
	c.closed()
	return err
}

func newStack(t *testing.T) *stack {
	t.Helper()
	logs := &lockedBuffer{}
	log := loggingtest.NewTo(t, logs, goodPassword)
	ds, err := devstack.Start(t.Context(), devstack.Options{
		Dir: t.TempDir(), TemplateKey: migrate.Digest(), Logger: log.Logger, PasswordCost: devstack.LeastPasswordCost,
		Prepare: func(ctx context.Context, conn *pgx.Conn) error {
			_, err := migrate.Up(ctx, conn)
			return err
		},
	})
	if err != nil {
		t.Fatalf("start devstack: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := ds.Close(ctx); err != nil {
			t.Errorf("close devstack: %v", err)
		}
	})
	log.Secret(ds.JWTSecret, ds.SecretKey)
	model := store.New()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: ds.DBURL, PoolSize: 4, Logger: log.Logger, ServerID: "rest-test", Tracer: postgrestest.Tracer{}, Store: model})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	factory, err := supabase.NewFactory(supabase.Config{URL: ds.URL, AnonKey: ds.AnonKey, ServiceKey: ds.ServiceRoleKey})
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{db: db, identity: gotrue.NewWithFactory(factory), bundles: &watchedBundles{Client: storage.NewWithFactory(factory)}}
	s.verifier, err = auth.New(t.Context(), auth.Config{JWKSURL: ds.URL + "/auth/v1/.well-known/jwks.json", Issuer: ds.URL + "/auth/v1", Logger: log.Logger})
	if err != nil {
		t.Fatal(err)
	}
	s.follow(t, db, model)
	gate, err := auth.NewGate(s.verifier, db, model.Stale, log.Logger)
	if err != nil {
		t.Fatal(err)
	}
	s.handler, s.address = rest.New(rest.Deps{
		DB: db, Auth: s.identity, Bundles: s.bundles, Verifier: gate, Store: model, Logger: log.Logger, Ended: gate.End,
		WS: http.NotFoundHandler(), Config: rest.Config{SpoolDir: t.TempDir()},
	}), ds.DBURL
	srv := httptest.NewServer(s.handler)
	t.Cleanup(srv.Close)
	s.harness = &harness{t: t, model: model, logs: logs, srv: srv, router: openAPIRouter(t, srv)}
	return s
}

// follow keeps the read model fed until the test ends.
func (s *stack) follow(t *testing.T, db *postgres.DB, model *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Feed(ctx, model.Apply) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("feed: %v", err)
		}
	})
	select {
	case <-model.Synced():
	case <-time.After(time.Minute):
		t.Fatal("the read model is not filled")
	}
}

func (s *stack) account(path, email string, status int) api.Session {
	s.t.Helper()
	var session api.Session
	body := map[string]any{"email": email, "password": goodPassword}
	if path != "/auth/login" {
		body["displayName"] = "Somebody"
	}
	s.do(request{method: "POST", path: path, body: body}).want(status, &session)
	return session
}

// The whole path of accounts and packs on the real things behind the API.
func TestOnTheRealThings(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	if len(admin.User.Roles) == 0 {
		t.Fatalf("the first admin has no roles: %+v", admin.User)
	}
	s.do(request{method: "POST", path: "/auth/setup", body: map[string]any{"email": "b@example.org", "password": goodPassword}}).
		fails(http.StatusForbidden, fault.Forbidden)
	stranger := map[string]any{"email": "viewer@example.org", "password": goodPassword}
	s.do(request{method: "POST", path: "/auth/register", body: stranger}).fails(http.StatusForbidden, fault.Forbidden)
	if changed, err := s.db.SetOpenRegistration(t.Context(), true); err != nil || !changed {
		t.Fatalf("open the registration: %v, %v", changed, err)
	}
	viewer := s.account("/auth/register", "viewer@example.org", http.StatusCreated)
	var me struct{ User api.User }
	s.do(request{method: "GET", path: "/auth/me", token: viewer.AccessToken}).want(http.StatusOK, &me)
	if me.User.DisplayName != "Somebody" || len(me.User.Roles) != 1 || me.User.Roles[0] != api.RoleViewer {
		t.Errorf("got %+v", me.User)
	}
	s.do(request{method: "POST", path: "/auth/users", token: admin.AccessToken, body: map[string]any{
		"email": "dev@example.org", "password": goodPassword, "roles": []string{"developer"},
	}}).want(http.StatusCreated, nil)
	dev := s.account("/auth/login", "dev@example.org", http.StatusOK)
	var users struct{ Count int }
	s.do(request{method: "GET", path: "/auth/users", token: admin.AccessToken}).want(http.StatusOK, &users)
	if users.Count != 3 {
		t.Errorf("%d users", users.Count)
	}
	s.packs(dev, viewer)
	s.swapped(dev)
	s.disabled(admin, dev)
	s.sessions(dev)
}

// disabled shuts dev out by Stark and by Auth, and lets them in again.
func (s *stack) disabled(admin, dev api.Session) {
	s.t.Helper()
	me := request{method: "GET", path: "/auth/me", token: dev.AccessToken}
	login := request{method: "POST", path: "/auth/login", body: map[string]any{"email": dev.User.Email, "password": goodPassword}}
	change := func(user api.Session, what string) reply {
		return s.do(request{method: "POST", path: "/auth/users/" + user.User.ID + "/" + what, token: admin.AccessToken})
	}
	change(admin, "disable").fails(http.StatusConflict, fault.Conflict)
	s.do(request{method: "DELETE", path: "/auth/users/" + admin.User.ID + "/roles/admin", token: admin.AccessToken}).
		fails(http.StatusConflict, fault.Conflict)
	s.do(me).want(http.StatusOK, nil)
	var one struct{ User api.User }
	change(dev, "disable").want(http.StatusOK, &one)
	if one.User.DisabledAt == nil || len(one.User.Roles) != 0 {
		s.t.Errorf("disabled: %+v", one.User)
	}
	s.do(me).fails(http.StatusForbidden, fault.Forbidden)
	s.do(login).fails(http.StatusForbidden, fault.Forbidden)
	s.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": dev.RefreshToken}}).
		fails(http.StatusForbidden, fault.Forbidden)
	s.do(request{
		method: "POST", path: "/auth/users/" + dev.User.ID + "/roles", token: admin.AccessToken,
		body: map[string]any{"roles": []string{"operator"}},
	}).fails(http.StatusConflict, fault.Conflict)
	var back struct{ User api.User }
	change(dev, "enable").want(http.StatusOK, &back)
	if back.User.DisabledAt != nil || len(back.User.Roles) != 1 || back.User.Roles[0] != api.RoleDeveloper {
		s.t.Errorf("enabled: %+v", back.User)
	}
	s.do(me).want(http.StatusOK, nil)
	s.do(login).want(http.StatusOK, nil)
}

func (s *stack) packs(dev, viewer api.Session) {
	t := s.t
	t.Helper()
	code := bytes.Repeat([]byte("module.exports = async () => 42;\n"), 40_000)
	create := func(token string) reply {
		return s.do(request{method: "POST", path: "/api/packs", token: token, body: map[string]any{
			"name": "hello", "version": "1.0.0", "runtimeTag": "node", "bundleContent": string(code),
		}})
	}
	create(viewer.AccessToken).fails(http.StatusForbidden, fault.Forbidden)
	var one struct{ Pack api.Pack }
	create(dev.AccessToken).want(http.StatusCreated, &one)
	sum := sha256.Sum256(code)
	if one.Pack.BundleSHA256 != hex.EncodeToString(sum[:]) || one.Pack.Status != api.PackReady {
		t.Fatalf("got %+v", one.Pack)
	}
	create(dev.AccessToken).fails(http.StatusConflict, fault.Conflict)
	var bundle struct{ URL, SHA256 string }
	s.do(request{method: "GET", path: "/api/packs/" + one.Pack.ID + "/bundle", token: dev.AccessToken}).want(http.StatusOK, &bundle)
	resp, err := http.Get(bundle.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(data, code) {
		t.Errorf("downloaded %d bytes of %d, %d, %v", len(data), len(code), resp.StatusCode, err)
	}
	// a private pack does not exist for others.
	for _, path := range []string{"/api/packs/" + one.Pack.ID, "/api/packs/" + one.Pack.ID + "/bundle", "/api/packs/hello/versions"} {
		s.do(request{method: "GET", path: path, token: viewer.AccessToken}).fails(http.StatusNotFound, fault.NotFound)
	}
	if _, _, err := s.bundles.Open(t.Context(), viewer.AccessToken, one.Pack.BundlePath); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("another user opens the object: %v", err)
	}
	_, err = s.bundles.Put(t.Context(), viewer.AccessToken, one.Pack.BundlePath+"x", bytes.NewReader(code), int64(len(code)), "application/javascript")
	if fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("another user writes into the owner's folder: %v", err)
	}
	if r := s.do(request{method: "DELETE", path: "/api/packs/" + one.Pack.ID, token: dev.AccessToken}); r.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", r.status, r.raw)
	}
	if _, _, err := s.bundles.Open(t.Context(), "", one.Pack.BundlePath); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("the bundle of a deleted pack: %v", err)
	}
}

// swapped registers a bundle by its digest, and its owner puts another one of the
// same size in its place when the server has just read it.
func (s *stack) swapped(dev api.Session) {
	t := s.t
	t.Helper()
	good, bad := "module.exports = () => 1", "module.exports = () => 2"
	sum := sha256.Sum256([]byte(good))
	digest := hex.EncodeToString(sum[:])
	path := dev.User.ID + "/swapped/1.0.0/" + digest + ".js"
	put := func(code string) {
		if _, err := s.bundles.Put(t.Context(), dev.AccessToken, path, strings.NewReader(code), int64(len(code)), "application/javascript"); err != nil {
			t.Error(err)
		}
	}
	register := func() reply {
		return s.do(request{method: "POST", path: "/api/packs", token: dev.AccessToken, body: map[string]any{
			"name": "swapped", "version": "1.0.0", "runtimeTag": "node", "bundleSha256": digest,
		}})
	}
	put(good)
	s.bundles.read.Store(new(func(path string) {
		if err := s.bundles.Delete(t.Context(), path); err != nil {
			t.Error(err)
		}
		put(bad)
	}))
	register().fails(http.StatusConflict, fault.Conflict)
	s.bundles.read.Store(nil)
	field(t, register().fails(http.StatusBadRequest, fault.Validation), "bundleSha256")
	if err := s.bundles.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	put(good)
	var one struct{ Pack api.Pack }
	register().want(http.StatusCreated, &one)
	if err := s.bundles.Delete(t.Context(), path); err == nil {
		t.Error("the bundle of a ready pack was deleted, by the service")
	}
	body, _, err := s.bundles.Open(t.Context(), dev.AccessToken, path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(body); err != nil || string(text) != good || body.Close() != nil {
		t.Errorf("the bundle is %q, %v", text, err)
	}
	if r := s.do(request{method: "DELETE", path: "/api/packs/" + one.Pack.ID, token: dev.AccessToken}); r.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", r.status, r.raw)
	}
}

func (s *stack) sessions(dev api.Session) {
	t := s.t
	t.Helper()
	var fresh api.Session
	s.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": dev.RefreshToken}}).want(http.StatusOK, &fresh)
	if fresh.RefreshToken == dev.RefreshToken || fresh.User.ID != dev.User.ID {
		t.Errorf("the refresh token was not rotated: %+v", fresh.User)
	}
	s.do(request{method: "POST", path: "/auth/login", body: map[string]any{"email": "dev@example.org", "password": "wrong"}}).
		fails(http.StatusUnauthorized, fault.InvalidCredentials)
	s.do(request{method: "POST", path: "/auth/register", body: map[string]any{"email": "dev@example.org", "password": goodPassword}}).
		fails(http.StatusConflict, fault.Conflict)
	s.do(request{method: "POST", path: "/auth/logout", token: fresh.AccessToken}).want(http.StatusOK, nil)
	s.do(request{method: "POST", path: "/auth/refresh", body: map[string]any{"refreshToken": fresh.RefreshToken}}).
		fails(http.StatusUnauthorized, fault.TokenInvalid)
	s.do(request{method: "GET", path: "/auth/me", token: fresh.AccessToken}).fails(http.StatusUnauthorized, fault.TokenInvalid)
	again := s.account("/auth/login", "dev@example.org", http.StatusOK)
	if r := s.do(request{method: "GET", path: "/ready"}); r.status != http.StatusOK {
		t.Errorf("ready: %d %s", r.status, r.raw)
	}
	// An account that is gone is known to nobody, though its token is still good.
	if err := s.identity.AdminDeleteUser(t.Context(), dev.User.ID); err != nil {
		t.Fatal(err)
	}
	s.do(request{method: "GET", path: "/auth/me", token: again.AccessToken}).fails(http.StatusUnauthorized, fault.UserNotFound)
}
