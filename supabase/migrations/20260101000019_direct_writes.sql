-- What a user can write about pods and nodes directly, once more: figures that
-- stay within what sums can hold, ids that nobody gets twice, and a history of
-- every change that somebody has wished for.

-- The bounds that the API has. Without them the requests of ten thousand pods in
-- one namespace would pass the range of its usage, and stop everybody there.
create function stark.within_bounds(j jsonb, most jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where case when pg_catalog.jsonb_typeof(e.value) = 'number' then e.value > coalesce(most -> e.key, e.value) else false end)
$$;
revoke all on function stark.within_bounds(jsonb, jsonb) from public;
grant execute on function stark.within_bounds(jsonb, jsonb) to authenticated, service_role;

-- As before, and no more than a node can ever have.
create or replace function stark.pods_known_resources() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  most constant jsonb := '{"cpu":1000000,"memory":16777216,"storage":16777216}';
begin
  if pg_catalog.jsonb_typeof(new.resource_requests) = 'object' then
    if new.resource_requests - '{cpu,memory,storage}'::text[] <> '{}' then
      perform stark.refuse_field('resourceRequests', 'UNKNOWN_FIELD', 'knows cpu, memory and storage');
    elsif not stark.within_bounds(new.resource_requests, most) then
      perform stark.refuse_field('resourceRequests', 'INVALID_VALUE', pg_catalog.format('must be at most %s', most));
    end if;
  end if;
  if pg_catalog.jsonb_typeof(new.resource_limits) = 'object' then
    if new.resource_limits - '{cpu,memory,storage}'::text[] <> '{}' then
      perform stark.refuse_field('resourceLimits', 'UNKNOWN_FIELD', 'knows cpu, memory and storage');
    elsif not stark.within_bounds(new.resource_limits, most) then
      perform stark.refuse_field('resourceLimits', 'INVALID_VALUE', pg_catalog.format('must be at most %s', most));
    end if;
  end if;
  return new;
end $$;

-- Rows of former days are not asked.
alter table public.nodes add constraint nodes_allocatable_bounds check (
  stark.within_bounds(allocatable, '{"cpu":1000000,"memory":16777216,"storage":16777216,"pods":100000}')) not valid;

-- An id is used once, also after its pod is gone: else its history would become
-- that of another pod, and an agent that remembers it would never start it.
create or replace function stark.pods_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  who uuid := stark.actor();
  sums jsonb;
  most integer;
  used uuid;
begin
  select pg_catalog.jsonb_object_agg(s.namespace, pg_catalog.jsonb_build_object('pods', s.pods, 'cpu', s.cpu, 'memory', s.memory, 'storage', s.storage))
  into sums
  from (
    select c.namespace, pg_catalog.count(*) as pods,
      pg_catalog.sum((c.resource_requests ->> 'cpu')::bigint) as cpu,
      pg_catalog.sum((c.resource_requests ->> 'memory')::bigint) as memory,
      pg_catalog.sum((c.resource_requests ->> 'storage')::bigint) as storage
    from changed c
    where c.status not in ('succeeded', 'stopped', 'failed', 'evicted')
    group by c.namespace) s;
  if sums is not null then
    perform stark.charge(array(select pg_catalog.jsonb_object_keys(sums)), sums, true);
    -- A safety net over all namespaces; parallel inserts into different ones may pass it by a few.
    select c.max_total_pods into most from public.cluster_config c;
    if (select pg_catalog.sum((n.resource_usage ->> 'pods')::bigint) from public.namespaces n) > most then
      raise exception using errcode = 'STQUO', message = pg_catalog.format('the cluster allows %s pods', most),
        detail = pg_catalog.jsonb_build_object('resource', 'pods', 'hard', most)::text;
    end if;
  end if;
  -- The limit keeps this one look at the index for each row.
  select c.id into used
  from changed c cross join lateral (select 1 from public.pod_history h where h.pod_id = c.id limit 1) h
  limit 1;
  if found then
    raise exception using errcode = 'ST409', message = 'the id of a pod is used once',
      detail = pg_catalog.jsonb_build_object('podId', used)::text;
  end if;
  insert into public.pod_history (pod_id, namespace, pod_created_by, action, actor_id, new_status, new_version, new_node_id, incarnation, reason, message)
  select c.id, c.namespace, c.created_by, 'created', who, c.status, c.pack_version, c.node_id, c.incarnation, c.reason, c.status_message
  from changed c;
  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'I' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

-- Also what changes no state is a change: labels, annotations, the wish to stop.
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
      when n.pack_id <> o.pack_id then 'rolled_back'
      when n.status = o.status then case when n.restarts > o.restarts then 'restarted' else 'updated' end
      when n.status = 'scheduled' then 'scheduled'
      when n.status = 'starting' then case when n.restarts > o.restarts then 'restarted' else 'started' end
      when n.status = 'running' then 'ready'
      when n.status in ('stopped', 'succeeded', 'failed', 'evicted') then n.status::text
      else 'updated'
    end)::public.pod_action,
    who, o.status, n.status, o.pack_version, n.pack_version, o.node_id, n.node_id, n.incarnation,
    case when n.node_id is not null then n.restarts + 1 end, n.reason, n.status_message,
    case when w.wishes = '{}' then '{}'::jsonb else pg_catalog.jsonb_build_object('changed', w.wishes) end
  from changed n join previous o on o.id = n.id
    cross join lateral (select pg_catalog.array_remove(array[
      case when n.labels is distinct from o.labels then 'labels' end,
      case when n.annotations is distinct from o.annotations then 'annotations' end,
      case when n.stop_requested_at is distinct from o.stop_requested_at then 'stopRequestedAt' end], null) as wishes) w
  where n.status <> o.status or n.pack_id <> o.pack_id or n.node_id is distinct from o.node_id
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation or w.wishes <> '{}';

  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'U' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
