-- What a statement has changed is one row of the log: what it costs to tell of a crowd no
-- longer grows with it by more than the ids. A row each was a tenth of what it costs to
-- store a pod, and a fifth of what it costs to bind one.
create table stark.change_log (
  rev bigint generated always as identity,
  xid xid8 not null default pg_current_xact_id(),
  kind text not null,
  ids text[] not null,
  op "char" not null,
  at timestamptz not null default now(),
  primary key (xid, rev),
  constraint change_log_op_known check (op in ('I', 'U', 'D')),
  constraint change_log_ids_named check (cardinality(ids) > 0)
);
-- Ids are as good as random: to compress them takes longer than to write them.
alter table stark.change_log alter column ids set storage external;
create index change_log_at_idx on stark.change_log using brin (at);
alter table stark.change_log enable row level security;
revoke all on stark.change_log from public, anon, authenticated, service_role;
grant select, delete on stark.change_log to service_role;

-- Cursors of before go on. Who writes meanwhile waits, and writes what the view takes.
do $$
begin
  lock table stark.changes in access exclusive mode; -- the CLI has no transaction block, and one statement needs none
end $$;
insert into stark.change_log (xid, kind, ids, op, at)
select c.xid, c.kind, array[c.id], c.op, c.at from stark.changes c order by c.xid, c.rev;
drop table stark.changes;
-- The log may be long, and is read at every commit: without statistics all of it.
analyze stark.change_log;

-- A row for each object, as servers of before ask for it, which work beside newer ones
-- until they are restarted, and whoever asks about some ids.
create view stark.changes with (security_invoker = true) as
select l.rev, l.xid, l.kind, i.id, l.op, l.at from stark.change_log l cross join lateral unnest(l.ids) as i (id);
revoke all on stark.changes from public, anon, authenticated, service_role;
grant select on stark.changes to service_role;
create function stark.log_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into stark.change_log (kind, ids, op) values (new.kind, array[new.id], new.op);
  return new;
end $$;
revoke all on function stark.log_change() from public;
create trigger changes_log instead of insert on stark.changes for each row execute function stark.log_change();

create or replace function stark.log_changes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.change_log (kind, ids, op)
  select tg_argv[0], pg_catalog.array_agg(pg_catalog.to_jsonb(c) ->> tg_argv[1]), tg_argv[2]::"char"
  from changed c having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create or replace function stark.log_ended_sessions() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.change_log (kind, ids, op)
  select 'session', pg_catalog.array_agg(g.id::text), 'D' from gone g having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
exception when others then
  return null;
end $$;

create or replace function stark.log_ban() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.change_log (kind, ids, op)
  select 'session', pg_catalog.array_agg(s.id::text), 'D' from auth.sessions s where s.user_id = new.id having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
exception when others then
  return null;
end $$;

create or replace function stark.log_credentials() returns trigger
language plpgsql security definer set search_path = '' set enable_nestloop = off set jit = off as $$
begin
  insert into stark.change_log (kind, ids, op)
  select 'credential', pg_catalog.array_agg(distinct n.node_id::text), 'U'
  from changed n join former o on o.id = n.id
  where n.revoked_at is distinct from o.revoked_at or n.rotate_requested_at is distinct from o.rotate_requested_at
  having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create or replace function stark.pods_inserted() returns trigger
language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
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
  insert into stark.change_log (kind, ids, op)
  select 'pod', pg_catalog.array_agg(c.id::text), 'I' from changed c having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

-- As before, for less where nothing that a user writes has changed. That a stop is overdue is
-- told as well: status and incarnation stay the same then.
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
    case when w.wishes = '{}' and (n.eviction is null or o.eviction is not null) then '{}'
      else case when w.wishes = '{}' then '{}'::jsonb else pg_catalog.jsonb_build_object('changed', w.wishes) end
        || case when n.eviction is not null and o.eviction is null then pg_catalog.jsonb_build_object('eviction', n.eviction) else '{}'::jsonb end end
  from changed n join previous o on o.id = n.id
    cross join lateral (select case
      when n.labels = o.labels and n.annotations = o.annotations and n.next_pack_id is not distinct from o.next_pack_id
        and n.stop_requested_at is not distinct from o.stop_requested_at then '{}'
      else pg_catalog.array_remove(array[
        case when n.labels is distinct from o.labels then 'labels' end,
        case when n.annotations is distinct from o.annotations then 'annotations' end,
        case when n.next_pack_id is distinct from o.next_pack_id then 'rollout' end,
        case when n.stop_requested_at is distinct from o.stop_requested_at then 'stopRequestedAt' end], null) end as wishes) w
  where n.status <> o.status or n.pack_id <> o.pack_id or n.node_id is distinct from o.node_id
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation or w.wishes <> '{}' or (n.eviction is null) <> (o.eviction is null)
    or (n.reason in ('CrashLoopBackOff', 'StopOverdue') and o.reason is distinct from n.reason);

  insert into stark.change_log (kind, ids, op)
  select 'pod', pg_catalog.array_agg(c.id::text), 'U' from changed c having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create or replace function stark.pods_deleted() returns trigger
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
  insert into stark.change_log (kind, ids, op)
  select 'pod', pg_catalog.array_agg(c.id::text), 'D' from changed c having pg_catalog.count(*) > 0;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

create or replace function stark.compact_changes(keep interval) returns bigint
language plpgsql set search_path = '' as $$
declare
  gone bigint;
begin
  delete from stark.change_log c where c.at < pg_catalog.now() - keep;
  get diagnostics gone = row_count;
  return gone;
end $$;
