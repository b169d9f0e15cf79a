package project

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/supabase/migrate"
)

// ErrAbsent says in one line why there is nothing to run against, where that is no
// fault: tests with build tag containers on a machine without them.
var ErrAbsent = errors.New("not tried against Supabase's images")

// Project is a Supabase with Stark's migrations.
type Project struct {
	URL            string
	DBURL          string // as role postgres
	AnonKey        string
	ServiceRoleKey string
	PublishableKey string // the newer pair of keys, or the older one again
	SecretKey      string
	JWTSecret      string // empty where tokens are signed with keys alone

	resettable bool
	sign       func(map[string]any) (string, error)
	secret     func(...string)
	close      func(context.Context) error
}

// Sign makes an access token as Auth does: with the signing key of a project that
// these tests have started, else with the JWT secret. A test of a project that has
// neither is skipped.
func (p *Project) Sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	sign := p.sign
	if sign == nil && p.JWTSecret != "" {
		sign = func(c map[string]any) (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(c)).SignedString([]byte(p.JWTSecret))
		}
	}
	if sign == nil {
		t.Skipf("it signs tokens of its own: set %s", envJWTSecret)
	}
	token, err := sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Secret names what may not be in the log of a stack that these tests have started.
func (p *Project) Secret(values ...string) {
	if p.secret != nil {
		p.secret(values...)
	}
}

const (
	startLimit = 5 * time.Minute // a machine may first have to fetch Postgres
	stopLimit  = time.Minute
)

// Start gives a project; Close ends it, unless it was there before.
func Start(ctx context.Context) (*Project, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	p, found, err := named()
	if err != nil {
		return nil, err
	}
	if found {
		return &p, p.take(ctx)
	}
	return fallback(ctx)
}

// Close ends what Start has started.
func (p *Project) Close(ctx context.Context) error {
	if p.close == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return p.close(ctx)
}

// New gives a test a project of its own, or skips it with the reason. One that was
// there before is emptied first, where that is allowed.
func New(t *testing.T) *Project {
	t.Helper()
	p, err := Start(t.Context())
	if errors.Is(err, ErrAbsent) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// take waits until no other test has a project that was there before, in this process
// or another, and prepares it. It is for one at a time: to have it is to empty it.
func (p *Project) take(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.DBURL)
	if err != nil {
		return fmt.Errorf("connect to the project's database: %w", err)
	}
	p.close = func(ctx context.Context) error { return conn.Close(ctx) } // which gives the lock back
	_, err = conn.Exec(ctx, "select pg_advisory_lock(hashtextextended('stark tests', 0))")
	if err == nil {
		err = p.clean(ctx)
	}
	if err == nil {
		err = p.migrate(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("take the project: %w", err), conn.Close(context.WithoutCancel(ctx)))
	}
	return nil
}

func (p *Project) migrate(ctx context.Context) error {
	return p.on(ctx, func(conn *pgx.Conn) error {
		_, err := migrate.Up(ctx, conn)
		return err
	})
}

func (p *Project) on(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, p.DBURL)
	if err != nil {
		return fmt.Errorf("connect to the project's database: %w", err)
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

const (
	mostDeadlocks = 5
	deadlock      = "40P01"
)

// clean removes everything of Stark and of earlier tests from a project that was
// there before. Accounts go, objects in Storage stay. Somebody who is at work there
// may stand in the way for a moment.
func (p *Project) clean(ctx context.Context) error {
	if !p.resettable {
		return nil
	}
	return p.on(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, cleanSQL)
		for range mostDeadlocks {
			e, ok := errors.AsType[*pgconn.PgError](err)
			if !ok || e.Code != deadlock {
				break
			}
			_, err = conn.Exec(ctx, cleanSQL)
		}
		return err
	})
}

const cleanSQL = `
do $$
declare
  t record;
begin
  drop schema if exists stark cascade;
  for t in select format('drop table if exists public.%I cascade', c.relname) as sql from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  loop execute t.sql; end loop;
  for t in select format('drop type if exists public.%I cascade', y.typname) as sql from pg_type y
    where y.typnamespace = 'public'::regnamespace and y.typtype in ('e', 'd')
  loop execute t.sql; end loop;
  for t in select format('drop function if exists %s cascade', p.oid::regprocedure) as sql from pg_proc p
    where p.pronamespace = 'public'::regnamespace
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop execute t.sql; end loop;
  for t in select format('drop policy if exists %I on %I.%I', policyname, schemaname, tablename) as sql from pg_policies
    where schemaname = 'storage' and tablename = 'objects'
  loop execute t.sql; end loop;
  drop schema if exists supabase_migrations cascade;
  delete from auth.users;
end $$`
