-- Users and their roles. Schema stark holds what PostgREST must not expose:
-- helper functions of policies and triggers, and the tables of the servers.

create schema if not exists stark;
revoke all on schema stark from public;
grant usage on schema stark to authenticated, service_role, supabase_auth_admin;

create type public.stark_role as enum ('admin', 'operator', 'developer', 'viewer');

create function stark.touch_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end $$;
revoke all on function stark.touch_updated_at() from public;

create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  email text,
  display_name text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint users_display_name_length check (char_length(display_name) <= 100)
);

-- Roles live here and nowhere else: never in metadata that a user can write.
create table public.user_roles (
  user_id uuid not null references public.users (id) on delete cascade,
  role public.stark_role not null,
  granted_by uuid references public.users (id) on delete set null,
  created_at timestamptz not null default now(),
  primary key (user_id, role)
);
create index user_roles_granted_by_idx on public.user_roles (granted_by);

-- Policies ask the table, not the token, so that a removed role is gone at once.
create function stark.has_role(roles public.stark_role[]) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select 1 from public.user_roles r
    where r.user_id = auth.uid() and r.role = any (roles))
$$;

create function stark.is_staff() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select 1 from public.user_roles r
    where r.user_id = auth.uid() and r.role in ('admin', 'operator'))
$$;
-- Whoever has no role sees nothing but his own profile.
create function stark.is_reader() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select 1 from public.user_roles r where r.user_id = auth.uid())
$$;
revoke all on function stark.has_role(public.stark_role[]), stark.is_staff(), stark.is_reader() from public;
grant execute on function stark.has_role(public.stark_role[]), stark.is_staff(), stark.is_reader() to authenticated, service_role;

revoke all on public.users, public.user_roles from anon, authenticated, service_role;
grant select, update (display_name) on public.users to authenticated;
grant select, insert, update, delete on public.users to service_role;
grant select, insert (user_id, role), delete on public.user_roles to authenticated;
grant select, insert, delete on public.user_roles to service_role;

alter table public.users enable row level security;
create policy users_select on public.users for select to authenticated
  using (id = (select auth.uid()) or (select stark.is_staff()));
create policy users_update on public.users for update to authenticated
  using (id = (select auth.uid()) or (select stark.has_role('{admin}')))
  with check (id = (select auth.uid()) or (select stark.has_role('{admin}')));

alter table public.user_roles enable row level security;
create policy user_roles_select on public.user_roles for select to authenticated
  using (user_id = (select auth.uid()) or (select stark.is_staff()));
create policy user_roles_insert on public.user_roles for insert to authenticated
  with check ((select stark.has_role('{admin}')));
create policy user_roles_delete on public.user_roles for delete to authenticated
  using ((select stark.has_role('{admin}')));

create trigger users_touch before update on public.users
  for each row execute function stark.touch_updated_at();

-- The grantor is the caller, whatever the caller says. current_user tells a
-- user from a server, so this is not SECURITY DEFINER.
create function stark.user_roles_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_user = 'authenticated' then
    new.granted_by := (select auth.uid());
  end if;
  return new;
end $$;
revoke all on function stark.user_roles_guard() from public;
create trigger user_roles_guard before insert on public.user_roles
  for each row execute function stark.user_roles_guard();

-- Without an admin the first-admin setup would open again, so the last one
-- cannot be removed by a role change. Removing the account itself can.
create function stark.user_roles_keep_admin() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_user in ('authenticated', 'service_role')
     and exists (select 1 from old_rows o where o.role = 'admin') then
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.admin', 0));
    if not exists (select 1 from public.user_roles r where r.role = 'admin') then
      raise exception using errcode = 'ST409', message = 'the last admin cannot be removed',
        detail = '{"role":"admin"}';
    end if;
  end if;
  return null;
end $$;
revoke all on function stark.user_roles_keep_admin() from public;
create trigger user_roles_keep_admin after delete on public.user_roles
  referencing old table as old_rows
  for each statement execute function stark.user_roles_keep_admin();

-- A profile for every account. It must never raise: that would make signing up
-- fail. Only the display name is taken from what the client sent. Anonymous
-- accounts get no role, and so no rights, until they turn into real ones; the
-- column is read as JSON since older projects lack it.
create function stark.handle_new_user() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.users (id, email, display_name)
  values (new.id, new.email,
          nullif(pg_catalog.left(pg_catalog.btrim(new.raw_user_meta_data ->> 'display_name'), 100), ''))
  on conflict (id) do nothing;
  if pg_catalog.to_jsonb(new) ->> 'is_anonymous' is distinct from 'true' then
    insert into public.user_roles (user_id, role) values (new.id, 'viewer') on conflict do nothing;
  end if;
  return null;
end $$;

create function stark.handle_user_email() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users u set email = new.email
  where u.id = new.id and u.email is distinct from new.email;
  if pg_catalog.to_jsonb(old) ->> 'is_anonymous' = 'true' and pg_catalog.to_jsonb(new) ->> 'is_anonymous' = 'false' then
    insert into public.user_roles (user_id, role) values (new.id, 'viewer') on conflict do nothing;
  end if;
  return null;
end $$;
revoke all on function stark.handle_new_user(), stark.handle_user_email() from public;

create trigger stark_user_created after insert on auth.users
  for each row execute function stark.handle_new_user();
-- The sign-in of a user writes this row too, hence the condition.
create trigger stark_user_email after update on auth.users
  for each row when (old.email is distinct from new.email
    or pg_catalog.to_jsonb(old) -> 'is_anonymous' is distinct from pg_catalog.to_jsonb(new) -> 'is_anonymous')
  execute function stark.handle_user_email();
