-- The first admin, and the roles inside access tokens.

create table stark.setup (
  only_row boolean primary key default true,
  done boolean not null default false,
  done_by uuid,
  done_at timestamptz,
  constraint setup_one_row check (only_row)
);
insert into stark.setup default values;
alter table stark.setup enable row level security;
revoke all on stark.setup from public, anon, authenticated, service_role;
grant select, update on stark.setup to service_role;

-- Makes the user the first admin and says whether it did. Two calls at once
-- take turns by the lock, and the second finds an admin. It can happen again
-- only when no admin is left.
create function stark.claim_first_admin(claimant uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.admin', 0));
  if exists (select 1 from public.user_roles r where r.role = 'admin') then
    return false;
  end if;
  insert into public.user_roles (user_id, role) values (claimant, 'admin') on conflict do nothing;
  update stark.setup set done = true, done_by = claimant, done_at = pg_catalog.now();
  return true;
end $$;
revoke all on function stark.claim_first_admin(uuid) from public;
grant execute on function stark.claim_first_admin(uuid) to service_role;

-- Custom access token hook: adds the roles to the claims, for clients that show
-- or hide things by them; the database itself asks the table. It must answer
-- whatever comes in, or nobody could sign in, so that every fault gives the
-- claims back as they were.
create function stark.custom_access_token_hook(event jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if pg_catalog.jsonb_typeof(event -> 'claims') is distinct from 'object' then
    return event;
  end if;
  return pg_catalog.jsonb_set(event, '{claims,stark}', pg_catalog.jsonb_build_object('roles', (
    select coalesce(pg_catalog.jsonb_agg(r.role order by r.role), '[]')
    from public.user_roles r where r.user_id = (event ->> 'user_id')::uuid)));
exception when others then
  return event;
end $$;
revoke all on function stark.custom_access_token_hook(jsonb) from public;
grant execute on function stark.custom_access_token_hook(jsonb) to supabase_auth_admin;

-- The hook runs as supabase_auth_admin, not as its owner.
grant usage on schema public to supabase_auth_admin;
grant select on public.user_roles to supabase_auth_admin;
create policy user_roles_select_auth_admin on public.user_roles for select to supabase_auth_admin using (true);
