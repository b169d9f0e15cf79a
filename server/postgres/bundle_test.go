package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	removeObject = `select set_config('storage.allow_delete_query', 'true', true);
		delete from storage.objects where bucket_id = 'pack-bundles' and name = `
	overwriteObject = `update storage.objects set version = 'other' where bucket_id = 'pack-bundles' and name = `
)

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Another object of the same size takes the key after the first one was read.
func TestASwappedBundleIsNotRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	k, b := w.pendingPack(t, ann, "swapped", "1.0.0")
	if other := must(w.BundleObject(t.Context(), bob, b.Path))(t); other != "" {
		t.Errorf("somebody else hears of %q", other)
	}
	w.simple(t, removeObject+quoted(b.Path))
	w.bundle(t, k, sha, 10)
	_, err := w.CompletePack(t.Context(), ann, k.ID, b)
	wantCode(t, err, fault.Conflict)
	b.Object = must(w.BundleObject(t.Context(), ann, b.Path))(t)
	w.simple(t, overwriteObject+quoted(b.Path))
	_, err = w.CompletePack(t.Context(), ann, k.ID, b)
	wantCode(t, err, fault.Conflict)
	if got := must(w.GetPack(t.Context(), ann, k.ID))(t); got.Status != api.PackPending {
		t.Errorf("it is %s", got.Status)
	}
	b.Object = must(w.BundleObject(t.Context(), ann, b.Path))(t)
	if got := must(w.CompletePack(t.Context(), ann, k.ID, b))(t); got.Status != api.PackReady {
		t.Errorf("it is %s", got.Status)
	}
}

// Whoever takes the object away has begun before the pack is made ready, or begins
// while it is: the second waits for the first, and is refused.
func TestRegisteringAndTakingAwayTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k, b := w.pendingPack(t, ann, "late", "1.0.0")
	taking := w.begin(t)
	if _, err := taking.Exec(t.Context(), removeObject+quoted(b.Path), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.CompletePack(context.WithoutCancel(t.Context()), ann, k.ID, b)
		done <- err
	}()
	w.awaitLock(t)
	if err := taking.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-done, fault.Conflict)

	k, b = w.pendingPack(t, ann, "early", "1.0.0")
	readying := w.holding(t, `update public.packs set status = 'ready', bundle_sha256 = $2, bundle_size = 10 where id = $1`, k.ID, sha)
	taking = w.begin(t)
	go func() {
		_, err := taking.Exec(t.Context(), removeObject+quoted(b.Path), pgx.QueryExecModeSimpleProtocol)
		_ = taking.Rollback(t.Context())
		done <- err
	}()
	w.awaitLock(t)
	if err := readying.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "ST409") {
		t.Errorf("the bundle of a ready pack was taken away: %v", err)
	}
	for _, sql := range []string{removeObject, overwriteObject} {
		tx := w.begin(t)
		if _, err := tx.Exec(t.Context(), sql+quoted(b.Path), pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "ST409") {
			t.Errorf("%s: %v", sql, err)
		}
		_ = tx.Rollback(t.Context())
	}
	if _, err := w.DeletePack(t.Context(), ann, k.ID); err != nil {
		t.Fatal(err)
	}
	w.simple(t, removeObject+quoted(b.Path))
}

// simple runs several statements as the superuser.
func (w *world) simple(t *testing.T, sql string) {
	t.Helper()
	if _, err := w.conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// begin opens a transaction of the superuser on a connection of its own.
func (w *world) begin(t *testing.T) pgx.Tx {
	t.Helper()
	tx, err := connect(t, w.at.Superuser).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// holding is begin with a first statement, whose locks it keeps.
func (w *world) holding(t *testing.T, sql string, args ...any) pgx.Tx {
	t.Helper()
	tx := w.begin(t)
	if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tx
}

// awaitBlocked returns when so many transactions of this database wait for that one.
func (w *world) awaitBlocked(ctx context.Context, t *testing.T, by pgx.Tx, n int) {
	t.Helper()
	for blocked := -1; blocked < n; {
		if err := w.conn.QueryRow(ctx, `select count(*) from pg_stat_activity a
			where a.datname = current_database() and $1::integer = any (pg_blocking_pids(a.pid))`, by.Conn().PgConn().PID()).Scan(&blocked); err != nil {
			t.Errorf("%d transactions wait, want %d: %v", blocked, n, err)
			return
		}
	}
}

// awaitLock returns when somebody waits for an advisory lock of this database.
func (w *world) awaitLock(t *testing.T) {
	t.Helper()
	for !value[bool](t, w, `select exists (select from pg_locks l join pg_database d on d.oid = l.database
		where d.datname = current_database() and l.locktype = 'advisory' and not l.granted)`) {
		if t.Context().Err() != nil {
			t.Fatal("nobody waits")
		}
	}
}
