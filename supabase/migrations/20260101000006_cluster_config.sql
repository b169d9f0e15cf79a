-- Settings of the whole cluster: one row, named default.

create type public.scheduling_policy as enum ('spread', 'binpack', 'random', 'affinity', 'least_loaded');

create function stark.is_resources(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where e.key not in ('cpu', 'memory', 'storage')
       or pg_catalog.jsonb_typeof(e.value) <> 'number'
       or e.value::text !~ '^[0-9]{1,15}$')
$$;
revoke all on function stark.is_resources(jsonb) from public;
grant execute on function stark.is_resources(jsonb) to authenticated, service_role;

create table public.cluster_config (
  name text primary key default 'default',
  max_pods_per_node integer not null default 110,
  default_namespace text not null default 'default',
  scheduling_policy public.scheduling_policy not null default 'spread',
  default_resource_requests jsonb not null default '{"cpu":100,"memory":128}',
  default_resource_limits jsonb not null default '{"cpu":500,"memory":512}',
  max_total_pods integer not null default 10000,
  max_total_nodes integer not null default 1000,
  heartbeat_interval_ms integer not null default 10000,
  heartbeat_timeout_ms integer not null default 30000,
  eviction_timeout_ms integer not null default 60000,
  pod_termination_grace_period_ms integer not null default 30000,
  terminal_pod_retention_ms bigint not null default 86400000,
  enable_preemption boolean not null default true,
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint cluster_config_one_row check (name = 'default'),
  constraint cluster_config_counts check (max_pods_per_node > 0 and max_total_pods > 0 and max_total_nodes > 0),
  constraint cluster_config_times check (heartbeat_interval_ms > 0 and heartbeat_timeout_ms > heartbeat_interval_ms
    and eviction_timeout_ms >= 0 and pod_termination_grace_period_ms >= 0 and terminal_pod_retention_ms >= 0),
  constraint cluster_config_resources check (stark.is_resources(default_resource_requests) and stark.is_resources(default_resource_limits)
    and default_resource_requests ?& '{cpu,memory}' and default_resource_limits ?& '{cpu,memory}'
    and (default_resource_requests ->> 'cpu')::bigint <= (default_resource_limits ->> 'cpu')::bigint
    and (default_resource_requests ->> 'memory')::bigint <= (default_resource_limits ->> 'memory')::bigint),
  constraint cluster_config_annotations_object check (jsonb_typeof(annotations) = 'object')
);
insert into public.cluster_config default values;

revoke all on public.cluster_config from anon, authenticated, service_role;
grant select,
  update (max_pods_per_node, default_namespace, scheduling_policy, default_resource_requests, default_resource_limits,
    max_total_pods, max_total_nodes, heartbeat_interval_ms, heartbeat_timeout_ms, eviction_timeout_ms,
    pod_termination_grace_period_ms, terminal_pod_retention_ms, enable_preemption, annotations)
  on public.cluster_config to authenticated;
grant select, update on public.cluster_config to service_role;

alter table public.cluster_config enable row level security;
create policy cluster_config_select on public.cluster_config for select to authenticated
  using ((select stark.is_staff()));
create policy cluster_config_update on public.cluster_config for update to authenticated
  using ((select stark.is_staff())) with check ((select stark.is_staff()));

create trigger cluster_config_touch before update on public.cluster_config
  for each row execute function stark.touch_updated_at();
