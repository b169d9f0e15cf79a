package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

const (
	databaseTimeout = 20 * time.Second
	oldestPostgres  = 150000 // server_version_num
)

// database checks Postgres as the server would use it.
func (d *doctor) database(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	conn := d.connect(ctx)
	if conn == nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was written
	d.version(ctx, conn)
	d.roles(ctx, conn)
	d.migrations(ctx, conn)
	d.hookFunction(ctx, conn)
	d.connections(ctx)
}

// connect works behind any pooler: nothing is prepared.
func (d *doctor) connect(ctx context.Context) *pgx.Conn {
	const check = "postgres"
	cfg, err := pgx.ParseConfig(d.config.DatabaseURL)
	if err != nil {
		d.fail(check, "correct the URL", "%s", err)
		return nil
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		fix := "check host, port and network; a direct connection to a hosted project needs IPv6, its pooler does not"
		if e, refused := errors.AsType[*pgconn.PgError](err); refused && strings.HasPrefix(e.Code, "28") {
			fix = "correct user and password of the URL; through Supabase's pooler the user is postgres.<project ref>"
		}
		d.fail(check, fix, "%s", err)
		return nil
	}
	return conn
}

func (d *doctor) version(ctx context.Context, conn *pgx.Conn) {
	const check = "postgres"
	var text string
	var number int
	var now time.Time
	before := time.Now()
	if err := conn.QueryRow(ctx, `select current_setting('server_version'), current_setting('server_version_num')::int, clock_timestamp()`).
		Scan(&text, &number, &now); err != nil {
		d.fail(check, "look at the database's log", "%s", err)
		return
	}
	at := fmt.Sprintf("%s:%d", conn.Config().Host, conn.Config().Port)
	if number < oldestPostgres {
		d.fail(check, "upgrade to Postgres 15 or newer", "version %s at %s", text, at)
	} else {
		d.ok(check, "version %s at %s", text, at)
	}
	d.skew("database clock", now, before)
}

// roles checks the roles of Supabase, and what the login may become.
func (d *doctor) roles(ctx context.Context, conn *pgx.Conn) {
	const check = "login"
	var login string
	var super bool
	var missing, foreign []string
	err := conn.QueryRow(ctx, `
		with wanted (name) as (values ('anon'), ('authenticated'), ('service_role'), ('supabase_auth_admin'))
		select session_user::text, (select rolsuper from pg_roles where rolname = session_user),
			array(select name from wanted where not exists (select from pg_roles where rolname = name)),
			array(select rolname::text from pg_roles where rolname in ('authenticated', 'service_role') and not pg_has_role(session_user, oid, 'member'))`).
		Scan(&login, &super, &missing, &foreign)
	switch {
	case err != nil:
		d.fail(check, "look at the database's log", "%s", err)
	case len(missing) > 0:
		d.fail(check, "this is not a Supabase database: name that of a project", "the database has no role %s", strings.Join(missing, ", "))
	case len(foreign) > 0:
		d.fail(check, "log in as postgres or as "+migrate.ServerRole, "%s is not a member of %s", login, strings.Join(foreign, ", "))
	case super:
		d.warn(check, "log in as "+migrate.ServerRole+" or postgres: a superuser has more rights than a server needs", "%s is superuser", login)
	default:
		d.ok(check, "%s, member of authenticated and service_role", login)
	}
}

func (d *doctor) migrations(ctx context.Context, conn *pgx.Conn) {
	const check = "migrations"
	const refused = "42501"
	all, err := migrate.Status(ctx, conn)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == refused {
		d.skip(check, "run this once with the URL of postgres", "%s may not read the record of migrations", conn.Config().User)
		return
	}
	if err != nil {
		d.fail(check, "look at the database's log", "%s", err)
		return
	}
	var pending, unknown []string
	for _, m := range all {
		switch {
		case m.Unknown:
			unknown = append(unknown, m.Version)
		case !m.Applied:
			pending = append(pending, m.Version+"_"+m.Name)
		}
	}
	switch {
	case len(pending) > 0:
		d.fail(check, "`supabase db push`, or `stark server start --migrate` once", "%s not applied, from %s on", plural(len(pending), "migration"), pending[0])
	case len(unknown) > 0:
		d.warn(check, "upgrade this program, unless the project's own migrations are meant", "%d applied, %d of them unknown to this program, such as %s", len(all), len(unknown), slices.Max(unknown))
	default:
		d.ok(check, "%d applied, none missing", len(all))
	}
}

// hookFunction checks that Auth may call the hook: one that fails stops sign-ins.
func (d *doctor) hookFunction(ctx context.Context, conn *pgx.Conn) {
	const check = "hook function"
	var exists, callable bool
	err := conn.QueryRow(ctx, `
		select f is not null, coalesce(has_function_privilege('supabase_auth_admin', f, 'execute'), false)
		from (select to_regprocedure('stark.custom_access_token_hook(jsonb)')::oid) h (f)`).Scan(&exists, &callable)
	switch {
	case err != nil:
		d.fail(check, "apply the migrations", "%s", err)
	case !exists:
		d.fail(check, "apply the migrations", "stark.custom_access_token_hook is not there")
	case !callable:
		d.fail(check, "grant execute on function stark.custom_access_token_hook(jsonb) to supabase_auth_admin", "Auth may not call it: nobody can sign in once the hook is on")
	default:
		d.ok(check, "is there, and Auth may call it")
	}
}

// connections checks LISTEN and the budget by the server's own means.
func (d *doctor) connections(ctx context.Context) {
	db, err := postgres.Open(ctx, postgres.Config{
		URL: d.config.DatabaseURL, ListenURL: d.config.ListenDatabaseURL, PoolSize: int32(d.config.DatabasePoolSize), //nolint:gosec // bounded by LoadConfig
	})
	if err != nil {
		d.fail("connections", "correct the URL", "%s", err)
		return
	}
	defer db.Close()
	const listenFix = "set STARK_LISTEN_DATABASE_URL to the direct connection or the session pooler (port 5432)"
	switch err := db.TestListen(ctx); {
	case errors.Is(err, postgres.ErrDeaf):
		d.warn("listen", listenFix, "notifications do not arrive: servers poll, and see what others write up to half a second later")
	case err != nil:
		d.fail("listen", listenFix, "%s", message(err))
	default:
		d.ok("listen", "notifications arrive")
	}
	b, err := db.Budget(ctx)
	switch {
	case err != nil:
		d.fail("connections", "look at the database's log", "%s", message(err))
	case b.Pooled:
		d.ok("connections", "at most %d of this server, through a pooler: keep them below its limit of clients, and in session mode below the size of its pool", b.Wanted)
	case len(b.Messages) > 0:
		d.fail("connections", "lower STARK_DATABASE_POOL_SIZE, or use the pooler", "%s (%d of %d in use, %d wanted)", strings.Join(b.Messages, "; "), b.Used, b.Max, b.Wanted)
	default:
		d.ok("connections", "%d of %d in use, at most %d of this server", b.Used, b.Max, b.Wanted)
	}
}
