package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

const patience = 2 * time.Minute // for what must happen; it tells a test that hangs, and promises no speed

// world is one migrated database with an open DB.
type world struct {
	*postgres.DB
	at   *postgrestest.DB
	conn *pgx.Conn // as the superuser, for setting things up and looking at them
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	at := postgrestest.New(tb)
	conn := connect(tb, at.Superuser)
	at.URL = serverLogin(tb, conn, at.URL)
	return &world{DB: open(tb, postgres.Config{URL: at.URL}), at: at, conn: conn}
}

// roles are shared by all databases of the test server, and Postgres refuses two
// changes of one at once.
var changingRoles sync.Mutex

// serverLogin makes the login with which servers should run, so that every test
// shows that it has rights enough.
func serverLogin(tb testing.TB, conn *pgx.Conn, address string) string {
	tb.Helper()
	changingRoles.Lock()
	defer changingRoles.Unlock()
	const password = "of-the-test-server"
	if err := migrate.EnsureServerRole(tb.Context(), conn, password); err != nil {
		tb.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	u.User = url.UserPassword(migrate.ServerRole, password)
	return u.String()
}

func open(tb testing.TB, c postgres.Config) *postgres.DB {
	tb.Helper()
	if c.Logger == nil {
		c.Logger = loggingtest.New(tb).Logger
	}
	db, err := postgres.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}

func connect(tb testing.TB, address string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close(context.WithoutCancel(tb.Context())) })
	return conn
}

func (w *world) exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	if _, err := w.conn.Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](tb testing.TB, w *world, sql string, args ...any) T {
	tb.Helper()
	var v T
	if err := w.conn.QueryRow(tb.Context(), sql, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return v
}

// user makes an account with roles beside viewer.
func (w *world) user(tb testing.TB, roles ...api.Role) access.Identity {
	tb.Helper()
	id := api.NewID()
	w.exec(tb, `insert into auth.users (id, email, raw_user_meta_data) values ($1, $2, '{"display_name":"Somebody"}')`, id, id+"@example.com")
	roles = append([]api.Role{api.RoleViewer}, roles...)
	for _, role := range roles {
		w.exec(tb, `insert into public.user_roles (user_id, role) values ($1, $2::text::public.stark_role)
			on conflict do nothing`, id, string(role))
	}
	return access.Identity{UserID: id, Email: id + "@example.com", Roles: roles}
}

// pack makes a ready pack.
func (w *world) pack(tb testing.TB, owner access.Identity, name, version string) api.Pack {
	tb.Helper()
	k, b := w.pendingPack(tb, owner, name, version)
	return must(w.CompletePack(tb.Context(), owner, k.ID, b))(tb)
}

// pendingPack makes a pack whose object is there and was read.
func (w *world) pendingPack(tb testing.TB, owner access.Identity, name, version string) (api.Pack, pack.Bundle) {
	tb.Helper()
	k := must(w.CreatePack(tb.Context(), owner, api.Pack{Name: name, Version: version, RuntimeTag: api.TagNode}))(tb)
	w.bundle(tb, k, sha, 10)
	b := pack.Bundle{Path: strings.Join([]string{owner.UserID, name, version, sha + ".js"}, "/"), SHA256: sha, Size: 10}
	if b.Object = must(w.BundleObject(tb.Context(), owner, b.Path))(tb); b.Object == "" {
		tb.Fatal("no object")
	}
	return k, b
}

// bundle makes the object without which no pack is ready.
func (w *world) bundle(tb testing.TB, k api.Pack, digest string, size int64) {
	tb.Helper()
	w.exec(tb, `insert into storage.objects (bucket_id, name, metadata)
		values ('pack-bundles', concat_ws('/', $1::text, $2::text, $3::text, $4::text || '.js'), jsonb_build_object('size', $5::bigint))`,
		k.OwnerID, k.Name, k.Version, digest, size)
}

const sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (w *world) pod(tb testing.TB, owner access.Identity, packID string) api.Pod {
	tb.Helper()
	return must(w.CreatePod(tb.Context(), owner, api.CreatePodRequest{PackID: packID}))(tb)
}

// node registers a node with a session of the same name.
func (w *world) node(tb testing.TB, owner access.Identity, name string) postgres.Registration {
	tb.Helper()
	return must(w.RegisterNode(tb.Context(), postgres.Registrar{UserID: owner.UserID, Shared: true},
		api.RegisterNodeRequest{Name: name, RuntimeType: api.RuntimeNode}, postgres.RegisterMeta{Session: name}))(tb)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// failure is only the error of a call.
func failure[T any](_ T, err error) error { return err }

func wantCode(tb testing.TB, err error, want fault.Code) {
	tb.Helper()
	if got := fault.CodeOf(err); got != want {
		tb.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// lead runs fn as the leader.
func (w *world) lead(tb testing.TB, fn func(ctx context.Context)) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	ran := false
	_ = w.Lead(ctx, func(ctx context.Context) error {
		ran = true
		fn(ctx)
		cancel()
		return nil
	})
	if !ran {
		tb.Fatal("never led")
	}
}

// bind puts a pod on a node.
func (w *world) bind(tb testing.TB, p api.Pod, nodeID string) {
	tb.Helper()
	w.lead(tb, func(ctx context.Context) {
		stale, err := w.Bind(ctx, []scheduler.Decision{{PodID: p.ID, Incarnation: p.Incarnation, NodeID: nodeID}})
		if err != nil || len(stale) > 0 {
			tb.Errorf("bind: %v, stale %v", err, stale)
		}
	})
}

// feed runs a Feed into a store until the test ends.
func feed(tb testing.TB, db *postgres.DB) *store.Store {
	tb.Helper()
	s := store.New()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Feed(ctx, s.Apply)
	}()
	tb.Cleanup(func() { cancel(); <-done })
	select {
	case <-s.Synced():
	case <-time.After(patience):
		tb.Fatal("the feed gave nothing")
	}
	return s
}

// until waits until the condition holds of the pods of a store.
func until(tb testing.TB, s *store.Store, what string, holds func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	pods, nodes, others := s.Pods.Notify(ctx), s.Nodes.Notify(ctx), s.Namespaces.Notify(ctx)
	users, members := s.Users.Notify(ctx), s.Members.Notify(ctx)
	classes, configs := s.PriorityClasses.Notify(ctx), s.Configs.Notify(ctx)
	for !holds() {
		select {
		case <-pods:
		case <-nodes:
		case <-others:
		case <-users:
		case <-members:
		case <-classes:
		case <-configs:
		case <-ctx.Done():
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}
