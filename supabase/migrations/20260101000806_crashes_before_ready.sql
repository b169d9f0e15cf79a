-- As before, and an attempt that ends before it was ready and will be followed by another
-- is told as well: status and restarts stay the same then, so that a pod that never came
-- up left restarts without a cause in its history, and no warning.
create or replace function stark.pods_updated() returns trigger
language plpgsql security definer
set search_path = ''
set enable_nestloop to off
set jit to off
as $$
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
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation or w.wishes <> '{}' or (n.eviction is null) <> (o.eviction is null)
    or (n.reason = 'CrashLoopBackOff' and o.reason is distinct from n.reason);

  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'U' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
