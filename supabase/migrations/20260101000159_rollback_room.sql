-- A replacement runs beside the present version on the same node, and so needs its
-- room a second time. Where there is none, who asks for it is told, instead of a node
-- that gives out more than it has; --now stops the present version first and goes
-- through the scheduler.

-- As core/node counts: whatever is not pending or ended holds the node, and twice what
-- it asks for while a replacement runs. SECURITY DEFINER, since the node carries pods
-- that the caller may not see; of them only the sum is told.
create function stark.refuse_without_room(p public.pods) returns void
language plpgsql stable security definer set search_path = '' as $$
declare
  n record;
  resource text;
  asked bigint;
  free bigint;
begin
  select s.name, s.allocatable, u.held into n
  from public.nodes s cross join lateral (
    select pg_catalog.jsonb_build_object(
      'pods', coalesce(pg_catalog.sum(c.times), 0),
      'cpu', coalesce(pg_catalog.sum(c.times * (q.resource_requests ->> 'cpu')::bigint), 0),
      'memory', coalesce(pg_catalog.sum(c.times * (q.resource_requests ->> 'memory')::bigint), 0),
      'storage', coalesce(pg_catalog.sum(c.times * coalesce((q.resource_requests ->> 'storage')::bigint, 0)), 0)) as held
    from public.pods q cross join lateral (select case when q.next_pack_id is null then 1 else 2 end as times) c
    where q.node_id = s.id and q.status in ('scheduled', 'starting', 'running', 'stopping', 'unknown')) u
  where s.id = p.node_id;
  if not found then
    return;
  end if;
  foreach resource in array array['cpu', 'memory', 'storage', 'pods'] loop
    asked := case resource when 'pods' then 1 else coalesce((p.resource_requests ->> resource)::bigint, 0) end;
    free := coalesce((n.allocatable ->> resource)::bigint, 0) - (n.held ->> resource)::bigint;
    if asked > 0 and asked > free then
      raise exception using errcode = 'STINV',
        message = pg_catalog.format('node %s has no room to run another version beside the present one: that asks for %s%s more, and %s are free; stop the present version first (now), or make room',
          n.name, asked, case resource when 'cpu' then ' millicores of cpu' when 'pods' then ' pod' else ' MiB of ' || resource end, greatest(free, 0)),
        detail = pg_catalog.jsonb_build_object('podId', p.id, 'node', n.name, 'resource', resource, 'asked', asked, 'free', greatest(free, 0))::text;
    end if;
  end loop;
end $$;
revoke all on function stark.refuse_without_room(public.pods) from public;

-- As before, and not without room.
create or replace function stark.pods_guard_rollback() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  wish jsonb := new.rollback_request;
  target text := wish ->> 'target';
  why text := wish ->> 'reason';
  k public.packs;
begin
  new.rollback_request := null;
  if pg_catalog.jsonb_typeof(wish) <> 'object' or pg_catalog.jsonb_typeof(wish -> 'now') <> 'boolean' then
    perform stark.refuse_field('rollbackRequest', 'INVALID_TYPE', 'must be an object with target, now and reason');
  elsif pg_catalog.length(why) > 1024 then
    perform stark.refuse_field('reason', 'TOO_LONG', 'has more than 1024 characters');
  elsif old.stop_requested_at is not null or old.status in ('stopping', 'stopped', 'succeeded', 'failed', 'evicted') then
    raise exception using errcode = 'STINV', message = pg_catalog.format('a pod that is %s cannot change its version: create a new one', old.status),
      detail = pg_catalog.jsonb_build_object('podId', old.id, 'status', old.status,
        'allowed', array['pending', 'scheduled', 'starting', 'running', 'unknown'])::text;
  end if;

  if target is null then
    select s.* into k
    from public.pod_runs r join public.packs s on s.id = r.pack_id
    where r.pod_id = old.id and r.pack_id <> old.pack_id and r.ready_at is not null and s.status = 'ready'
      -- A version that was made private since it ran is not the owner's to run again.
      and (s.owner_id = old.created_by or s.visibility = 'public' or stark.staff(old.created_by))
    order by r.incarnation desc, r.attempt desc limit 1;
    if not found then
      raise exception using errcode = 'STVER', message = 'no other version of this pod has run well: name the version that you want',
        detail = pg_catalog.jsonb_build_object('packName', old.pack_name, 'version', old.pack_version)::text;
    end if;
  else
    select s.* into k from public.packs s
    where s.name = old.pack_name and s.version = target and s.status = 'ready'
      and (s.owner_id = old.created_by or s.visibility = 'public' or stark.staff(old.created_by));
    if not found then
      raise exception using errcode = 'STVER', message = pg_catalog.format('there is no version %s of %s that this pod may use', target, old.pack_name),
        detail = pg_catalog.jsonb_build_object('packName', old.pack_name, 'targetVersion', target)::text;
    end if;
  end if;

  if k.id = old.pack_id and old.next_pack_id is not null then
    new.next_pack_id := null; -- the way back from a change under way
  elsif k.id = old.pack_id then
    raise exception using errcode = 'STSAM', message = pg_catalog.format('the pod is at version %s already', k.version),
      detail = pg_catalog.jsonb_build_object('version', k.version)::text;
  elsif old.status = 'pending' or (wish -> 'now')::boolean then
    new.pack_id := k.id;
    new.incarnation := old.used_incarnation + 1;
    new.status := 'pending';
    new.restarts := 0;
    new.reason := coalesce(why, 'RolledBack');
    new.status_message := null;
  elsif k.runtime_tag <> 'universal' and exists (
      select from public.nodes n where n.id = old.node_id and n.runtime_type::text <> k.runtime_tag::text) then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('version %s does not run on the pod''s node, so that it cannot start beside the present one: replace it at once instead', k.version),
      detail = pg_catalog.jsonb_build_object('podId', old.id, 'runtimeTag', k.runtime_tag)::text;
  elsif k.id is distinct from old.next_pack_id then
    if old.next_pack_id is null then -- else it takes the room of the one that it replaces
      perform stark.refuse_without_room(old);
    end if;
    new.next_pack_id := k.id;
    new.next_incarnation := old.used_incarnation + 1;
    new.next_since := pg_catalog.now();
    new.next_reason := why;
    new.next_by := auth.uid();
    if old.reason = 'RollbackFailed' then -- of the try before
      new.reason := null;
      new.status_message := null;
    end if;
  end if;
  return new;
end $$;
revoke all on function stark.pods_guard_rollback() from public;
