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

revoke all on function stark.pod_can_move(public.pod_status, public.pod_status, boolean) from public;
grant execute on function stark.pod_can_move(public.pod_status, public.pod_status, boolean) to authenticated, service_role;

create function stark.staff(who uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (select 1 from public.user_roles u where u.user_id = who and u.role in ('admin', 'operator'))
$$;

-- The highest release by semantic versioning, else the highest pre-release, of
-- the packs with this name that the user may use.
create function stark.latest_pack(pack_name text, who uuid) returns uuid
language sql stable set search_path = '' as $$
  select p.id
  from public.packs p,
    lateral (select pg_catalog.split_part(p.version, '+', 1) as v) s,
    lateral (select pg_catalog.string_to_array(pg_catalog.split_part(s.v, '-', 1), '.')::numeric[] as core,
                    pg_catalog.substring(s.v, '-(.*)$') as pre) c
  where p.name = pack_name and p.status = 'ready'
    and (p.owner_id = who or p.visibility = 'public' or stark.staff(who))
  order by c.pre is null desc, c.core desc, (
      select pg_catalog.array_agg(
        (case when i.part ~ '^[0-9]+$' then '0' || pg_catalog.lpad(i.part, 128, '0') else '1' || i.part end) collate "C"
        order by i.n)
      from pg_catalog.string_to_table(c.pre, '.') with ordinality i (part, n)) desc nulls first,
    p.created_at desc
  limit 1
$$;
revoke all on function stark.staff(uuid), stark.latest_pack(text, uuid) from public;

-- A field of a pod that cannot be accepted, in the form of the API's errors.
create function stark.refuse_field(field text, code text, reason text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'ST400', message = pg_catalog.format('%s %s', field, reason),
    detail = pg_catalog.jsonb_build_object(field, pg_catalog.jsonb_build_object('code', code, 'message', reason))::text;
end $$;

-- Fills requests and limits from the namespace, then from the cluster, and
-- holds them to the namespace's limit range. A default never contradicts what
-- was given: a default limit rises to the request, a default request sinks to
-- the limit.
-- It returns both, requests first, as an array: plpgsql takes that without a query.
create function stark.pods_fill_resources(requests jsonb, limits jsonb, lr jsonb, cluster_requests jsonb, cluster_limits jsonb)
returns jsonb[]
language plpgsql immutable set search_path = '' as $$
declare
  r text;
  req bigint;
  lim bigint;
  least_request bigint;
  most_limit bigint;
  req_out jsonb := '{}'::jsonb;
  lim_out jsonb := '{}'::jsonb;
begin
  if lr is null and requests = '{}' and limits = '{}' then
    return array['{"storage":0}' || cluster_requests, '{"storage":0}' || cluster_limits];
  end if;
  if pg_catalog.jsonb_typeof(requests) is distinct from 'object' then
    perform stark.refuse_field('resourceRequests', 'INVALID_TYPE', 'must be an object');
  elsif pg_catalog.jsonb_typeof(limits) is distinct from 'object' then
    perform stark.refuse_field('resourceLimits', 'INVALID_TYPE', 'must be an object');
  end if;
  foreach r in array array['cpu', 'memory', 'storage'] loop
    if requests ->> r is not null and (requests -> r)::text !~ '^[0-9]{1,15}$' then
      perform stark.refuse_field('resourceRequests.' || r, 'INVALID_VALUE', 'must be a whole number, not negative');
    elsif limits ->> r is not null and (limits -> r)::text !~ '^[0-9]{1,15}$' then
      perform stark.refuse_field('resourceLimits.' || r, 'INVALID_VALUE', 'must be a whole number, not negative');
    end if;
    req := (requests ->> r)::bigint;
    lim := (limits ->> r)::bigint;
    least_request := (lr #>> array['min', r])::bigint;
    most_limit := (lr #>> array['max', r])::bigint;
    if req > lim then
      perform stark.refuse_field('resourceRequests.' || r, 'EXCEEDS_LIMIT', pg_catalog.format('%s is more than the limit %s', req, lim));
    elsif lim is not null then
      req := coalesce(req, least(lim, greatest(least_request,
        coalesce((lr #>> array['defaultRequest', r])::bigint, (cluster_requests ->> r)::bigint, 0))));
    elsif req is not null then
      lim := greatest(req, least(most_limit, coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0)));
    else
      req := coalesce((lr #>> array['defaultRequest', r])::bigint, (lr #>> array['default', r])::bigint,
        (cluster_requests ->> r)::bigint, 0);
      lim := least(most_limit, greatest(req, least_request,
        coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0)));
      req := greatest(least_request, least(req, lim));
    end if;
    if lim > most_limit then
      perform stark.refuse_field('resourceLimits.' || r, 'EXCEEDS_LIMIT',
        pg_catalog.format('%s is more than %s, the most that the namespace allows', lim, most_limit));
    elsif req < least_request then
      perform stark.refuse_field('resourceRequests.' || r, 'INVALID_VALUE',
        pg_catalog.format('%s is less than %s, the least that the namespace allows', req, least_request));
    end if;
    req_out := req_out || pg_catalog.jsonb_build_object(r, req);
    lim_out := lim_out || pg_catalog.jsonb_build_object(r, lim);
  end loop;
  return array[req_out, lim_out];
end $$;
revoke all on function stark.refuse_field(text, text, text), stark.pods_fill_resources(jsonb, jsonb, jsonb, jsonb, jsonb) from public;

-- Fills a new pod: pack, resources, priority. SECURITY DEFINER, since the
-- settings it reads are not for every user's eyes, and since policies would be
-- asked anew for every row: so it says itself which packs the creator may use,
-- as the policy of packs does. Who the creator is, the policy of pods has said.
create function stark.pods_fill() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  p record;
  cfg record;
  filled jsonb[];
  class_value integer;
begin
  if new.pack_id is null and coalesce(new.pack_version, '') in ('', 'latest') then
    new.pack_id := stark.latest_pack(new.pack_name, new.created_by);
  end if;
  if new.pack_id is not null then
    select k.id, k.name, k.version, k.runtime_tag, k.status, k.owner_id, k.visibility into p
    from public.packs k where k.id = new.pack_id;
  else
    select k.id, k.name, k.version, k.runtime_tag, k.status, k.owner_id, k.visibility into p
    from public.packs k where k.name = new.pack_name and k.version = new.pack_version;
  end if;
  if p.id is null or not (p.owner_id = new.created_by or p.visibility = 'public' or stark.staff(new.created_by)) then
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

  select n.phase, n.limit_range, c.default_resource_requests as requests, c.default_resource_limits as limits,
    (select d.value from public.priority_classes d where d.global_default) as priority
  into cfg
  from public.namespaces n, public.cluster_config c where n.name = new.namespace;
  if cfg.phase is null then
    raise exception using errcode = 'ST404', message = pg_catalog.format('namespace %s not found', new.namespace),
      detail = pg_catalog.jsonb_build_object('namespace', new.namespace)::text;
  elsif cfg.phase = 'terminating' then
    raise exception using errcode = 'STTRM', message = pg_catalog.format('namespace %s is terminating', new.namespace),
      detail = pg_catalog.jsonb_build_object('namespace', new.namespace)::text;
  end if;
  filled := stark.pods_fill_resources(new.resource_requests, new.resource_limits, cfg.limit_range, cfg.requests, cfg.limits);
  new.resource_requests := filled[1];
  new.resource_limits := filled[2];

  if coalesce(new.priority_class_name, '') = '' then
    new.priority_class_name := null;
    new.priority := coalesce(cfg.priority, 0);
  else
    select c.value into class_value from public.priority_classes c where c.name = new.priority_class_name;
    if class_value is null then
      perform stark.refuse_field('priorityClassName', 'INVALID_VALUE', pg_catalog.format('%s does not exist', new.priority_class_name));
    elsif class_value >= 2000000000 and not stark.staff(new.created_by) then
      raise exception using errcode = 'ST403', message = 'system priority classes are for admins and operators',
        detail = pg_catalog.jsonb_build_object('priorityClassName', new.priority_class_name)::text;
    end if;
    new.priority := class_value;
  end if;
  if new.status in ('succeeded', 'stopped', 'failed', 'evicted') then
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
revoke all on function stark.pods_fill(), stark.pods_guard_update() from public;

create trigger pods_fill before insert on public.pods
  for each row execute function stark.pods_fill();
create trigger pods_guard_update before update on public.pods
  for each row execute function stark.pods_guard_update();
