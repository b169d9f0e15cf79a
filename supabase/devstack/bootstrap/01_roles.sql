-- The roles of a Supabase database. Everything here may run again in another database of the same
-- cluster: roles belong to the cluster, so each is made only when it is missing.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('anon',                   'nologin noinherit'),
      ('authenticated',          'nologin noinherit'),
      ('service_role',           'nologin noinherit bypassrls'),
      ('authenticator',          'login noinherit'),
      ('supabase_auth_admin',    'login noinherit createrole'),
      ('supabase_storage_admin', 'login noinherit createrole'),
      ('dashboard_user',         'nologin createdb createrole replication'),
      -- Not a superuser, as on hosted projects, so that a migration which works here works there.
      ('postgres',               'login createdb createrole replication bypassrls password ''postgres''')
    ) as roles (name, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      execute format('create role %I %s', wanted.name, wanted.attributes);
    end if;
  end loop;
end
$$;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
-- Storage runs each request as the caller's role.
grant authenticator, anon, authenticated, service_role to supabase_storage_admin;
-- Plain Postgres has no supautils extension, which lets hosted projects write policies on
-- storage.objects and triggers on auth.users; membership of the owners has the same effect.
grant supabase_auth_admin, supabase_storage_admin to postgres;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
alter role supabase_storage_admin set search_path = storage;
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

do $$
begin
  execute format('alter database %I owner to postgres', current_database());
end
$$;
