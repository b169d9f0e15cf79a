-- What holds for the whole schema.
begin;
select plan(6);

select is_empty($$select c.oid::regclass from pg_class c
  where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'stark'::regnamespace) and not c.relrowsecurity$$,
  'row level security is on everywhere');
select is_empty($$select c.oid::regclass from pg_class c
  where c.relnamespace in ('public'::regnamespace, 'stark'::regnamespace) and c.relkind in ('r', 'p')
    and (has_table_privilege('anon', c.oid, 'select') or has_any_column_privilege('anon', c.oid, 'select, insert, update'))$$,
  'anon has no right on any table');
select is_empty($$select p.oid::regprocedure from pg_proc p
  where p.pronamespace in ('public'::regnamespace, 'stark'::regnamespace) and has_function_privilege('anon', p.oid, 'execute')$$,
  'nor on any function');
select is_empty($$select c.oid::regclass from pg_class c
  where c.relnamespace = 'stark'::regnamespace and c.relkind in ('r', 'p') and has_any_column_privilege('authenticated', c.oid, 'select, insert, update')$$,
  'users have no right on the tables of the servers');
select results_eq($$select public from storage.buckets where id = 'pack-bundles'$$, $$values (false)$$, 'the bucket of the bundles is private');
select ok(has_function_privilege('supabase_auth_admin', 'stark.custom_access_token_hook(jsonb)', 'execute')
    and has_schema_privilege('supabase_auth_admin', 'stark', 'usage')
    and not has_function_privilege('authenticated', 'stark.custom_access_token_hook(jsonb)', 'execute'),
  'Auth calls the access token hook, and nobody else');

select * from finish();
rollback;
