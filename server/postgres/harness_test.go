package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const patience = 15 * time.Second // for what must happen

// world is one migrated database with an open DB.
type world struct {
	*postgres.DB
	at   *postgrestest.DB
	conn *pgx.Conn // as the superuser, for setting things up and looking at them
}

func newWorld(t testing.TB) *world {
	t.Helper()
	at := postgrestest.New(t)
	return &world{DB: open(t, postgres.Config{URL: at.URL}), at: at, conn: connect(t, at.Superuser)}
}

func open(t testing.TB, c postgres.Config) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func (w *world) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := w.conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](t testing.TB, w *world, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := w.conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// user makes an account with roles beside viewer.
func (w *world) user(t testing.TB, roles ...api.Role) access.Identity {
	t.Helper()
	id := api.NewID()
	w.exec(t, `insert into auth.users (id, email, raw_user_meta_data) values ($1, $2, '{"display_name":"Somebody"}')`, id, id+"@example.com")
	for _, role := range roles {
		w.exec(t, `insert into public.user_roles (user_id, role) values ($1, $2::text::public.stark_role)
			on conflict do nothing`, id, string(role))
	}
	return access.Identity{UserID: id, Email: id + "@example.com", Roles: append([]api.Role{api.RoleViewer}, roles...)}
}

// pack makes a ready pack.
func (w *world) pack(t testing.TB, owner access.Identity, name, version string) api.Pack {
	t.Helper()
	k := must(w.CreatePack(t.Context(), owner, api.Pack{Name: name, Version: version, RuntimeTag: api.TagNode}))(t)
	return must(w.CompletePack(t.Context(), owner, k.ID, sha, 10))(t)
}

const sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (w *world) pod(t testing.TB, owner access.Identity, packID string) api.Pod {
	t.Helper()
	return must(w.CreatePod(t.Context(), owner, api.CreatePodRequest{PackID: packID}))(t)
}

// node registers a node with a session of the same name.
func (w *world) node(t testing.TB, owner access.Identity, name string) postgres.Registration {
	t.Helper()
	return must(w.RegisterNode(t.Context(), postgres.Registrar{UserID: owner.UserID, Shared: true},
		api.RegisterNodeRequest{Name: name, RuntimeType: api.RuntimeNode}, postgres.RegisterMeta{Session: name}))(t)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// lead runs fn as the leader.
func (w *world) lead(t testing.TB, fn func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ran := false
	_ = w.Lead(ctx, func(ctx context.Context) error {
		ran = true
		fn(ctx)
		cancel()
		return nil
	})
	if !ran {
		t.Fatal("never led")
	}
}

// bind puts a pod on a node.
func (w *world) bind(t testing.TB, p api.Pod, nodeID string) {
	t.Helper()
	w.lead(t, func(ctx context.Context) {
		stale, err := w.Bind(ctx, []scheduler.Decision{{PodID: p.ID, Incarnation: p.Incarnation, NodeID: nodeID}})
		if err != nil || len(stale) > 0 {
			t.Errorf("bind: %v, stale %v", err, stale)
		}
	})
}

// feed runs a Feed into a store until the test ends.
func feed(t testing.TB, db *postgres.DB) *store.Store {
	t.Helper()
	s := store.New()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = db.Feed(ctx, s.Apply)
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-s.Synced():
	case <-time.After(patience):
		t.Fatal("the feed gave nothing")
	}
	return s
}

// until waits until the condition holds of the pods of a store.
func until(t testing.TB, s *store.Store, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
