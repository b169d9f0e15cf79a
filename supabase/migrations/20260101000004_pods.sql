-- Pods: the wish that one pack version runs, and its state. The rules that hold
-- a pod's life together (moves, defaults, quotas, history) follow in
-- 20260101000013_pod_rules, when all tables they read exist.

create type public.pod_status as enum (
  'pending', 'scheduled', 'starting', 'running', 'stopping', 'unknown',
  'succeeded', 'stopped', 'failed', 'evicted');
create type public.restart_policy as enum ('Always', 'OnFailure', 'Never');
create type public.pod_isolation as enum ('process', 'shared');

create table public.pods (
  id uuid primary key default gen_random_uuid(),
  pack_id uuid not null references public.packs (id) on delete restrict,
  pack_name text not null,
  pack_version text not null,
  runtime_tag public.runtime_tag not null,
  node_id uuid references public.nodes (id) on delete set null,
  status public.pod_status not null default 'pending',
  reason text,
  status_message text,
  resource_requests jsonb not null default '{}',
  resource_limits jsonb not null default '{}',
  restart_policy public.restart_policy not null default 'OnFailure',
  isolation public.pod_isolation not null default 'process',
  env jsonb not null default '{}',
  termination_grace_period_seconds integer not null default 30,
  active_deadline_seconds integer,
  metadata jsonb not null default '{}',
  incarnation integer not null default 1,
  restarts integer not null default 0,
  last_termination jsonb,
  stop_requested_at timestamptz,
  created_by uuid not null default auth.uid() references public.users (id),
  created_at timestamptz not null default now(),
  scheduled_at timestamptz,
  started_at timestamptz,
  stopped_at timestamptz,
  updated_at timestamptz not null default now(),
  constraint pods_reason_length check (char_length(reason) <= 128),
  constraint pods_status_message_length check (char_length(status_message) <= 4096),
  constraint pods_env_object check (env = '{}' or (jsonb_typeof(env) = 'object' and pg_column_size(env) <= 65536
    and not jsonb_path_exists(env, '$.keyvalue() ? (@.value.type() != "string" || !(@.key like_regex "^[A-Za-z_][A-Za-z0-9_]{0,127}$"))'))),
  constraint pods_grace_period_range check (termination_grace_period_seconds between 0 and 3600),
  constraint pods_active_deadline_range check (active_deadline_seconds between 1 and 31536000),
  constraint pods_metadata_object check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536),
  constraint pods_incarnation_positive check (incarnation >= 1),
  constraint pods_restarts_positive check (restarts >= 0),
  constraint pods_last_termination_object check (jsonb_typeof(last_termination) = 'object' and pg_column_size(last_termination) <= 131072)
) with (fillfactor = 70);
create index pods_pack_id_idx on public.pods (pack_id);
create index pods_node_id_idx on public.pods (node_id);
create index pods_created_by_idx on public.pods (created_by, created_at desc);
-- The predicate names stopped_at and not status, so that a change of status
-- alone can stay on its page.
create index pods_stopped_at_idx on public.pods (stopped_at) where stopped_at is not null;

revoke all on public.pods from anon, authenticated, service_role;
grant select, delete,
  insert (id, pack_id, pack_name, pack_version, resource_requests, resource_limits, restart_policy, isolation,
    env, termination_grace_period_seconds, active_deadline_seconds, metadata, created_by),
  update (stop_requested_at)
  on public.pods to authenticated;
grant select, insert, update, delete on public.pods to service_role;

alter table public.pods enable row level security;
create policy pods_select on public.pods for select to authenticated
  using ((select stark.is_reader()) and (created_by = (select auth.uid()) or (select stark.is_staff())));
create policy pods_insert on public.pods for insert to authenticated
  with check (created_by = (select auth.uid()) and (select stark.has_role('{admin,operator,developer}')));
create policy pods_update on public.pods for update to authenticated
  using ((select stark.is_staff()) or (created_by = (select auth.uid()) and (select stark.has_role('{developer}'))))
  with check ((select stark.is_staff()) or (created_by = (select auth.uid()) and (select stark.has_role('{developer}'))));
create policy pods_delete on public.pods for delete to authenticated
  using (status in ('succeeded', 'stopped', 'failed', 'evicted')
    and ((select stark.is_staff()) or (created_by = (select auth.uid()) and (select stark.has_role('{developer}')))));
