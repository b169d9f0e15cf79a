-- What holds the life of a pod together, for servers and for users who write
-- the table themselves: defaults, limits, quotas, moves, history, change log.

-- The moves of a pod; core/pod holds the same table. A move back to pending is
-- a new placement and must raise the incarnation.
create function stark.pod_can_move(old_status public.pod_status, new_status public.pod_status, raised boolean) returns boolean
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
    when 'unknown' then new_status in ('scheduled', 'starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted')
      or (new_status = 'pending' and raised)
    else false
  end
$$;

create function stark.is_terminal(s public.pod_status) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select s in ('succeeded', 'stopped', 'failed', 'evicted')
$$;
revoke all on function stark.pod_can_move(public.pod_status, public.pod_status, boolean), stark.is_terminal(public.pod_status) from public;
grant execute on function stark.pod_can_move(public.pod_status, public.pod_status, boolean), stark.is_terminal(public.pod_status)
  to authenticated, service_role;

-- Finds the pack with the caller's rights: a pack that the caller may not see
-- does not exist. Name and version are copied from it, whatever was sent.
create function stark.pods_fill_pack() returns trigger
language plpgsql set search_path = '' as $$
declare
  wanted uuid := new.pack_id;
  p record;
begin
  if wanted is null and (coalesce(new.pack_version, '') in ('', 'latest')) then
    wanted := stark.latest_pack(new.pack_name);
  end if;
  if wanted is not null then
    select k.id, k.name, k.version, k.runtime_tag, k.status into p from public.packs k where k.id = wanted;
  else
    select k.id, k.name, k.version, k.runtime_tag, k.status into p
    from public.packs k where k.name = new.pack_name and k.version = new.pack_version;
  end if;
  if p.id is null then
    raise exception using errcode = 'ST404', message = 'pack not found',
      detail = pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'packId', new.pack_id, 'packName', new.pack_name, 'packVersion', new.pack_version))::text;
  elsif p.status <> 'ready' then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('pack %s %s has no bundle yet', p.name, p.version),
      detail = pg_catalog.jsonb_build_object('packId', p.id, 'status', p.status)::text;
  end if;
  new.pack_id := p.id;
  new.pack_name := p.name;
  new.pack_version := p.version;
  new.runtime_tag := p.runtime_tag;
  return new;
end $$;

-- One amount of a request or limit, or null where none was given.
create function stark.amount(field text, j jsonb, resource text) returns bigint
language plpgsql immutable set search_path = '' as $$
declare
  v jsonb := j -> resource;
begin
  if v is null or v = 'null' then
    return null;
  elsif pg_catalog.jsonb_typeof(v) <> 'number' or v::text !~ '^[0-9]{1,15}$' then
    raise exception using errcode = 'ST400', message = pg_catalog.format('%s.%s must be a whole number, not negative', field, resource),
      detail = pg_catalog.jsonb_build_object(field || '.' || resource,
        pg_catalog.jsonb_build_object('code', 'INVALID_VALUE', 'message', 'must be a whole number, not negative'))::text;
  end if;
  return v::text::bigint;
end $$;

create function stark.refuse_amount(field text, code text, reason text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'ST400', message = pg_catalog.format('%s %s', field, reason),
    detail = pg_catalog.jsonb_build_object(field, pg_catalog.jsonb_build_object('code', code, 'message', reason))::text;
end $$;
revoke all on function stark.pods_fill_pack(), stark.amount(text, jsonb, text), stark.refuse_amount(text, text, text) from public;

-- Fills requests and limits from the namespace, then from the cluster, and
-- holds them to the namespace's limit range. A default never contradicts what
-- was given: a default limit rises to the request, a default request sinks to
-- the limit.
create function stark.pods_fill_resources(requests inout jsonb, limits inout jsonb, lr jsonb, cluster_requests jsonb, cluster_limits jsonb)
language plpgsql immutable set search_path = '' as $$
declare
  r text;
  req bigint;
  lim bigint;
  req_out jsonb := '{}';
  lim_out jsonb := '{}';
begin
  if pg_catalog.jsonb_typeof(requests) is distinct from 'object' then
    perform stark.refuse_amount('resourceRequests', 'INVALID_TYPE', 'must be an object');
  elsif pg_catalog.jsonb_typeof(limits) is distinct from 'object' then
    perform stark.refuse_amount('resourceLimits', 'INVALID_TYPE', 'must be an object');
  end if;
  foreach r in array array['cpu', 'memory', 'storage'] loop
    req := stark.amount('resourceRequests', requests, r);
    lim := stark.amount('resourceLimits', limits, r);
    if req is null and lim is null then
      req := coalesce((lr #>> array['defaultRequest', r])::bigint, (lr #>> array['default', r])::bigint,
        (cluster_requests ->> r)::bigint, 0);
      lim := greatest(req, coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0));
      lim := least(lim, (lr #>> array['max', r])::bigint);
      req := greatest(least(req, lim), (lr #>> array['min', r])::bigint);
    elsif lim is null then
      lim := greatest(req, coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0));
      lim := greatest(req, least(lim, (lr #>> array['max', r])::bigint));
    elsif req is null then
      req := coalesce((lr #>> array['defaultRequest', r])::bigint, (cluster_requests ->> r)::bigint, 0);
      req := least(lim, greatest(req, (lr #>> array['min', r])::bigint));
    elsif req > lim then
      perform stark.refuse_amount('resourceRequests.' || r, 'EXCEEDS_LIMIT', pg_catalog.format('%s is more than the limit %s', req, lim));
    end if;
    if lim > (lr #>> array['max', r])::bigint then
      perform stark.refuse_amount('resourceLimits.' || r, 'EXCEEDS_LIMIT',
        pg_catalog.format('%s is more than %s, the most that the namespace allows', lim, lr #>> array['max', r]));
    elsif req < (lr #>> array['min', r])::bigint then
      perform stark.refuse_amount('resourceRequests.' || r, 'INVALID_VALUE',
        pg_catalog.format('%s is less than %s, the least that the namespace allows', req, lr #>> array['min', r]));
    end if;
    req_out := req_out || pg_catalog.jsonb_build_object(r, req);
    lim_out := lim_out || pg_catalog.jsonb_build_object(r, lim);
  end loop;
  requests := req_out;
  limits := lim_out;
end $$;
revoke all on function stark.pods_fill_resources(jsonb, jsonb, jsonb, jsonb, jsonb) from public;

-- SECURITY DEFINER, since the settings it reads are not for every user's eyes.
create function stark.pods_fill_defaults() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  ns record;
  cfg record;
  class_value integer;
begin
  select n.phase, n.limit_range into ns from public.namespaces n where n.name = new.namespace;
  if ns.phase is null then
    raise exception using errcode = 'ST404', message = pg_catalog.format('namespace %s not found', new.namespace),
      detail = pg_catalog.jsonb_build_object('namespace', new.namespace)::text;
  elsif ns.phase = 'terminating' then
    raise exception using errcode = 'STTRM', message = pg_catalog.format('namespace %s is terminating', new.namespace),
      detail = pg_catalog.jsonb_build_object('namespace', new.namespace)::text;
  end if;
  select c.default_resource_requests as requests, c.default_resource_limits as limits into cfg from public.cluster_config c;
  select f.requests, f.limits into new.resource_requests, new.resource_limits
  from stark.pods_fill_resources(new.resource_requests, new.resource_limits, ns.limit_range, cfg.requests, cfg.limits) f;

  if coalesce(new.priority_class_name, '') = '' then
    new.priority_class_name := null;
    select c.value into class_value from public.priority_classes c where c.global_default;
    new.priority := coalesce(class_value, 0);
  else
    select c.value into class_value from public.priority_classes c where c.name = new.priority_class_name;
    if class_value is null then
      perform stark.refuse_amount('priorityClassName', 'INVALID_VALUE', pg_catalog.format('%s does not exist', new.priority_class_name));
    elsif class_value >= 2000000000 and not exists (
        select 1 from public.user_roles u where u.user_id = new.created_by and u.role in ('admin', 'operator')) then
      raise exception using errcode = 'ST403', message = 'system priority classes are for admins and operators',
        detail = pg_catalog.jsonb_build_object('priorityClassName', new.priority_class_name)::text;
    end if;
    new.priority := class_value;
  end if;
  if stark.is_terminal(new.status) then
    new.stopped_at := coalesce(new.stopped_at, pg_catalog.now());
  end if;
  return new;
end $$;

-- Guards every update, row by row, for everybody.
create function stark.pods_guard_update() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := pg_catalog.now();
  if new.status is distinct from old.status then
    if not stark.pod_can_move(old.status, new.status, new.incarnation > old.incarnation) then
      raise exception using errcode = 'STINV',
        message = pg_catalog.format('a pod cannot move from %s to %s', old.status, new.status),
        detail = pg_catalog.jsonb_build_object('podId', old.id, 'from', old.status, 'to', new.status)::text;
    end if;
  end if;
  if new.incarnation < old.incarnation then
    raise exception using errcode = 'STSTL', message = 'the incarnation of a pod only rises',
      detail = pg_catalog.jsonb_build_object('podId', old.id, 'incarnation', old.incarnation)::text;
  end if;
  if (new.id, new.namespace, new.created_by, new.created_at, new.priority_class_name)
     is distinct from (old.id, old.namespace, old.created_by, old.created_at, old.priority_class_name)
     or new.resource_requests is distinct from old.resource_requests then
    raise exception using errcode = 'STINV', message = 'namespace, owner, priority and requests of a pod cannot be changed',
      detail = pg_catalog.jsonb_build_object('podId', old.id)::text;
  end if;
  if old.status in ('succeeded', 'stopped', 'failed', 'evicted') then
    if new.incarnation <> old.incarnation or new.pack_id <> old.pack_id
       or (new.node_id is distinct from old.node_id and new.node_id is not null) then
      raise exception using errcode = 'STINV', message = pg_catalog.format('the pod has ended: %s', old.status),
        detail = pg_catalog.jsonb_build_object('podId', old.id, 'status', old.status)::text;
    end if;
    new.stop_requested_at := old.stop_requested_at;
    return new;
  end if;

  -- A wish to stop is taken once, by the database's clock, and never back.
  if old.stop_requested_at is not null then
    new.stop_requested_at := old.stop_requested_at;
  elsif new.stop_requested_at is not null then
    new.stop_requested_at := pg_catalog.now();
    if new.status = old.status then
      if old.status = 'pending' then
        new.status := 'stopped';
        new.reason := 'Stopped';
      elsif old.status <> 'stopping' then
        new.status := 'stopping';
      end if;
    end if;
  end if;
  if new.pack_id <> old.pack_id then
    select k.name, k.version, k.runtime_tag into new.pack_name, new.pack_version, new.runtime_tag
    from public.packs k where k.id = new.pack_id;
  end if;
  if new.status = old.status then
    return new;
  end if;
  case
    when new.status = 'pending' then
      new.node_id := null;
      new.scheduled_at := null;
      new.started_at := null;
    when new.status = 'scheduled' then
      new.scheduled_at := pg_catalog.now();
    when new.status = 'running' and new.started_at is not distinct from old.started_at then
      new.started_at := pg_catalog.now();
    when new.status in ('succeeded', 'stopped', 'failed', 'evicted') then
      new.stopped_at := coalesce(new.stopped_at, pg_catalog.now());
    else null;
  end case;
  return new;
end $$;
revoke all on function stark.pods_fill_defaults(), stark.pods_guard_update() from public;

-- Before triggers fire in the order of their names.
create trigger pods_1_fill_pack before insert on public.pods
  for each row execute function stark.pods_fill_pack();
create trigger pods_2_fill_defaults before insert on public.pods
  for each row execute function stark.pods_fill_defaults();
create trigger pods_guard_update before update on public.pods
  for each row execute function stark.pods_guard_update();
