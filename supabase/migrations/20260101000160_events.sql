-- What happened, for as long as it is kept: the history of nodes beside that of
-- pods, how long both last, and the moves of runs as one table.

-- The table of core/pod, cell by cell: forward only.
create function stark.run_can_move(old_status public.run_status, new_status public.run_status) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case old_status
    when 'assigned' then new_status in ('starting', 'running', 'stopping', 'exited', 'lost')
    when 'starting' then new_status in ('running', 'stopping', 'exited', 'lost')
    when 'running' then new_status in ('stopping', 'exited', 'lost')
    when 'stopping' then new_status in ('exited', 'lost')
    else false
  end
$$;
revoke all on function stark.run_can_move(public.run_status, public.run_status) from public;
grant execute on function stark.run_can_move(public.run_status, public.run_status) to service_role;

create or replace function stark.pod_runs_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (new.pod_id, new.incarnation, new.attempt) is distinct from (old.pod_id, old.incarnation, old.attempt) then
    raise exception using errcode = 'STINV', message = 'the key of a run cannot be changed';
  end if;
  if new.status <> old.status and not stark.run_can_move(old.status, new.status) then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('a run cannot move from %s to %s', old.status, new.status),
      detail = pg_catalog.jsonb_build_object('podId', old.pod_id, 'from', old.status, 'to', new.status)::text;
  end if;
  return new;
end $$;

alter table public.cluster_config
  add column pod_history_retention_ms bigint not null default 2592000000,
  -- A watch that goes on from a cursor asks the history what was deleted meanwhile.
  add constraint cluster_config_history_retention check (pod_history_retention_ms between 3600000 and 315360000000);
grant update (pod_history_retention_ms) on public.cluster_config to authenticated;

-- Rows come in the order of their time, so that this index grows at its end alone.
create index pod_history_created_at_idx on public.pod_history (created_at);

-- What happened to nodes, written by the trigger below alone. Whoever may read
-- nodes may read all of it, so that the servers read it for them.
create table stark.node_history (
  id uuid primary key default gen_random_uuid(),
  node_id uuid not null,
  node_name text not null,
  action text not null,
  actor_id uuid,
  previous_status public.node_status,
  new_status public.node_status,
  reason text,
  message text,
  created_at timestamptz not null default clock_timestamp(),
  constraint node_history_action_known check (action in ('registered', 'status', 'condition', 'cordoned', 'uncordoned', 'deleted'))
);
create index node_history_created_at_idx on stark.node_history (created_at);
alter table stark.node_history enable row level security;
revoke all on stark.node_history from public, anon, authenticated, service_role;
grant select on stark.node_history to service_role;
create trigger node_history_append_only before update on stark.node_history
  for each statement execute function stark.append_only();

create function stark.nodes_record() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  who uuid := stark.actor();
begin
  if tg_op = 'INSERT' then
    insert into stark.node_history (node_id, node_name, action, actor_id, new_status)
    values (new.id, new.name, 'registered', coalesce(who, new.registered_by), new.status);
    return null;
  end if;
  if tg_op = 'DELETE' then
    insert into stark.node_history (node_id, node_name, action, actor_id, previous_status)
    values (old.id, old.name, 'deleted', who, old.status);
    return null;
  end if;
  if new.status <> old.status then
    insert into stark.node_history (node_id, node_name, action, actor_id, previous_status, new_status, reason)
    values (new.id, new.name, 'status', who, old.status, new.status,
      case new.status when 'suspect' then 'ConnectionLost' when 'unhealthy' then 'NoHeartbeat'
        when 'offline' then case when old.status = 'unhealthy' then 'NodeLost' else 'NodeLeft' end end);
  end if;
  if new.unschedulable <> old.unschedulable then
    insert into stark.node_history (node_id, node_name, action, actor_id, previous_status, new_status)
    values (new.id, new.name, case when new.unschedulable then 'cordoned' else 'uncordoned' end, who, old.status, new.status);
  end if;
  insert into stark.node_history (node_id, node_name, action, actor_id, previous_status, new_status, reason, message)
  select new.id, new.name, 'condition', who, old.status, new.status,
    coalesce(n.c ->> 'reason', case when n.holds then 'Begins' else 'Ends' end),
    pg_catalog.concat_ws(': ', n.kind || case when n.holds then ' holds' else ' holds no longer' end, nullif(n.c ->> 'message', ''))
  from (
    select coalesce(a.c ->> 'type', b.c ->> 'type') as kind, a.c, coalesce(a.c -> 'status' = 'true', false) as holds,
      coalesce(b.c -> 'status' = 'true', false) as held
    from (select c from pg_catalog.jsonb_array_elements(new.conditions) c) a
      full join (select c from pg_catalog.jsonb_array_elements(old.conditions) c) b on a.c ->> 'type' = b.c ->> 'type') n
  where n.holds <> n.held;
  return null;
end $$;
revoke all on function stark.nodes_record() from public;
create trigger nodes_record after insert or delete on public.nodes
  for each row execute function stark.nodes_record();
create trigger nodes_record_changes after update on public.nodes
  for each row when (old.status <> new.status or old.unschedulable <> new.unschedulable or old.conditions <> new.conditions)
  execute function stark.nodes_record();

-- Removes what is older than it is kept, at most so many rows of each; the caller
-- goes on until it gets less. Only the servers' upkeep may.
create function stark.purge_history(most integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  upto timestamptz := (select pg_catalog.now() - c.pod_history_retention_ms * interval '1 millisecond' from public.cluster_config c);
  pods integer;
  nodes integer;
begin
  delete from public.pod_history h using (
    select o.id from public.pod_history o where o.created_at < upto order by o.created_at limit most for update skip locked) old
  where h.id = old.id;
  get diagnostics pods = row_count;
  delete from stark.node_history h using (
    select o.id from stark.node_history o where o.created_at < upto order by o.created_at limit most for update skip locked) old
  where h.id = old.id;
  get diagnostics nodes = row_count;
  return greatest(pods, nodes);
end $$;
revoke all on function stark.purge_history(integer) from public;
grant execute on function stark.purge_history(integer) to service_role;
