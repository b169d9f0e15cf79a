-- Eviction: a pod is told to leave its node. It stops there within its grace, and
-- when its run has ended it is pending again in its next incarnation; one whose
-- restart policy is Never ends as evicted. The order is a column of its own, since
-- reason and message say what happened last, and both may change until the run ends.

alter table public.pods
  add column eviction jsonb,
  add constraint pods_eviction_valid check (eviction is null or
    jsonb_typeof(eviction) = 'object' and pg_column_size(eviction) <= 16384
    and coalesce(eviction ->> 'reason' in ('Evicted', 'Preempted'), false) and eviction ? 'since');

-- As before, and what was evicted may go back to pending when it has stopped.
create or replace function stark.pod_can_move(old_status public.pod_status, new_status public.pod_status, raised boolean) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case old_status
    when 'pending' then new_status in ('scheduled', 'stopped', 'failed', 'evicted')
    when 'scheduled' then new_status in ('starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'starting' then new_status in ('running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'running' then new_status in ('starting', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'stopping' then new_status in ('stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'unknown' then new_status in ('scheduled', 'starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted')
      or (new_status = 'pending' and raised)
    else false
  end
$$;

-- An eviction is ordered once and ends with the incarnation that it was for. What a
-- user has stopped does not come back.
create function stark.pods_guard_eviction() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.status = 'pending' and old.status <> 'pending'
     and (old.stop_requested_at is not null or old.status = 'stopping' and old.eviction is null) then
    raise exception using errcode = 'STINV', message = 'a pod that was stopped does not run again',
      detail = pg_catalog.jsonb_build_object('podId', old.id, 'from', old.status, 'to', new.status)::text;
  end if;
  if new.status = 'pending' or new.incarnation > old.incarnation then
    new.eviction := null;
  elsif old.eviction is not null then
    new.eviction := old.eviction;
  end if;
  return new;
end $$;
revoke all on function stark.pods_guard_eviction() from public;
create trigger pods_guard_eviction before update on public.pods
  for each row when (old.eviction is not null or new.eviction is not null or old.status = 'stopping')
  execute function stark.pods_guard_eviction();

-- As before, and the beginning of an eviction is told as such, with whoever is behind it.
create or replace function stark.pods_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  who uuid := stark.actor();
  sums jsonb;
begin
  select pg_catalog.jsonb_object_agg(s.namespace, pg_catalog.jsonb_build_object('pods', -s.pods, 'cpu', -s.cpu, 'memory', -s.memory, 'storage', -s.storage))
  into sums
  from (
    select o.namespace, pg_catalog.count(*) as pods,
      coalesce(pg_catalog.sum((o.resource_requests ->> 'cpu')::bigint), 0) as cpu,
      coalesce(pg_catalog.sum((o.resource_requests ->> 'memory')::bigint), 0) as memory,
      coalesce(pg_catalog.sum((o.resource_requests ->> 'storage')::bigint), 0) as storage
    from changed n join previous o on o.id = n.id
    where n.status in ('succeeded', 'stopped', 'failed', 'evicted') and o.status <> n.status
    group by o.namespace) s;
  if sums is not null then
    perform stark.charge(array(select pg_catalog.jsonb_object_keys(sums)), sums, false);
  end if;

  insert into public.pod_history (pod_id, namespace, pod_created_by, action, actor_id, previous_status, new_status,
    previous_version, new_version, previous_node_id, new_node_id, incarnation, attempt, reason, message, metadata)
  select n.id, n.namespace, n.created_by,
    (case
      when n.eviction is not null and o.eviction is null then 'evicted'
      when n.pack_id <> o.pack_id then 'rolled_back'
      when n.status = o.status then case when n.restarts > o.restarts then 'restarted' else 'updated' end
      when n.status = 'scheduled' then 'scheduled'
      when n.status = 'starting' then case when n.restarts > o.restarts then 'restarted' else 'started' end
      when n.status = 'running' then 'ready'
      when n.status in ('stopped', 'succeeded', 'failed', 'evicted') then n.status::text
      else 'updated'
    end)::public.pod_action,
    coalesce(who, case when n.pack_id = o.next_pack_id then o.next_by end,
      case when o.eviction is null then (n.eviction ->> 'by')::uuid end),
    o.status, n.status, o.pack_version, n.pack_version, o.node_id, n.node_id, n.incarnation,
    case when n.node_id is not null then n.restarts + 1 end,
    case when n.pack_id = o.next_pack_id then coalesce(n.reason, o.next_reason) else n.reason end, n.status_message,
    case when w.wishes = '{}' then '{}'::jsonb else pg_catalog.jsonb_build_object('changed', w.wishes) end
      || case when n.eviction is not null and o.eviction is null then pg_catalog.jsonb_build_object('eviction', n.eviction) else '{}'::jsonb end
  from changed n join previous o on o.id = n.id
    cross join lateral (select pg_catalog.array_remove(array[
      case when n.labels is distinct from o.labels then 'labels' end,
      case when n.annotations is distinct from o.annotations then 'annotations' end,
      case when n.next_pack_id is distinct from o.next_pack_id then 'rollout' end,
      case when n.stop_requested_at is distinct from o.stop_requested_at then 'stopRequestedAt' end], null) as wishes) w
  where n.status <> o.status or n.pack_id <> o.pack_id or n.node_id is distinct from o.node_id
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation or w.wishes <> '{}' or (n.eviction is null) <> (o.eviction is null);

  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'U' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
