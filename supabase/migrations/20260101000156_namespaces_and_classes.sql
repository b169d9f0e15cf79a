-- Namespaces that end, quotas per priority class, priority classes that are in use, and
-- settings of the cluster that hold for every door.

-- A quota may also bound the pods of single priority classes:
-- {"hard": {...}, "priorityClasses": {"high-priority": {"pods": 5}}}.
create or replace function stark.is_quota(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and j ? 'hard' and j - '{hard,priorityClasses}'::text[] = '{}' and stark.is_capacity(j -> 'hard')
    and case when j -> 'priorityClasses' is null then true
      when pg_catalog.jsonb_typeof(j -> 'priorityClasses') <> 'object' then false
      else (select pg_catalog.count(*) <= 50 and coalesce(pg_catalog.bool_and(
          e.key ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$' and stark.is_capacity(e.value)), true)
        from pg_catalog.jsonb_each(j -> 'priorityClasses') e) end
$$;

-- What the live pods of each class ask for. Pods that name no class are of the default.
create function stark.class_usage(ns text) returns table (class text, used jsonb)
language sql stable security definer set search_path = '' as $$
  select c.name, pg_catalog.jsonb_build_object('pods', pg_catalog.count(*),
    'cpu', coalesce(pg_catalog.sum((p.resource_requests ->> 'cpu')::bigint), 0),
    'memory', coalesce(pg_catalog.sum((p.resource_requests ->> 'memory')::bigint), 0),
    'storage', coalesce(pg_catalog.sum((p.resource_requests ->> 'storage')::bigint), 0))
  from public.pods p
    cross join lateral (select coalesce(p.priority_class_name,
      (select d.name from public.priority_classes d where d.global_default), '') as name) c
  where p.namespace = ns and p.status not in ('succeeded', 'stopped', 'failed', 'evicted')
  group by c.name
$$;
revoke all on function stark.class_usage(text) from public;
grant execute on function stark.class_usage(text) to service_role;

-- Counted anew under the lock of the namespace, which everybody takes who adds pods to
-- it: a second stored counter would have to be kept right for ever. Only namespaces
-- that bound a class pay for it.
create function stark.pods_class_quota() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  names text[] := array(
    select s.name from public.namespaces s
    where s.resource_quota ? 'priorityClasses' and s.name in (select c.namespace from changed c) order by s.name);
  over record;
begin
  if names = '{}' then
    return null;
  end if;
  perform 1 from public.namespaces s where s.name = any (names) order by s.name for no key update;
  for over in
    select s.name, b.key as class, h.key as resource, (h.value #>> '{}')::bigint as hard, coalesce((u.used ->> h.key)::bigint, 0) as used
    from public.namespaces s
      cross join lateral pg_catalog.jsonb_each(s.resource_quota -> 'priorityClasses') b
      cross join lateral pg_catalog.jsonb_each(b.value) h
      join lateral stark.class_usage(s.name) u on u.class = b.key
    where s.name = any (names) and coalesce((u.used ->> h.key)::bigint, 0) > (h.value #>> '{}')::bigint
      and exists (select from changed c where c.namespace = s.name and coalesce(c.priority_class_name,
        (select d.name from public.priority_classes d where d.global_default), '') = b.key)
    order by s.name, b.key, h.key limit 1
  loop
    raise exception using errcode = 'STQUO',
      message = pg_catalog.format('quota of namespace %s for priority class %s exceeded: %s (with these pods: %s, allowed: %s)',
        over.name, over.class, over.resource, over.used, over.hard),
      detail = pg_catalog.jsonb_build_object('namespace', over.name, 'priorityClassName', over.class, 'resource', over.resource,
        'used', over.used, 'hard', over.hard)::text;
  end loop;
  return null;
end $$;
revoke all on function stark.pods_class_quota() from public;
create trigger pods_quota_class after insert on public.pods referencing new table as changed
  for each statement execute function stark.pods_class_quota();

-- The settings that pods take which say nothing, at every door.
create function stark.default_namespace() returns text
language sql stable security definer set search_path = '' as $$
  select coalesce((select c.default_namespace from public.cluster_config c), 'default')
$$;
create function stark.default_grace_seconds() returns integer
language sql stable security definer set search_path = '' as $$
  select coalesce((select (c.pod_termination_grace_period_ms + 999) / 1000 from public.cluster_config c), 30)
$$;
revoke all on function stark.default_namespace(), stark.default_grace_seconds() from public;
grant execute on function stark.default_namespace(), stark.default_grace_seconds() to authenticated, service_role;
alter table public.pods
  alter column namespace set default stark.default_namespace(),
  alter column termination_grace_period_seconds set default stark.default_grace_seconds();

-- The namespace that pods fall into is there, and stays.
create function stark.cluster_config_guard() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from public.namespaces s where s.name = new.default_namespace and s.phase = 'active' for key share;
  if not found then
    perform stark.refuse_field('defaultNamespace', 'INVALID_VALUE', pg_catalog.format('%s is no active namespace', new.default_namespace));
  end if;
  return null;
end $$;
revoke all on function stark.cluster_config_guard() from public;
create trigger cluster_config_guard after update of default_namespace on public.cluster_config
  for each row execute function stark.cluster_config_guard();
alter table public.cluster_config
  add constraint cluster_config_bounds check (heartbeat_interval_ms between 100 and 300000 and heartbeat_timeout_ms <= 86400000
    and eviction_timeout_ms <= 604800000 and pod_termination_grace_period_ms <= 3600000
    and terminal_pod_retention_ms <= 31536000000 and max_pods_per_node <= 100000 and max_total_pods <= 1000000 and max_total_nodes <= 100000) not valid;

create function stark.namespaces_guard_default() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if stark.default_namespace() = old.name then
    raise exception using errcode = 'ST409',
      message = pg_catalog.format('namespace %s is where pods go that name none: set defaultNamespace of the cluster to another one first', old.name),
      detail = pg_catalog.jsonb_build_object('namespace', old.name)::text;
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end $$;
revoke all on function stark.namespaces_guard_default() from public;
create trigger namespaces_guard_default_update before update of phase on public.namespaces
  for each row when (new.phase = 'terminating' and old.phase <> 'terminating') execute function stark.namespaces_guard_default();
create trigger namespaces_guard_default_delete before delete on public.namespaces
  for each row execute function stark.namespaces_guard_default();

-- Everybody who makes pods may know which classes there are.
alter policy priority_classes_select on public.priority_classes using ((select stark.is_reader()));

-- What users may make of priority classes, as in Kubernetes: names and values of the
-- system are not theirs.
create function stark.priority_classes_guard() returns trigger
language plpgsql set search_path = '' as $$
declare
  affected text := case when tg_op = 'INSERT' then new.name else old.name end;
begin
  if tg_op = 'UPDATE' and new.name <> old.name then
    raise exception using errcode = 'ST409', message = 'the name of a priority class cannot be changed';
  end if;
  if current_user = 'authenticated' then
    if affected like 'system-%' then
      raise exception using errcode = 'ST409', message = 'priority classes whose names begin with system- are reserved';
    elsif tg_op <> 'DELETE' and new.value > 1000000000 and (tg_op = 'INSERT' or new.value <> old.value) then
      raise exception using errcode = 'ST400', message = 'value must be at most 1000000000: higher ones are those of the system',
        detail = '{"value":{"code":"OUT_OF_RANGE","message":"must be at most 1000000000: higher ones are those of the system"}}';
    end if;
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end $$;
revoke all on function stark.priority_classes_guard() from public;
create trigger priority_classes_guard before insert or update or delete on public.priority_classes
  for each row execute function stark.priority_classes_guard();

-- A class that live pods have neither goes nor changes what it means. The lock waits
-- for everybody who is adding a pod, so that none is missed; a change of a class is rare.
create function stark.priority_classes_in_use() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  users bigint;
begin
  lock table public.pods in share mode;
  select pg_catalog.count(*) into users from public.pods p
  where p.priority_class_name = old.name and p.status not in ('succeeded', 'stopped', 'failed', 'evicted');
  if users > 0 then
    raise exception using errcode = 'ST409',
      message = pg_catalog.format('priority class %s is in use by %s pods: make another one instead', old.name, users),
      detail = pg_catalog.jsonb_build_object('priorityClassName', old.name, 'pods', users)::text;
  end if;
  if tg_op = 'DELETE' then
    return old;
  end if;
  return new;
end $$;
revoke all on function stark.priority_classes_in_use() from public;
create trigger priority_classes_in_use_update before update on public.priority_classes
  for each row when (new.value <> old.value or new.preemption_policy <> old.preemption_policy)
  execute function stark.priority_classes_in_use();
create trigger priority_classes_in_use_delete before delete on public.priority_classes
  for each row execute function stark.priority_classes_in_use();

-- There is one default at most: a new one takes the place of the old one.
create function stark.priority_classes_default() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.priority_classes c set global_default = false where c.global_default and c.id <> new.id;
  return new;
end $$;
revoke all on function stark.priority_classes_default() from public;
create trigger priority_classes_default_insert before insert on public.priority_classes
  for each row when (new.global_default) execute function stark.priority_classes_default();
create trigger priority_classes_default_update before update on public.priority_classes
  for each row when (new.global_default and not old.global_default) execute function stark.priority_classes_default();
