-- Owners, row level security and grants of the two service schemas.
do $$
declare
  found record;
begin
  for found in
    select c.oid::regclass as name, n.nspname as schema
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('auth', 'storage') and c.relkind = 'r'
  loop
    execute format('alter table %s owner to %I', found.name,
      case found.schema when 'auth' then 'supabase_auth_admin' else 'supabase_storage_admin' end);
    execute format('alter table %s enable row level security', found.name);
  end loop;

  for found in
    select p.oid::regprocedure as name, n.nspname as schema
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('auth', 'storage')
  loop
    execute format('alter function %s owner to %I', found.name,
      case found.schema when 'auth' then 'supabase_auth_admin' else 'supabase_storage_admin' end);
  end loop;

  for found in
    select t.oid::regtype as name, n.nspname as schema
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
    where n.nspname in ('auth', 'storage') and t.typtype = 'e'
  loop
    execute format('alter type %s owner to %I', found.name,
      case found.schema when 'auth' then 'supabase_auth_admin' else 'supabase_storage_admin' end);
  end loop;
end
$$;

grant all on all tables in schema auth to postgres, dashboard_user;
grant all on all sequences in schema auth to postgres, dashboard_user;
grant all on all routines in schema auth to postgres, dashboard_user;

grant all on storage.buckets, storage.objects to anon, authenticated, service_role, postgres;
grant all on storage.s3_multipart_uploads, storage.s3_multipart_uploads_parts to service_role;
grant select on storage.s3_multipart_uploads, storage.s3_multipart_uploads_parts to anon, authenticated;
