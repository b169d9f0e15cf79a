package rights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// grant is what the role authenticated may do with a relation; its columns are in
// the order of the table. Whoever adds a relation decides here.
type grant struct {
	read, remove   bool
	insert, update string
}

// nothing is for the tables of the servers, in schema stark.
var nothing = grant{}

var decided = map[string]grant{
	"public.cluster_config": {read: true, update: "max_pods_per_node default_namespace scheduling_policy default_resource_requests default_resource_limits " +
		"max_total_pods max_total_nodes heartbeat_interval_ms heartbeat_timeout_ms eviction_timeout_ms pod_termination_grace_period_ms terminal_pod_retention_ms enable_preemption annotations score_weights pod_history_retention_ms"},
	"public.namespace_members": {read: true, remove: true, insert: "namespace user_id role", update: "role"},
	"public.namespaces": {
		read: true, remove: true, insert: "id name labels annotations resource_quota limit_range created_by disruption_budget",
		update: "phase labels annotations resource_quota limit_range disruption_budget",
	},
	"public.nodes": {
		read: true, remove: true, insert: "id name runtime_type capabilities registered_by allocatable labels annotations taints unschedulable namespaces",
		update: "registered_by allocatable labels annotations taints unschedulable namespaces maintenance drain_request",
	},
	"public.packs": {
		read: true, remove: true, insert: "id name version runtime_tag owner_id visibility format description metadata",
		update: "visibility description metadata",
	},
	"public.pod_history": {read: true},
	"public.pod_runs":    {read: true},
	"public.pods": {
		read: true, remove: true, insert: "id pack_id pack_name pack_version resource_requests resource_limits restart_policy isolation env " +
			"termination_grace_period_seconds active_deadline_seconds metadata created_by namespace labels annotations priority_class_name tolerations scheduling",
		update: "stop_requested_at labels annotations rollback_request",
	},
	"public.priority_classes": {
		read: true, remove: true, insert: "id name value global_default preemption_policy description labels annotations",
		update: "value global_default preemption_policy description labels annotations",
	},
	"public.user_roles": {read: true, remove: true, insert: "user_id role"},
	"public.users":      {read: true, update: "display_name"},

	"stark.condition_taints": nothing, "stark.drain_blocks": nothing,
	"stark.change_log": nothing, "stark.join_tokens": nothing, "stark.leader_lease": nothing, "stark.node_credentials": nothing,
	"stark.node_leases": nothing, "stark.setup": nothing, "stark.verdicts": nothing, "stark.ws_tickets": nothing,
	"stark.idempotent_writes": nothing, "stark.node_usage": nothing, "stark.node_history": nothing,
	"stark.servers": nothing, "stark.relay_passes": nothing, "stark.log_checkpoints": nothing,
}

// callable are the functions that users may call. Policies and checks need them;
// they answer questions, change nothing and tell nothing of others. Those that
// only look at their arguments begin with is_ and are not listed one by one.
var callable = []string{
	"public.rollback_pod(uuid,text,boolean,text)",
	"stark.default_grace_seconds()", "stark.default_namespace()", "stark.own_taints(jsonb)", "stark.system_taint(text)",
	"stark.bundle_object(text)", "stark.bundle_stored(text,bigint)", "stark.can_see_namespace(text)", "stark.closed_namespaces()", "stark.has_admin()",
	"stark.has_role(public.stark_role[])", "stark.is_anonymous()", "stark.is_reader()", "stark.is_staff()",
	"stark.led_namespaces()", "stark.member_namespaces()", "stark.member_packs()", "stark.namespace_has_admin(text)",
	"stark.operated_namespaces()", "stark.pod_can_move(public.pod_status,public.pod_status,boolean)", "stark.within_bounds(jsonb,jsonb)",
}

// ours reports whether a function has judged what it was given, as those do that
// change something: called at all it was.
func ours(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "ST404"
}

// try runs one statement as a role of the database with claims, takes it back,
// and gives how many rows it touched.
func (g *ground) try(t *testing.T, role, claims, sql string) (rows int64, err error) {
	t.Helper()
	err = pgx.BeginFunc(t.Context(), g.conn, func(pgx.Tx) error {
		g.exec(t, `set local storage.allow_delete_query = 'true'`)
		g.exec(t, `select set_config('request.jwt.claims', $1, true)`, claims)
		g.exec(t, `set local role `+role)
		tag, err := g.conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		rows = tag.RowsAffected()
		return errUndo
	})
	if errors.Is(err, errUndo) {
		err = nil
	}
	return rows, err
}

func (g *ground) denied(t *testing.T, role, claims, sql string) {
	t.Helper()
	if rows, err := g.try(t, role, claims, sql); migratetest.Code(err) != "42501" {
		t.Errorf("%s: %s: %d rows, %v", role, sql, rows, err)
	}
}

// outsiders are those who own nothing here: to them every row is another's. A
// statement without a condition that touches a row has gone too far.
func (g *ground) outsiders(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"developer": subject{role: api.RoleDeveloper, id: g.account(t, "developer")}.claims(t)}
	for _, s := range g.subjects {
		if s.role == "" || s.role == api.RoleNode || s.role == access.Anonymous {
			out[s.String()] = s.claims(t)
		}
	}
	return out
}

// furnish puts at least one row of the stranger into every table.
func (g *ground) furnish(t *testing.T) {
	t.Helper()
	stranger := subject{id: g.stranger}
	for _, k := range access.Kinds {
		g.object(t, k, stranger, other)
	}
	pod := g.make(t, `select id::text from public.pods limit 1`)
	node := g.node(t, g.stranger)
	g.exec(t, `insert into public.pod_runs (pod_id, incarnation, attempt, pack_id, node_id) select id, 1, 1, pack_id, $2 from public.pods where id = $1`, pod, node)
	g.exec(t, `insert into stark.verdicts (pod_id, reason, message) values ($1, 'x', 'x')`, pod)
	g.exec(t, `insert into stark.node_leases (node_id) values ($1)`, node)
	g.exec(t, `insert into stark.node_usage (node_id, usage) values ($1, '{}')`, node)
	g.exec(t, `insert into stark.node_credentials (node_id, secret_hash) values ($1, decode(repeat('ab', 32), 'hex'))`, node)
}

func TestEveryRelation(t *testing.T) {
	t.Parallel()
	g := newGround(t, database(t))
	g.furnish(t)
	outsiders := g.outsiders(t)
	found := migratetest.Values[string](t, g.conn, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname in ('public', 'stark') and c.relkind in ('r', 'p', 'm', 'f')`)
	for name := range decided {
		if !slices.Contains(found, name) {
			t.Errorf("%s is decided on and does not exist", name)
		}
	}
	for _, name := range found {
		may, ok := decided[name]
		if !ok {
			t.Errorf("%s: nobody has decided what users may do with it", name)
			continue
		}
		columns := migratetest.Values[string](t, g.conn, `select attname::text from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped`, name)
		for who, claims := range outsiders {
			g.tryRelation(t, who, claims, name, columns, may)
		}
		anon := []string{"select from " + name, "delete from " + name, "truncate " + name}
		for _, c := range columns {
			anon = append(anon, fmt.Sprintf("update %s set %s = default", name, c), fmt.Sprintf("insert into %s (%s) values (default)", name, c))
		}
		for _, sql := range anon {
			g.denied(t, "anon", `{"role":"anon"}`, sql)
		}
	}
}

// Views are for servers: nobody else gets or writes anything by them. What Postgres does not
// know to do with a view it refuses with other words.
func TestNoViewIsForUsers(t *testing.T) {
	t.Parallel()
	g := newGround(t, database(t))
	g.furnish(t)
	views := migratetest.Values[string](t, g.conn, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname in ('public', 'stark') and c.relkind = 'v'`)
	if !slices.Equal(views, []string{"stark.changes"}) {
		t.Errorf("the views are %v", views)
	}
	tries := map[string]string{"anon": `{"role":"anon"}`}
	maps.Copy(tries, g.outsiders(t))
	for who, claims := range tries {
		role := "authenticated"
		if who == "anon" {
			role = who
		}
		for _, name := range views {
			g.denied(t, role, claims, "select from "+name)
			g.denied(t, role, claims, "insert into "+name+" default values")
			for _, sql := range []string{"update " + name + " set id = default", "delete from " + name, "drop view " + name} {
				if _, err := g.try(t, role, claims, sql); err == nil {
					t.Errorf("%s: %s is not refused", who, sql)
				}
			}
		}
	}
}

// tryRelation tries everything with one relation as somebody who owns nothing.
func (g *ground) tryRelation(t *testing.T, who, claims, name string, columns []string, may grant) {
	t.Helper()
	const role = "authenticated"
	profile := int64(0) // the only row of theirs is their profile
	if name == "public.users" && (who == "developer" || who == "a user without a role") {
		profile = 1
	}
	untouched := func(sql string, allowed bool) {
		t.Helper()
		if !allowed {
			g.denied(t, role, claims, sql)
		} else if rows, err := g.try(t, role, claims, sql); rows != profile || err != nil {
			t.Errorf("%s: %s: %d rows, want %d; %v", who, sql, rows, profile, err)
		}
	}
	if !may.read || who != "developer" { // what a developer sees is in the table of rights
		untouched("select from "+name, may.read)
	}
	for _, c := range columns {
		if slices.Contains(strings.Fields(may.update), c) {
			untouched(fmt.Sprintf("update %s set %s = %s", name, c, c), true)
		} else {
			g.denied(t, role, claims, fmt.Sprintf("update %s set %s = default", name, c))
		}
		if !slices.Contains(strings.Fields(may.insert), c) {
			g.denied(t, role, claims, fmt.Sprintf("insert into %s (%s) values (default)", name, c))
		}
	}
	untouched("delete from "+name, may.remove)
	for _, sql := range []string{
		"truncate " + name, "alter table " + name + " disable row level security", "alter table " + name + " disable trigger all",
		"create policy mine on " + name + " using (true)", "drop table " + name,
	} {
		g.denied(t, role, claims, sql)
	}
}

func TestEveryFunctionAndSequence(t *testing.T) {
	t.Parallel()
	g := newGround(t, database(t))
	outsiders := g.outsiders(t)
	const functions = `select p.oid::regprocedure::text || E'\t' || format('select %s(%s)', p.oid::regproc,
			(select string_agg(format('null::%s', format_type(a, null)), ', ') from unnest(p.proargtypes) a))
		from pg_proc p where p.pronamespace in ('public'::regnamespace, 'stark'::regnamespace) and p.prokind = 'f' order by 1`
	g.exec(t, `set search_path = ''`) // so that names come with their schema
	found := migratetest.Values[string](t, g.conn, functions)
	if n := migratetest.Value[int](t, g.conn, `select count(*) from pg_catalog.pg_proc p
		where p.pronamespace in ('public'::regnamespace, 'stark'::regnamespace)`); n != len(found) || n == 0 {
		t.Errorf("%d functions are tried of %d", len(found), n)
	}
	left := slices.Clone(callable)
	for _, line := range found {
		name, call, _ := strings.Cut(line, "\t")
		g.denied(t, "anon", `{"role":"anon"}`, call)
		listed := slices.Contains(callable, name)
		left = slices.DeleteFunc(left, func(n string) bool { return n == name })
		pure := strings.HasPrefix(name, "stark.is_") && migratetest.Value[bool](t, g.conn,
			`select provolatile = 'i' and not prosecdef from pg_catalog.pg_proc where oid = $1::text::regprocedure`, name)
		for who, claims := range outsiders {
			if !listed && !pure {
				g.denied(t, "authenticated", claims, call)
			} else if _, err := g.try(t, "authenticated", claims, call); err != nil && !ours(err) {
				t.Errorf("%s: %s: %v", who, call, err)
			}
		}
	}
	for _, name := range left {
		t.Errorf("%s may be called and does not exist", name)
	}
	for _, name := range migratetest.Values[string](t, g.conn, `select c.oid::regclass::text from pg_catalog.pg_class c
		where c.relkind = 'S' and c.relnamespace in ('public'::regnamespace, 'stark'::regnamespace)`) {
		for _, sql := range []string{"select nextval('%s')", "select setval('%s', 1)", "select last_value from %s"} {
			g.denied(t, "authenticated", outsiders["developer"], fmt.Sprintf(sql, name))
			g.denied(t, "anon", `{"role":"anon"}`, fmt.Sprintf(sql, name))
		}
	}
}

// The schemas beside ours: nothing of Auth, nothing of the record of migrations,
// nothing new, and of Storage no more than its policies give.
func TestOtherSchemas(t *testing.T) {
	t.Parallel()
	g := newGround(t, database(t))
	g.furnish(t)
	closed := migratetest.Values[string](t, g.conn, `select format('select from %I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname in ('auth', 'supabase_migrations') and c.relkind in ('r', 'p', 'v')`)
	if len(closed) < 5 {
		t.Fatalf("only %d tables are tried", len(closed))
	}
	closed = append(closed, `create table public.mine ()`, `create table stark.mine ()`, `create function stark.mine() returns int language sql as 'select 1'`,
		`create schema mine`, `select stark.actor()`,
		`insert into storage.buckets (id, name) values ('mine', 'mine')`)
	for _, claims := range g.outsiders(t) {
		for _, sql := range closed {
			g.denied(t, "authenticated", claims, sql)
			g.denied(t, "anon", `{"role":"anon"}`, sql)
		}
		for _, sql := range []string{
			`update storage.buckets set public = true`, `delete from storage.buckets`, `select from storage.buckets`,
			`update storage.objects set name = 'x'`, `delete from storage.objects`, `select from storage.objects`,
			`select from storage.s3_multipart_uploads`, `select from storage.s3_multipart_uploads_parts`,
		} {
			if rows, err := g.try(t, "authenticated", claims, sql); rows != 0 || err != nil {
				t.Errorf("%s: %d rows, %v", sql, rows, err)
			}
		}
	}
}
