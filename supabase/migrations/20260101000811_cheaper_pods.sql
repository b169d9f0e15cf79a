-- What a pod takes from its pack, its namespace and the settings of the cluster: the
-- pack's id, name, version and tag, the limit range, the requests, limits and priority of
-- who names none. It refuses what pods_fill refuses, and runs as that does. Each table is
-- found by an index: what cannot be looks very dear where reading in turn is switched off.
create function stark.pods_lookup(creator uuid, ns text, pack uuid, named text, versioned text) returns text[]
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  p record;
  cfg record;
begin
  if pack is null and coalesce(versioned, '') in ('', 'latest') then
    pack := stark.latest_pack(named, creator);
  end if;
  if pack is not null then
    select k.id, k.name, k.version, k.runtime_tag, k.status, k.owner_id, k.visibility into p
    from public.packs k where k.id = pack;
  else
    select k.id, k.name, k.version, k.runtime_tag, k.status, k.owner_id, k.visibility into p
    from public.packs k where k.name = named and k.version = versioned;
  end if;
  if p.id is null or not (p.owner_id = creator or p.visibility = 'public' or stark.staff(creator)) then
    if exists (select 1 from public.pods q join public.namespace_members m on m.namespace = q.namespace
        where q.pack_id = p.id and m.user_id = creator) then
      raise exception using errcode = 'ST403',
        message = pg_catalog.format('pack %s is private: only its owner deploys it, until they make it public', p.name),
        detail = pg_catalog.jsonb_build_object('packId', p.id)::text;
    end if;
    raise exception using errcode = 'ST404', message = 'pack not found',
      detail = pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'packId', pack, 'packName', named, 'packVersion', versioned))::text;
  elsif p.status <> 'ready' then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('pack %s %s has no bundle yet', p.name, p.version),
      detail = pg_catalog.jsonb_build_object('packId', p.id, 'status', p.status)::text;
  end if;

  select n.phase, n.limit_range, c.default_resource_requests as requests, c.default_resource_limits as limits,
    (select d.value from public.priority_classes d where d.global_default) as priority
  into cfg
  from public.namespaces n, public.cluster_config c where n.name = ns and c.name = 'default';
  if cfg.phase is null then
    raise exception using errcode = 'ST404', message = pg_catalog.format('namespace %s not found', ns),
      detail = pg_catalog.jsonb_build_object('namespace', ns)::text;
  elsif cfg.phase = 'terminating' then
    raise exception using errcode = 'STTRM', message = pg_catalog.format('namespace %s is terminating', ns),
      detail = pg_catalog.jsonb_build_object('namespace', ns)::text;
  end if;
  return array[p.id::text, p.name, p.version, p.runtime_tag::text, cfg.limit_range::text,
    cfg.requests::text, cfg.limits::text, coalesce(cfg.priority, 0)::text];
end $$;
revoke all on function stark.pods_lookup(uuid, text, uuid, text, text) from public;

-- Pods that are made at once are mostly of one pack and namespace, and what was looked up
-- for a row holds for the next one that names the same, within the statement: a setting of
-- the transaction keeps it, which each statement begins without. Who could write that
-- setting could as well write the claims that say who asks.
create function stark.pods_forget() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.set_config('stark.filled', '', true);
  return null;
end $$;
revoke all on function stark.pods_forget() from public;
create trigger pods_00_forget before insert on public.pods
  for each statement when (current_setting('stark.filled', true) <> '') execute function stark.pods_forget();

-- As before, with one look-up for rows that name the same. Requests that are whole numbers,
-- without limits and a limit range, are filled in at once: pods_0_known_resources has let
-- no unknown name and no number out of range pass.
create or replace function stark.pods_fill() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  asked text := array[new.created_by::text, new.namespace, new.pack_id::text, new.pack_name, new.pack_version]::text;
  got text[] := nullif(pg_catalog.current_setting('stark.filled', true), '')::text[];
  filled jsonb[];
  class_value integer;
begin
  if got[9] is distinct from asked then
    got := stark.pods_lookup(new.created_by, new.namespace, new.pack_id, new.pack_name, new.pack_version) || asked;
    perform pg_catalog.set_config('stark.filled', got::text, true);
  end if;
  new.pack_id := got[1];
  new.pack_name := got[2];
  new.pack_version := got[3];
  new.runtime_tag := got[4];

  if got[5] is null and new.resource_limits = '{}' and new.resource_requests::text ~ '^\{("[a-z]+": [0-9]+(, )?)+\}$' then
    new.resource_requests := '{"storage":0}'::jsonb || got[6]::jsonb || new.resource_requests;
    new.resource_limits := got[7];
    new.resource_limits := pg_catalog.jsonb_build_object(
      'cpu', greatest((new.resource_requests ->> 'cpu')::bigint, (new.resource_limits ->> 'cpu')::bigint),
      'memory', greatest((new.resource_requests ->> 'memory')::bigint, (new.resource_limits ->> 'memory')::bigint),
      'storage', greatest((new.resource_requests ->> 'storage')::bigint, (new.resource_limits ->> 'storage')::bigint));
  else
    filled := stark.pods_fill_resources(new.resource_requests, new.resource_limits, got[5]::jsonb, got[6]::jsonb, got[7]::jsonb);
    new.resource_requests := filled[1];
    new.resource_limits := filled[2];
  end if;

  if coalesce(new.priority_class_name, '') = '' then
    new.priority_class_name := null;
    new.priority := got[8];
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

-- A regular expression is worked out anew for each text, state by state, and a bounded
-- repetition has a state for each length. Where the whole text is so short that no value can
-- pass its bound, none is needed; keys with a prefix are plain as well.
drop trigger pods_valid_documents_inserted on public.pods;
create trigger pods_valid_documents_inserted before insert on public.pods
  for each row when (not (new.annotations = '{}' and new.tolerations = '[]' and new.scheduling = '{}' and new.env = '{}' and new.metadata = '{}'
    and case when length(new.labels::text) <= 70
      then new.labels::text ~ '^\{("([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?"(, )?)*\}$'
      else length(new.labels::text) <= 253
        and new.labels::text ~ '^\{("[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"(, )?)*\}$' end))
  execute function stark.pods_valid_documents();

-- Nor is the look at resources that are objects of known names, without a number above the
-- lowest of the bounds: in the order of jsonb whatever that look lets pass is not above it,
-- or is asked in vain.
drop trigger pods_0_known_resources on public.pods;
create trigger pods_0_known_resources before insert on public.pods
  for each row when (
    case when new.resource_requests = '{}' or jsonb_typeof(new.resource_requests) <> 'object' then false
      else new.resource_requests - '{cpu,memory,storage}'::text[] <> '{}' or new.resource_requests -> 'cpu' > '1000000'
        or new.resource_requests -> 'memory' > '1000000' or new.resource_requests -> 'storage' > '1000000' end
    or case when new.resource_limits = '{}' or jsonb_typeof(new.resource_limits) <> 'object' then false
      else new.resource_limits - '{cpu,memory,storage}'::text[] <> '{}' or new.resource_limits -> 'cpu' > '1000000'
        or new.resource_limits -> 'memory' > '1000000' or new.resource_limits -> 'storage' > '1000000' end)
  execute function stark.pods_known_resources();

-- A bind that says itself what the guard would fill in, and changes nothing that the guard
-- would refuse, comes out of the guard as it went in: it is not asked. It is so for
-- everybody, and one that leaves anything of this out is asked.
drop trigger pods_guard_update on public.pods;
create trigger pods_guard_update before update on public.pods
  for each row when (not (
    old.status = 'pending' and new.status = 'scheduled' and new.scheduled_at = now() and new.updated_at = now()
    and new.incarnation = old.incarnation and new.pack_id = old.pack_id
    and old.stop_requested_at is null and new.stop_requested_at is null
    and new.id = old.id and new.namespace = old.namespace and new.created_by = old.created_by and new.created_at = old.created_at
    and new.priority_class_name is not distinct from old.priority_class_name and new.resource_requests = old.resource_requests))
  execute function stark.pods_guard_update();

-- Whoever looks for pods by a node or by the pack to come names one: pods without have no
-- place in these indexes. The change log is read by its transactions alone.
drop index public.pods_node_id_idx;
create index pods_node_id_idx on public.pods (node_id) where node_id is not null;
drop index public.pods_next_pack_id_idx;
create index pods_next_pack_id_idx on public.pods (next_pack_id) where next_pack_id is not null;
alter table stark.changes drop constraint changes_pkey;
alter table stark.changes add primary key (xid, rev);
drop index stark.changes_xid_idx;
