-- Nodes: Node.js hosts and browser tabs. Heartbeats are not written here but in
-- stark.node_leases: status and last_heartbeat change at transitions only.

create type public.runtime_type as enum ('node', 'browser');
create type public.node_status as enum ('online', 'suspect', 'unhealthy', 'offline', 'draining', 'maintenance');

create function stark.is_capacity(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where e.key not in ('cpu', 'memory', 'storage', 'pods')
       or pg_catalog.jsonb_typeof(e.value) <> 'number'
       or e.value::text !~ '^[0-9]{1,15}$')
$$;
revoke all on function stark.is_capacity(jsonb) from public;
grant execute on function stark.is_capacity(jsonb) to authenticated, service_role;

create table public.nodes (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  runtime_type public.runtime_type not null,
  status public.node_status not null default 'offline',
  last_heartbeat timestamptz,
  capabilities jsonb not null default '{}',
  conditions jsonb not null default '[]',
  registered_by uuid default auth.uid() references public.users (id) on delete set null,
  shared boolean not null default false,
  ip_address text,
  user_agent text,
  allocatable jsonb not null default '{"cpu":1000,"memory":1024,"storage":10240,"pods":110}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint nodes_name_key unique (name),
  constraint nodes_name_format check (char_length(name) <= 253 and name ~ '^[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?$'),
  constraint nodes_capabilities_object check (jsonb_typeof(capabilities) = 'object' and pg_column_size(capabilities) <= 16384),
  constraint nodes_conditions_array check (jsonb_typeof(conditions) = 'array' and pg_column_size(conditions) <= 65536),
  constraint nodes_allocatable_valid check (stark.is_capacity(allocatable)),
  constraint nodes_ip_address_length check (char_length(ip_address) <= 64),
  constraint nodes_user_agent_length check (char_length(user_agent) <= 512)
);
create index nodes_registered_by_idx on public.nodes (registered_by);

revoke all on public.nodes from anon, authenticated, service_role;
grant select, delete,
  insert (id, name, runtime_type, capabilities, allocatable, registered_by),
  update (allocatable)
  on public.nodes to authenticated;
grant select, insert, update, delete on public.nodes to service_role;

alter table public.nodes enable row level security;
create policy nodes_select on public.nodes for select to authenticated
  using ((select stark.is_reader()));
create policy nodes_insert on public.nodes for insert to authenticated
  with check (registered_by = (select auth.uid()) and (select stark.has_role('{admin,operator,developer}')));
create policy nodes_update on public.nodes for update to authenticated
  using ((select stark.is_staff()) or (registered_by = (select auth.uid()) and (select stark.has_role('{developer}'))))
  with check ((select stark.is_staff()) or (registered_by = (select auth.uid()) and (select stark.has_role('{developer}'))));
create policy nodes_delete on public.nodes for delete to authenticated
  using ((select stark.is_staff()) or (registered_by = (select auth.uid()) and (select stark.has_role('{developer}'))));

-- A node that a user registers serves everybody only if that user is staff.
create function stark.nodes_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    if current_user = 'authenticated' then
      new.shared := stark.is_staff();
    end if;
    return new;
  end if;
  new.updated_at := now();
  if (new.id, new.name, new.created_at) is distinct from (old.id, old.name, old.created_at) then
    raise exception using errcode = 'ST409', message = 'the name of a node cannot be changed',
      detail = pg_catalog.jsonb_build_object('nodeId', old.id)::text;
  end if;
  return new;
end $$;
revoke all on function stark.nodes_guard() from public;
create trigger nodes_guard before insert or update on public.nodes
  for each row execute function stark.nodes_guard();
