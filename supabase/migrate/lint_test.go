package migrate_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// lints are the rules of Supabase's advisor (splinter) that concern a schema
// like this one, and a few of our own; each query lists offenders.
var lints = map[string]string{
	"foreign keys have a leading index": `
		select c.conrelid::regclass || '.' || c.conname from pg_constraint c
		where c.contype = 'f' and c.connamespace::regnamespace::text in ('public', 'stark')
		  and not exists (select from pg_index i where i.indrelid = c.conrelid
		    and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)',
		      (select a.attname from pg_attribute a where a.attrelid = c.conrelid and a.attnum = c.conkey[1])))
		    and (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey and c.conkey @> (i.indkey::int2[])[0:cardinality(c.conkey) - 1])`,
	"tables have a primary key": `
		select c.oid::regclass::text from pg_class c
		where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('public', 'stark')
		  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`,
	"row level security is on": `
		select c.oid::regclass::text from pg_class c
		where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('public', 'stark') and not c.relrowsecurity`,
	"exposed tables have policies": `
		select c.oid::regclass::text from pg_class c
		where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
		  and not exists (select from pg_policy p where p.polrelid = c.oid)`,
	"calls in policies are wrapped in a select": `
		with p as (
			select schemaname || '.' || tablename || ': ' || policyname as name,
			  regexp_replace(lower(coalesce(qual, '') || ' ' || coalesce(with_check, '')), '\(\s*select\s+\(?(auth|stark)\.[a-z_]+\(', '', 'g') as rule
			from pg_policies where schemaname in ('public', 'storage'))
		select name from p where rule ~ '(auth|stark)\.[a-z_]+\(|current_setting\('`,
	"one permissive policy for each role and verb": `
		select p.polrelid::regclass || ' ' || p.polcmd::text || ' ' || r::regrole
		from pg_policy p, unnest(p.polroles) r where p.polpermissive and p.polrelid <> 'storage.buckets'::regclass
		group by p.polrelid, p.polcmd, r having count(*) > 1`,
	"policies name their roles and verbs": `
		select polrelid::regclass || ': ' || polname from pg_policy where polcmd = '*' or 0 = any (polroles)`,
	"no policy lets everybody write": `
		select schemaname || '.' || tablename || ': ' || policyname from pg_policies
		where schemaname in ('public', 'stark', 'storage') and cmd <> 'SELECT' and (qual = 'true' or with_check = 'true')`,
	"no policy reads what users write about themselves": `
		select policyname::text from pg_policies where coalesce(qual, '') || coalesce(with_check, '') ~ 'user_metadata|raw_user'`,
	"functions fix their search_path": `
		select p.oid::regprocedure::text from pg_proc p
		where p.pronamespace::regnamespace::text in ('public', 'stark')
		  and not coalesce(p.proconfig::text ~ 'search_path=\\"\\"', false)`,
	"no function can be called by everybody": `
		select p.oid::regprocedure::text from pg_proc p
		where p.pronamespace::regnamespace::text in ('public', 'stark') and (p.proacl is null or p.proacl::text ~ '[{,]=X' or has_function_privilege('anon', p.oid, 'execute'))`,
	"functions with their owner's rights are not exposed": `
		select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef`,
	"users call only questions with their owner's rights": `
		select p.oid::regprocedure::text from pg_proc p
		where p.pronamespace = 'stark'::regnamespace and p.prosecdef and has_function_privilege('authenticated', p.oid, 'execute') and p.provolatile = 'v'`,
	"no view but of the servers, with the rights of whoever asks": `
		select c.oid::regclass::text from pg_class c where c.relkind in ('v', 'm', 'f') and c.relnamespace::regnamespace::text in ('public', 'stark')
		  and not (c.relkind = 'v' and c.relnamespace = 'stark'::regnamespace and coalesce(c.reloptions @> '{security_invoker=true}', false)
		    and not has_table_privilege('authenticated', c.oid, 'select'))`,
	"anonymous callers have no right": `
		select c.oid::regclass || ' ' || r from pg_class c, unnest(array['select', 'insert', 'update', 'delete']) r
		where c.relkind in ('r', 'S') and c.relnamespace::regnamespace::text in ('public', 'stark')
		  and case when c.relkind = 'r' then has_table_privilege('anon', c.oid, r) or (r <> 'delete' and has_any_column_privilege('anon', c.oid, r)) else has_sequence_privilege('anon', c.oid, 'usage') end`,
	"users insert and update by columns": `
		select c.oid::regclass || ' ' || r from pg_class c, unnest(array['insert', 'update', 'truncate', 'references', 'trigger']) r
		where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('public', 'stark') and has_table_privilege('authenticated', c.oid, r)`,
	"users have no right on the tables of the servers": `
		select c.oid::regclass || ' ' || r from pg_class c, unnest(array['select', 'insert', 'update']) r
		where c.relkind = 'r' and c.relnamespace = 'stark'::regnamespace and has_any_column_privilege('authenticated', c.oid, r)`,
	"no index stands twice": `
		select min(indexrelid::regclass::text) from pg_index i join pg_class c on c.oid = i.indrelid
		where c.relnamespace::regnamespace::text in ('public', 'stark')
		group by i.indrelid, i.indkey::text, coalesce(i.indpred::text, ''), coalesce(i.indexprs::text, ''), i.indclass::text having count(*) > 1`,
	"columns of policies have a leading index": `
		select w.rel || '.' || w.col from (values ('public.packs', 'owner_id'), ('public.nodes', 'registered_by'), ('public.pods', 'created_by'),
		  ('public.pods', 'namespace'), ('public.namespace_members', 'user_id'), ('public.user_roles', 'user_id')) w (rel, col)
		where not exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
		  where i.indrelid = w.rel::regclass and a.attname = w.col and i.indpred is null)`,
	"no secret has a readable column": `
		select a.attrelid::regclass || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
		where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attname ~ 'password|secret|token|credential'`,
	// Postgres plans that join for the first statement of a session and keeps the plan.
	"old rows and new rows are joined by their hashes": `
		select distinct t.tgfoid::regprocedure::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid
		where t.tgoldtable is not null and t.tgnewtable is not null and p.pronamespace::regnamespace::text in ('public', 'stark')
		  and not coalesce(p.proconfig::text ~ 'enable_nestloop=off', false)`,
	// Such plans look very dear, and Postgres compiles dear ones at every execution.
	"what is planned without a kind of plan is not compiled": `
		select p.oid::regprocedure::text from pg_proc p
		where p.pronamespace::regnamespace::text in ('public', 'stark')
		  and p.proconfig::text ~ 'enable_[a-z]+=off' and not p.proconfig::text ~ 'jit=off'`,
	// Up to Postgres 17 such a function in SQL is planned at every call.
	"what policies ask is answered from kept plans": `
		select p.oid::regprocedure::text from pg_proc p join pg_language l on l.oid = p.prolang
		where p.pronamespace = 'stark'::regnamespace and l.lanname = 'sql' and p.proconfig is not null and exists (
		  select from pg_policies r where coalesce(r.qual, '') || coalesce(r.with_check, '') ~ ('stark\.' || p.proname || '\('))`,
	"no index on what heartbeats write": `
		select i.indexrelid::regclass::text from pg_index i where i.indrelid = 'stark.node_leases'::regclass and not i.indisprimary`,
}

func TestSchemaLints(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	for name, query := range lints {
		for _, offender := range migratetest.Values[string](t, d.Conn, query) {
			t.Errorf("%s: %s", name, offender)
		}
	}
}

// A lint that can find nothing would be no lint: each is tried on a schema that
// breaks it.
func TestSchemaLintsFindOffenders(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	d.Exec(t, `create table public.bad (id int, pod uuid references public.pods, password text)`)
	d.Exec(t, `grant all on public.bad to anon, authenticated`)
	d.Exec(t, `create table stark.bad (id int primary key)`)
	d.Exec(t, `grant select on stark.bad to authenticated`)
	d.Exec(t, `create policy a on public.bad using (auth.uid() is not null)`)
	d.Exec(t, `create policy b on public.bad for insert to authenticated with check (true)`)
	d.Exec(t, `create policy c on public.bad for insert to authenticated with check (auth.jwt() ->> 'user_metadata' = '')`)
	d.Exec(t, `create table public.naked (id int primary key)`)
	d.Exec(t, `create view public.bad_view as select 1`)
	d.Exec(t, `create function public.bad() returns int language sql security definer as 'select 1'`)
	d.Exec(t, `create function stark.bad() returns int language sql security definer as 'select 1'`)
	d.Exec(t, `alter function stark.bad() set search_path = public`)
	d.Exec(t, `create policy d on public.bad for delete to authenticated using ((select stark.bad()) = 1)`)
	d.Exec(t, `create index bad_1 on public.packs (owner_id)`)
	d.Exec(t, `create index bad_2 on stark.node_leases (renewed_at)`)
	d.Exec(t, `drop index public.pods_namespace_idx`)
	d.Exec(t, `alter function stark.pods_updated() reset enable_nestloop`)
	d.Exec(t, `alter function stark.pods_inserted() reset jit`)
	for name, query := range lints {
		if len(migratetest.Values[string](t, d.Conn, query)) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
}
