-- What happened to pods: written by the triggers of 20260101000013_pod_rules
-- alone, never altered. It has no foreign keys, so that it outlives its pods
-- and users, and only one index beside its key: it is read by pod, and every
-- move of a pod writes it.

create type public.pod_action as enum (
  'created', 'scheduled', 'started', 'ready', 'stopped', 'succeeded', 'failed',
  'restarted', 'rolled_back', 'evicted', 'updated', 'deleted');

create table public.pod_history (
  id uuid primary key default gen_random_uuid(),
  pod_id uuid not null,
  namespace text not null,
  pod_created_by uuid not null,
  action public.pod_action not null,
  actor_id uuid,
  previous_status public.pod_status,
  new_status public.pod_status,
  previous_version text,
  new_version text,
  previous_node_id uuid,
  new_node_id uuid,
  incarnation integer not null,
  attempt integer,
  reason text,
  message text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp()
);
create index pod_history_pod_id_idx on public.pod_history (pod_id, created_at desc);

revoke all on public.pod_history from anon, authenticated, service_role;
grant select on public.pod_history to authenticated, service_role;

alter table public.pod_history enable row level security;
create policy pod_history_select on public.pod_history for select to authenticated
  using ((select stark.is_reader()) and (pod_created_by = (select auth.uid()) or (select stark.is_staff())));

create function stark.append_only() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'ST403', message = pg_catalog.format('rows of %s cannot be changed', tg_table_name);
end $$;
revoke all on function stark.append_only() from public;
create trigger pod_history_append_only before update on public.pod_history
  for each statement execute function stark.append_only();
