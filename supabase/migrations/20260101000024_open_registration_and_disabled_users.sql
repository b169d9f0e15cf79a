-- Who may come in without being asked, and who has to stay outside.

-- Signing up makes an account and a profile, as Auth decides. Whether a stranger
-- gets a role by that, and so sees anything, is decided here, whichever door is
-- used: POST /auth/register or Auth's own sign-up with the public key.
alter table public.cluster_config add column open_registration boolean not null default false;

-- A disabled account keeps its profile and has no role: every policy and every
-- server asks user_roles. The roles wait in the profile until it is enabled.
alter table public.users
  add column disabled_at timestamptz,
  add column disabled_by uuid references public.users (id) on delete set null,
  add column disabled_roles public.stark_role[] not null default '{}',
  add constraint users_disabled_roles_only_when_disabled check (disabled_at is not null or disabled_roles = '{}');
create index users_disabled_by_idx on public.users (disabled_by);

create or replace function stark.handle_new_user() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.users (id, email, display_name)
  values (new.id, new.email,
          nullif(pg_catalog.left(pg_catalog.btrim(new.raw_user_meta_data ->> 'display_name'), 100), ''))
  on conflict (id) do nothing;
  if pg_catalog.to_jsonb(new) ->> 'is_anonymous' is distinct from 'true' then
    insert into public.user_roles (user_id, role)
    select new.id, 'viewer' from public.cluster_config c where c.open_registration
    on conflict do nothing;
  end if;
  return null;
end $$;

create or replace function stark.handle_user_email() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users u set email = new.email
  where u.id = new.id and u.email is distinct from new.email;
  if pg_catalog.to_jsonb(old) ->> 'is_anonymous' = 'true' and pg_catalog.to_jsonb(new) ->> 'is_anonymous' = 'false' then
    insert into public.user_roles (user_id, role)
    select u.id, 'viewer' from public.users u, public.cluster_config c
    where u.id = new.id and u.disabled_at is null and c.open_registration
    on conflict do nothing;
  end if;
  return null;
end $$;

-- A role would let a disabled account in again.
create function stark.user_roles_not_disabled() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.users u where u.id = new.user_id and u.disabled_at is not null) then
    raise exception using errcode = 'ST409', message = 'the account is disabled; enable it before you change its roles';
  end if;
  return new;
end $$;
revoke all on function stark.user_roles_not_disabled() from public;
create trigger user_roles_not_disabled before insert on public.user_roles
  for each row execute function stark.user_roles_not_disabled();

-- Takes an account's roles and join tokens away. False when there is no such
-- account. It waits for whoever else counts admins; the trigger on user_roles
-- keeps the last one.
create function stark.disable_user(target uuid, acting uuid) returns boolean
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.admin', 0));
  if not exists (select from public.user_roles r where r.user_id = acting and r.role = 'admin') then
    raise exception using errcode = 'ST403', message = 'only an admin may disable an account';
  end if;
  update public.users u
  set disabled_at = pg_catalog.now(), disabled_by = acting,
      disabled_roles = array(select r.role from public.user_roles r where r.user_id = target order by r.role)
  where u.id = target and u.disabled_at is null;
  if not found then
    return exists (select from public.users u where u.id = target);
  end if;
  delete from public.user_roles r where r.user_id = target;
  delete from stark.join_tokens t where t.created_by = target;
  return true;
end $$;

-- Gives the roles back. Enabling an account that is enabled changes nothing.
create function stark.enable_user(target uuid, acting uuid) returns boolean
language plpgsql set search_path = '' as $$
declare
  waiting public.stark_role[];
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.admin', 0));
  if not exists (select from public.user_roles r where r.user_id = acting and r.role = 'admin') then
    raise exception using errcode = 'ST403', message = 'only an admin may enable an account';
  end if;
  select u.disabled_roles into waiting from public.users u where u.id = target;
  if not found then
    return false;
  end if;
  update public.users u set disabled_at = null, disabled_by = null, disabled_roles = '{}'
  where u.id = target and u.disabled_at is not null;
  insert into public.user_roles (user_id, role, granted_by)
  select target, r, acting from pg_catalog.unnest(waiting) r
  on conflict do nothing;
  return true;
end $$;
revoke all on function stark.disable_user(uuid, uuid), stark.enable_user(uuid, uuid) from public;
grant execute on function stark.disable_user(uuid, uuid), stark.enable_user(uuid, uuid) to service_role;
