-- Runs: attempts to fulfil a pod on a node, written by the servers alone. They
-- log no change of their own: one that matters changes its pod too.

create type public.run_status as enum ('assigned', 'starting', 'running', 'stopping', 'exited', 'lost');

create table public.pod_runs (
  pod_id uuid not null references public.pods (id) on delete cascade,
  incarnation integer not null,
  attempt integer not null,
  node_id uuid references public.nodes (id) on delete set null,
  pack_id uuid not null,
  status public.run_status not null default 'assigned',
  termination jsonb,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ready_at timestamptz,
  finished_at timestamptz,
  primary key (pod_id, incarnation, attempt),
  constraint pod_runs_key_positive check (incarnation >= 1 and attempt >= 1),
  constraint pod_runs_termination_object check (jsonb_typeof(termination) = 'object' and pg_column_size(termination) <= 131072)
) with (fillfactor = 80);
create index pod_runs_node_id_idx on public.pod_runs (node_id);

revoke all on public.pod_runs from anon, authenticated, service_role;
grant select on public.pod_runs to authenticated;
grant select, insert, update, delete on public.pod_runs to service_role;

-- Whoever sees the pod sees its runs: the inner select is under the policies of pods.
alter table public.pod_runs enable row level security;
create policy pod_runs_select on public.pod_runs for select to authenticated
  using (exists (select 1 from public.pods p where p.id = pod_id));

-- A run only moves forward, and what has ended stays as it ended.
create function stark.pod_runs_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (new.pod_id, new.incarnation, new.attempt) is distinct from (old.pod_id, old.incarnation, old.attempt) then
    raise exception using errcode = 'STINV', message = 'the key of a run cannot be changed';
  end if;
  if new.status is distinct from old.status and (old.status in ('exited', 'lost') or new.status < old.status) then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('a run cannot move from %s to %s', old.status, new.status),
      detail = pg_catalog.jsonb_build_object('podId', old.pod_id, 'from', old.status, 'to', new.status)::text;
  end if;
  return new;
end $$;
revoke all on function stark.pod_runs_guard() from public;
create trigger pod_runs_guard before update on public.pod_runs
  for each row when (old.status is distinct from new.status
    or (old.pod_id, old.incarnation, old.attempt) is distinct from (new.pod_id, new.incarnation, new.attempt))
  execute function stark.pod_runs_guard();
