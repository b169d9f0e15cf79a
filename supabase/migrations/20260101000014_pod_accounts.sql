-- After each statement on pods: usage and quota of the namespaces, history,
-- change log. Each is one set-based statement whatever the number of rows.

create function stark.actor() returns uuid
language sql stable set search_path = '' as $$
  select coalesce(auth.uid(), nullif(pg_catalog.current_setting('stark.actor', true), '')::uuid)
$$;

-- Adds the sums to the namespaces' usage. The rows are locked in the order of
-- their names, so that statements over several namespaces cannot deadlock, and
-- read after the lock, so that the check is exact however many insert at once.
create function stark.charge(names text[], sums jsonb, enforce boolean) returns void
language plpgsql set search_path = '' as $$
declare
  n record;
begin
  perform 1 from public.namespaces s where s.name = any (names) order by s.name for no key update;
  if enforce then
    for n in
      select s.name, s.phase, r.resource, (s.resource_quota #>> array['hard', r.resource])::bigint as hard,
        coalesce((s.resource_usage ->> r.resource)::bigint, 0) as used, (sums #>> array[s.name, r.resource])::bigint as asked
      from public.namespaces s, pg_catalog.unnest(array['pods', 'cpu', 'memory', 'storage']) r (resource)
      where s.name = any (names)
      order by s.name
    loop
      if n.phase = 'terminating' then
        raise exception using errcode = 'STTRM', message = pg_catalog.format('namespace %s is terminating', n.name),
          detail = pg_catalog.jsonb_build_object('namespace', n.name)::text;
      elsif n.asked > 0 and n.used + n.asked > n.hard then
        raise exception using errcode = 'STQUO',
          message = pg_catalog.format('quota of namespace %s exceeded: %s (requested: %s, remaining: %s)',
            n.name, n.resource, n.asked, greatest(n.hard - n.used, 0)),
          detail = pg_catalog.jsonb_build_object('namespace', n.name, 'resource', n.resource,
            'requested', n.asked, 'remaining', greatest(n.hard - n.used, 0), 'hard', n.hard)::text;
      end if;
    end loop;
  end if;
  update public.namespaces s
  set resource_usage = pg_catalog.jsonb_build_object(
    'cpu', greatest(0, coalesce((s.resource_usage ->> 'cpu')::bigint, 0) + (sums #>> array[s.name, 'cpu'])::bigint),
    'memory', greatest(0, coalesce((s.resource_usage ->> 'memory')::bigint, 0) + (sums #>> array[s.name, 'memory'])::bigint),
    'storage', greatest(0, coalesce((s.resource_usage ->> 'storage')::bigint, 0) + (sums #>> array[s.name, 'storage'])::bigint),
    'pods', greatest(0, coalesce((s.resource_usage ->> 'pods')::bigint, 0) + (sums #>> array[s.name, 'pods'])::bigint))
  where s.name = any (names);
end $$;
revoke all on function stark.actor(), stark.charge(text[], jsonb, boolean) from public;

create function stark.pods_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  who uuid := stark.actor();
  sums jsonb;
  most integer;
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
  insert into public.pod_history (pod_id, namespace, pod_created_by, action, actor_id, new_status, new_version, new_node_id, incarnation, reason, message)
  select c.id, c.namespace, c.created_by, 'created', who, c.status, c.pack_version, c.node_id, c.incarnation, c.reason, c.status_message
  from changed c;
  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'I' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create function stark.pods_updated() returns trigger
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
    previous_version, new_version, previous_node_id, new_node_id, incarnation, attempt, reason, message)
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
    case when n.node_id is not null then n.restarts + 1 end, n.reason, n.status_message
  from changed n join previous o on o.id = n.id
  where n.status <> o.status or n.pack_id <> o.pack_id or n.node_id is distinct from o.node_id
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation;

  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'U' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create function stark.pods_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  who uuid := stark.actor();
  sums jsonb;
begin
  select pg_catalog.jsonb_object_agg(s.namespace, pg_catalog.jsonb_build_object('pods', -s.pods, 'cpu', -s.cpu, 'memory', -s.memory, 'storage', -s.storage))
  into sums
  from (
    select c.namespace, pg_catalog.count(*) as pods,
      coalesce(pg_catalog.sum((c.resource_requests ->> 'cpu')::bigint), 0) as cpu,
      coalesce(pg_catalog.sum((c.resource_requests ->> 'memory')::bigint), 0) as memory,
      coalesce(pg_catalog.sum((c.resource_requests ->> 'storage')::bigint), 0) as storage
    from changed c
    where c.status not in ('succeeded', 'stopped', 'failed', 'evicted')
    group by c.namespace) s;
  if sums is not null then
    perform stark.charge(array(select pg_catalog.jsonb_object_keys(sums)), sums, false);
  end if;
  insert into public.pod_history (pod_id, namespace, pod_created_by, action, actor_id, previous_status, previous_version, previous_node_id, incarnation)
  select c.id, c.namespace, c.created_by, 'deleted', who, c.status, c.pack_version, c.node_id, c.incarnation
  from changed c;
  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'D' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
revoke all on function stark.pods_inserted(), stark.pods_updated(), stark.pods_deleted() from public;

create trigger pods_inserted after insert on public.pods referencing new table as changed
  for each statement execute function stark.pods_inserted();
create trigger pods_updated after update on public.pods referencing old table as previous new table as changed
  for each statement execute function stark.pods_updated();
create trigger pods_deleted after delete on public.pods referencing old table as changed
  for each statement execute function stark.pods_deleted();

-- A node with live pods is drained first; else they would be lost without a word.
create function stark.nodes_guard_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  live bigint;
begin
  select pg_catalog.count(*) into live from public.pods p
  where p.node_id = old.id and p.status not in ('succeeded', 'stopped', 'failed', 'evicted');
  if live > 0 then
    raise exception using errcode = 'ST409', message = pg_catalog.format('the node still has %s pods', live),
      detail = pg_catalog.jsonb_build_object('nodeId', old.id, 'pods', live)::text;
  end if;
  return old;
end $$;

create function stark.nodes_guard_count() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  most integer;
begin
  select c.max_total_nodes into most from public.cluster_config c;
  if (select pg_catalog.count(*) from public.nodes) > most then
    raise exception using errcode = 'STQUO', message = pg_catalog.format('the cluster allows %s nodes', most),
      detail = pg_catalog.jsonb_build_object('resource', 'nodes', 'hard', most)::text;
  end if;
  return null;
end $$;
revoke all on function stark.nodes_guard_delete(), stark.nodes_guard_count() from public;
create trigger nodes_guard_delete before delete on public.nodes
  for each row execute function stark.nodes_guard_delete();
create trigger nodes_guard_count after insert on public.nodes
  for each statement execute function stark.nodes_guard_count();

-- Ended pods stay readable for the configured time; this removes the older
-- ones, at most so many at once, and says how many went.
create function stark.purge_terminal_pods(most integer) returns integer
language plpgsql set search_path = '' as $$
declare
  gone integer;
begin
  with expired as (
    select p.id from public.pods p, public.cluster_config c
    where p.stopped_at < pg_catalog.now() - c.terminal_pod_retention_ms * interval '1 millisecond'
      and p.status in ('succeeded', 'stopped', 'failed', 'evicted')
    order by p.stopped_at limit most
    for update of p skip locked)
  delete from public.pods p using expired e where p.id = e.id;
  get diagnostics gone = row_count;
  return gone;
end $$;
revoke all on function stark.purge_terminal_pods(integer) from public;
grant execute on function stark.purge_terminal_pods(integer) to service_role;
