package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

func text(into *string) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := rows.Scan(into); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

func TestTheTwoDoors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	withClaims := ann
	withClaims.Claims = json.RawMessage(`{"sub":"` + ann.UserID + `","role":"authenticated","more":1}`)
	// What auth.uid() reads; the login may not look the function itself up.
	const who = "select current_user || ' ' || coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '') || ' ' || current_setting('stark.quiet')"
	for _, c := range []struct {
		id   access.Identity
		want string
	}{
		{ann, "authenticated " + ann.UserID + " on"},
		{withClaims, "authenticated " + ann.UserID + " on"},
	} {
		var got string
		if err := w.AsUser(t.Context(), c.id, func(tx postgres.Tx) error { return tx.Query(t.Context(), text(&got), who) }); err != nil || got != c.want {
			t.Errorf("got %q, %v; want %q", got, err, c.want)
		}
	}
	var got string
	if err := w.AsService(t.Context(), func(tx postgres.Tx) error { return tx.Query(t.Context(), text(&got), who) }); err != nil || got != "service_role  on" {
		t.Errorf("got %q, %v", got, err)
	}
	wantCode(t, w.AsUser(t.Context(), access.Identity{NodeID: "n"}, nil), fault.Forbidden)
	wantCode(t, w.AsUser(t.Context(), access.Identity{}, nil), fault.AuthenticationRequired)
	if w.ServerRole() != migrate.ServerRole || w.ServerID() == "" {
		t.Errorf("got %q and %q", w.ServerRole(), w.ServerID())
	}
}

func TestTransactionsCommitOrLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	insert := func(tx postgres.Tx, name string) { tx.Queue("insert into public.namespaces (name) values ($1)", name) }
	count := func() int { return value[int](t, w, "select count(*) from public.namespaces where name like 't-%'") }
	own := errors.New("mine")
	err := w.AsService(t.Context(), func(tx postgres.Tx) error {
		if n, err := tx.Exec(t.Context(), "insert into public.namespaces (name) values ('t-a')"); err != nil || n != 1 {
			t.Errorf("got %d, %v", n, err)
		}
		return own
	})
	if !errors.Is(err, own) || count() != 0 {
		t.Errorf("got %v and %d rows", err, count())
	}
	wantCode(t, w.AsService(t.Context(), func(tx postgres.Tx) error { insert(tx, "t-a"); insert(tx, "t-a"); return nil }), fault.Conflict)
	if err := w.AsService(t.Context(), func(tx postgres.Tx) error { insert(tx, "t-a"); insert(tx, "t-b"); return nil }); err != nil || count() != 2 {
		t.Errorf("got %v and %d rows", err, count())
	}
	ctx, cancel := context.WithCancel(t.Context())
	wantCode(t, w.AsService(ctx, func(tx postgres.Tx) error { cancel(); _, err := tx.Exec(ctx, "select 1"); return err }), fault.Timeout)
}

func TestDeadlocksAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var once [2]sync.Once
	var both, wg sync.WaitGroup
	both.Add(2)
	for i, names := range [][]string{{"default", "stark-public"}, {"stark-public", "default"}} {
		wg.Go(func() {
			err := w.AsService(t.Context(), func(tx postgres.Tx) error {
				const lock = "select 1 from public.namespaces where name = $1 for update"
				if _, err := tx.Exec(t.Context(), lock, names[0]); err != nil {
					return err
				}
				once[i].Do(func() { both.Done(); both.Wait() })
				_, err := tx.Exec(t.Context(), lock, names[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestFaultsOfTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for sqlstate, want := range map[string]fault.Code{
		"ST400": fault.Validation, "ST403": fault.Forbidden, "ST404": fault.NotFound, "ST409": fault.Conflict,
		"STQUO": fault.QuotaExceeded, "STTRM": fault.NamespaceTerminating, "STINV": fault.InvalidState, "STSTL": fault.Stale,
		"42501": fault.Forbidden, "23505": fault.Conflict, "23503": fault.Conflict, "23514": fault.Validation, "22P02": fault.Validation,
		"57014": fault.Timeout, "55P03": fault.Unavailable, "57P01": fault.Unavailable, "53300": fault.Unavailable, "XX000": fault.Internal,
	} {
		err := w.AsService(t.Context(), func(tx postgres.Tx) error {
			_, err := tx.Exec(t.Context(), "do $$ begin raise exception using errcode = '"+sqlstate+"', message = 'secret message', detail = '{\"a\":{\"code\":\"X\",\"message\":\"m\"}}'; end $$")
			return err
		})
		wantCode(t, err, want)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok {
			t.Fatalf("%s: got %T", sqlstate, err)
		}
		if ours := strings.HasPrefix(sqlstate, "ST"); ours != (f.Message == "secret message") || ours != (f.Details["a"] != nil) {
			t.Errorf("%s: got message %q and details %v", sqlstate, f.Message, f.Details)
		}
		if (want == fault.Unavailable) != (f.RetryAfter > 0) {
			t.Errorf("%s: got RetryAfter %v", sqlstate, f.RetryAfter)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []postgres.Config{
		{URL: "postgres://[::bad"},
		{URL: "postgres://localhost/x", ListenURL: "postgres://[::bad"},
		{URL: "postgres://localhost/x?default_query_exec_mode=simple_protocol"},
	} {
		if db, err := postgres.Open(t.Context(), c); err == nil {
			db.Close()
			t.Errorf("%+v was accepted", c)
		}
	}
}

// What a transaction pooler allows is enough for everything but LISTEN.
func TestUnpreparedStatements(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleOperator, api.RoleDeveloper)
	db := open(t, postgres.Config{URL: w.at.URL, QueryExecMode: pgx.QueryExecModeExec, PoolSize: 2})
	v := &world{DB: db, at: w.at, conn: w.conn}
	k := v.pack(t, ann, "hello", "1.0.0")
	n := v.node(t, ann, "n1").Node
	p := v.pod(t, ann, k.ID)
	v.bind(t, p, n.ID)
	if got := must(v.Wanted(t.Context(), n.ID))(t); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
	if page := must(v.ListPods(t.Context(), ann, api.PodQuery{LabelSelector: "!x"}))(t); page.Total != 1 || *page.Items[0].NodeID != n.ID {
		t.Errorf("got %+v", page)
	}
	must(v.UpdateNode(t.Context(), ann, n.ID, api.UpdateNodeRequest{Labels: map[string]string{"a": "b"}}))(t)
	if _, err := v.RenewLeases(t.Context(), []string{n.ID}, []string{"n1"}); err != nil {
		t.Error(err)
	}
	b := &bound{world: v, owner: ann, node: n, pod: p}
	b.report(t, n.ID, runningReport(b))
	b.lead(t, func(ctx context.Context) { must(b.SweepNodes(ctx))(t); must(b.Compact(ctx))(t) })
	if got := b.now(t).Status; got != api.PodRunning {
		t.Errorf("got %s", got)
	}
}
