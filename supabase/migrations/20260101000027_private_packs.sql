-- As before, but whoever sees a private pack, since it runs in a namespace of
-- theirs, is told why they cannot deploy it, and not that it does not exist.
create or replace function stark.pods_fill() returns trigger
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
    if exists (select 1 from public.pods q join public.namespace_members m on m.namespace = q.namespace
        where q.pack_id = p.id and m.user_id = new.created_by) then
      raise exception using errcode = 'ST403',
        message = pg_catalog.format('pack %s is private: only its owner deploys it, until they make it public', p.name),
        detail = pg_catalog.jsonb_build_object('packId', p.id)::text;
    end if;
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
