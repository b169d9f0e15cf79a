-- Namespaces separate pods, their quotas and their members.

create type public.namespace_phase as enum ('active', 'terminating');

create function stark.is_string_map(j jsonb, max_keys integer, max_length integer) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object'
    and (select pg_catalog.count(*) <= max_keys and coalesce(pg_catalog.bool_and(
           e.key ~ '^([A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*$' and pg_catalog.length(e.key) <= 253
           and pg_catalog.jsonb_typeof(e.value) = 'string' and pg_catalog.length(e.value #>> '{}') <= max_length), true)
         from pg_catalog.jsonb_each(j) e)
$$;

create function stark.is_quota(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and j ? 'hard' and stark.is_capacity(j -> 'hard')
$$;

-- Each part is optional; where both ends of a pair are given they are in order.
create function stark.is_limit_range(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object'
    and not exists (select 1 from pg_catalog.jsonb_each(j) e
      where e.key not in ('default', 'defaultRequest', 'max', 'min') or not stark.is_resources(e.value))
    and coalesce((select pg_catalog.bool_and(
        coalesce((j #>> array['min', r])::bigint <= (j #>> array['max', r])::bigint, true)
        and coalesce((j #>> array['default', r])::bigint <= (j #>> array['max', r])::bigint, true)
        and coalesce((j #>> array['min', r])::bigint <= (j #>> array['defaultRequest', r])::bigint, true)
        and coalesce((j #>> array['defaultRequest', r])::bigint <= (j #>> array['default', r])::bigint, true))
      from pg_catalog.unnest(array['cpu', 'memory', 'storage']) r), true)
$$;
revoke all on function stark.is_string_map(jsonb, integer, integer), stark.is_quota(jsonb), stark.is_limit_range(jsonb) from public;
grant execute on function stark.is_string_map(jsonb, integer, integer), stark.is_quota(jsonb), stark.is_limit_range(jsonb)
  to authenticated, service_role;

create table public.namespaces (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  phase public.namespace_phase not null default 'active',
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  resource_quota jsonb,
  limit_range jsonb,
  -- What the non-terminal pods ask for: kept by the triggers of pods.
  resource_usage jsonb not null default '{"cpu":0,"memory":0,"storage":0,"pods":0}',
  created_by uuid default auth.uid() references public.users (id) on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint namespaces_name_key unique (name),
  constraint namespaces_name_format check (name ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'),
  constraint namespaces_labels_valid check (labels = '{}' or stark.is_string_map(labels, 100, 63)),
  constraint namespaces_annotations_valid check (annotations = '{}' or (stark.is_string_map(annotations, 100, 65536) and pg_column_size(annotations) <= 65536)),
  constraint namespaces_quota_valid check (stark.is_quota(resource_quota)),
  constraint namespaces_limit_range_valid check (stark.is_limit_range(limit_range))
) with (fillfactor = 50);
create index namespaces_created_by_idx on public.namespaces (created_by);

create table public.namespace_members (
  namespace text not null references public.namespaces (name) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  role public.stark_role not null default 'developer',
  created_at timestamptz not null default now(),
  primary key (namespace, user_id)
);
create index namespace_members_user_id_idx on public.namespace_members (user_id);

insert into public.namespaces (name, labels, annotations, created_by) values
  ('default', '{"stark.io/reserved":"true"}', '{"stark.io/description":"Pods that name no namespace"}', null),
  ('stark-system', '{"stark.io/reserved":"true","stark.io/system":"true"}', '{"stark.io/description":"Pods of the cluster itself"}', null),
  ('stark-public', '{"stark.io/reserved":"true","stark.io/public":"true"}', '{"stark.io/description":"Pods that everybody shares"}', null);

create function stark.member_namespaces() returns setof text
language sql stable security definer set search_path = '' as $$
  select m.namespace from public.namespace_members m where m.user_id = auth.uid()
$$;

create function stark.can_see_namespace(ns text) returns boolean
language sql stable security definer set search_path = '' as $$
  select stark.is_staff() or exists (
    select 1 from public.namespace_members m where m.user_id = auth.uid() and m.namespace = ns)
$$;

-- Where the caller may not create pods: a namespace with members is theirs
-- alone, one without members is open, stark-system belongs to the staff.
create function stark.closed_namespaces() returns setof text
language sql stable security definer set search_path = '' as $$
  select 'stark-system' where not stark.is_staff()
  union
  select m.namespace from public.namespace_members m
  where not stark.is_staff()
  group by m.namespace
  having not pg_catalog.bool_or(m.user_id = auth.uid() and m.role <> 'viewer')
$$;
revoke all on function stark.member_namespaces(), stark.can_see_namespace(text), stark.closed_namespaces() from public;
grant execute on function stark.member_namespaces(), stark.can_see_namespace(text), stark.closed_namespaces()
  to authenticated, service_role;

revoke all on public.namespaces, public.namespace_members from anon, authenticated, service_role;
grant select, delete,
  insert (id, name, labels, annotations, resource_quota, limit_range, created_by),
  update (phase, labels, annotations, resource_quota, limit_range)
  on public.namespaces to authenticated;
grant select, insert, update, delete on public.namespaces to service_role;
grant select, delete, insert (namespace, user_id, role), update (role) on public.namespace_members to authenticated;
grant select, insert, update, delete on public.namespace_members to service_role;

alter table public.namespaces enable row level security;
create policy namespaces_select on public.namespaces for select to authenticated
  using ((select stark.is_reader()));
create policy namespaces_insert on public.namespaces for insert to authenticated
  with check (created_by = (select auth.uid()) and (select stark.is_staff()));
create policy namespaces_update on public.namespaces for update to authenticated
  using ((select stark.is_staff())) with check ((select stark.is_staff()));
create policy namespaces_delete on public.namespaces for delete to authenticated
  using ((select stark.is_staff()));

alter table public.namespace_members enable row level security;
create policy namespace_members_select on public.namespace_members for select to authenticated
  using (user_id = (select auth.uid()) or (select stark.is_staff()) or namespace in (select stark.member_namespaces()));
create policy namespace_members_insert on public.namespace_members for insert to authenticated
  with check ((select stark.is_staff()));
create policy namespace_members_update on public.namespace_members for update to authenticated
  using ((select stark.is_staff())) with check ((select stark.is_staff()));
create policy namespace_members_delete on public.namespace_members for delete to authenticated
  using ((select stark.is_staff()));

create function stark.namespaces_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    if old.labels ->> 'stark.io/reserved' = 'true' or old.name in ('default', 'stark-system', 'stark-public') then
      raise exception using errcode = 'ST409', message = pg_catalog.format('namespace %s is reserved', old.name),
        detail = pg_catalog.jsonb_build_object('namespace', old.name)::text;
    end if;
    return old;
  end if;
  new.updated_at := now();
  if new.id <> old.id or new.name <> old.name then
    raise exception using errcode = 'ST409', message = 'the name of a namespace cannot be changed',
      detail = pg_catalog.jsonb_build_object('namespace', old.name)::text;
  end if;
  if new.phase <> old.phase then
    if old.name in ('default', 'stark-system', 'stark-public') then
      raise exception using errcode = 'ST409', message = pg_catalog.format('namespace %s is reserved', old.name),
        detail = pg_catalog.jsonb_build_object('namespace', old.name)::text;
    elsif old.phase = 'terminating' then
      raise exception using errcode = 'STTRM', message = pg_catalog.format('namespace %s is terminating', old.name),
        detail = pg_catalog.jsonb_build_object('namespace', old.name)::text;
    end if;
  end if;
  return new;
end $$;
revoke all on function stark.namespaces_guard() from public;
create trigger namespaces_guard before update or delete on public.namespaces
  for each row execute function stark.namespaces_guard();
