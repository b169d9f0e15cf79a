package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/cli/local"
)

// statusTimeout bounds `supabase status` and the look into its database.
const statusTimeout = 30 * time.Second

// findProject gives the project of `supabase status`, if its tables are Stark's.
func (d *dev) findProject(ctx context.Context) (local.Project, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	begin := time.Now()
	p, err := runningProject(ctx)
	if err != nil {
		return p, err
	}
	conn, err := pgx.Connect(ctx, p.DBURL)
	if err != nil {
		return p, fmt.Errorf("connect to the project's database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was written
	if err := refuseForeign(ctx, conn); err != nil {
		return p, err
	}
	d.out.step("database", "the project of `supabase status`, "+p.URL, time.Since(begin), map[string]any{"supabaseUrl": p.URL, "dbUrl": p.DBURL})
	return p, nil
}

// runningProject gives what `supabase status` shows.
func runningProject(ctx context.Context) (local.Project, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "supabase", "status", "-o", "env")
	cmd.WaitDelay = time.Second // what npm installs is a wrapper: what it has started may live on and hold the output
	out, err := cmd.Output()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return local.Project{}, supabaseFailure(err)
	}
	return parseProject(string(out))
}

// withProject adds a project to the environment; what is set there goes before.
func withProject(getenv func(string) string, p local.Project) func(string) string {
	named := map[string]string{
		"SUPABASE_URL": p.URL, "SUPABASE_PUBLISHABLE_KEY": p.AnonKey, "SUPABASE_SECRET_KEY": p.ServiceRoleKey,
		"SUPABASE_JWT_SECRET": p.JWTSecret, "STARK_DATABASE_URL": p.DBURL,
	}
	for _, same := range [][]string{
		{"SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"},
		{"SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"},
		{"STARK_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"},
	} {
		for _, name := range same[1:] {
			if getenv(name) != "" {
				named[same[0]] = "" // said by its other name
			}
		}
	}
	return func(name string) string { return orDefault(getenv(name), named[name]) }
}

func supabaseFailure(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return withHint(errors.New("--supabase needs the Supabase CLI, which is not installed"), "without --supabase, `stark dev` brings its own, and other commands read the environment")
	}
	text := err.Error()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && len(e.Stderr) > 0 {
		text, _, _ = strings.Cut(strings.TrimSpace(string(e.Stderr)), "\n")
	}
	return withHint(fmt.Errorf("supabase status: %s", clean(text)), "run `supabase start` in the folder of the project first")
}

// parseProject reads the lines NAME="value" of `supabase status -o env`, under the
// names of older and newer versions of the program; newer ones win.
func parseProject(out string) (local.Project, error) {
	env := map[string]string{}
	for l := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(l), "export "), "=")
		if ok {
			env[name] = strings.Trim(value, `"'`)
		}
	}
	first := func(names ...string) string {
		for _, n := range names {
			if env[n] != "" {
				return env[n]
			}
		}
		return ""
	}
	p := local.Project{
		URL: first("API_URL", "SUPABASE_URL"), DBURL: first("DB_URL", "SUPABASE_DB_URL"),
		JWTSecret:      first("JWT_SECRET", "SUPABASE_JWT_SECRET"),
		AnonKey:        first("PUBLISHABLE_KEY", "SUPABASE_PUBLISHABLE_KEY", "ANON_KEY", "SUPABASE_ANON_KEY"),
		ServiceRoleKey: first("SECRET_KEY", "SUPABASE_SECRET_KEY", "SERVICE_ROLE_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
	}
	if p.URL == "" || p.DBURL == "" || p.AnonKey == "" || p.ServiceRoleKey == "" {
		return p, withHint(errors.New("`supabase status` shows no running project"), "run `supabase start` first")
	}
	return p, nil
}

// ourTables are those that the migrations make in schema public.
var ourTables = []string{
	"cluster_config", "namespace_members", "namespaces", "nodes", "packs", "pod_history", "pod_runs", "pods",
	"priority_classes", "user_roles", "users",
}

// refuseForeign fails when schema public has tables that are not Stark's: the
// migrations must not be mixed into another application's.
func refuseForeign(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
		select c.relname, exists (select from pg_namespace where nspname = 'stark')
		from pg_class c
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'f')
		  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
		order by 1`)
	if err != nil {
		return fmt.Errorf("look at the project's tables: %w", err)
	}
	type table struct {
		Name string
		Ours bool
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return fmt.Errorf("look at the project's tables: %w", err)
	}
	var foreign []string
	for _, t := range tables {
		if !t.Ours || !slices.Contains(ourTables, t.Name) {
			foreign = append(foreign, t.Name)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return withHint(fmt.Errorf("the project has tables that are not Stark's: %s", strings.Join(foreign, ", ")),
		"use a project of its own for Stark, or leave --supabase out")
}
