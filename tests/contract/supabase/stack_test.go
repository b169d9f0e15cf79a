package supabase_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/tests/project"
)

// stack is the one stack of the package, with the real migrations. Every test
// has users of its own, and objects in its users' folders.
var stack *project.Project

// bucket is where signed-in users may do everything in their own folder.
const bucket = "contract"

// startTime allows for a machine that first has to fetch Postgres.
const startTime = 3 * time.Minute

const password = "Correct horse 4 battery"

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "contract tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if stack, err = project.Start(ctx); errors.Is(err, project.ErrAbsent) {
		fmt.Println(err)
		return 0, nil
	}
	if err != nil {
		return 1, fmt.Errorf("start the stack: %w", err)
	}
	defer func() { err = errors.Join(err, stack.Close(ctx)) }()
	start, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := prepare(start); err != nil {
		return 1, fmt.Errorf("prepare the stack: %w", err)
	}
	return m.Run(), nil
}

func prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, stack.DBURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	sql := `update public.cluster_config set open_registration = true;
		insert into storage.buckets (id, name, public) values ('` + bucket + `', '` + bucket + `', false) on conflict do nothing;`
	own := `bucket_id = '` + bucket + `' and (storage.foldername(name))[1] = (select auth.uid())::text`
	for _, verb := range []string{"select", "update", "delete", "insert"} { // an earlier run may have left them
		sql += `drop policy if exists contract_` + verb + ` on storage.objects;`
	}
	for _, verb := range []string{"select", "update", "delete"} {
		sql += `create policy contract_` + verb + ` on storage.objects for ` + verb + ` to authenticated using (` + own + `);`
	}
	sql += `create policy contract_insert on storage.objects for insert to authenticated with check (` + own + `);`
	_, err = conn.Exec(ctx, sql+tables)
	return err
}

// tables are what the checks of the interface to tables work on. Row level
// security without policies leaves them to the service.
const tables = `
drop table if exists public.contract_books, public.contract_authors cascade;
drop function if exists public.contract_add(integer, integer);
create table public.contract_authors (id integer primary key, name text not null unique, bio jsonb);
create table public.contract_books (
  id integer primary key, title text not null default 'untitled', price numeric, tags text[],
  author_id integer references public.contract_authors (id));
alter table public.contract_authors enable row level security;
alter table public.contract_books enable row level security;
create function public.contract_add(a integer, b integer) returns integer language sql immutable as 'select a + b';
create function public.contract_books_of(author integer) returns setof public.contract_books
  language sql stable as 'select * from public.contract_books where author_id = author';
grant all on public.contract_authors, public.contract_books to service_role;
`

// mail makes an address that no other test has.
func mail(name string) string {
	return name + "-" + strings.ToLower(rand.Text()[:10]) + "@example.com"
}

// grant gives a role as an administrator would; policies ask the table, so it
// holds at once.
func grant(t *testing.T, userID, role string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), stack.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `insert into public.user_roles (user_id, role) values ($1, $2)`, userID, role); err != nil {
		t.Fatalf("grant %s: %v", role, err)
	}
}
