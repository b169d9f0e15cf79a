-- The way back leads to what the owner of the pod may still use, and nowhere else:
-- a version that was made private since it ran is not theirs to run again.
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
    new.next_pack_id := k.id;
    new.next_incarnation := old.used_incarnation + 1;
    new.next_since := pg_catalog.now();
    new.next_reason := why;
    new.next_by := auth.uid();
  end if;
  return new;
end $$;

-- Who changes the version of a pod that somebody else owns may not see the pack of
-- the other version; the pod gets its name nevertheless.
alter function stark.pods_guard_update() security definer;

-- As before, and the pack that a pod is changing to: who sees the change sees to what.
create or replace function stark.member_packs() returns setof uuid
language sql stable security definer set search_path = '' as $$
  select v.pack_id
  from public.namespace_members m join public.pods p on p.namespace = m.namespace
    cross join lateral (values (p.pack_id), (p.next_pack_id)) v (pack_id)
  where m.user_id = auth.uid() and v.pack_id is not null
$$;

-- A second foreign key to packs would leave a client that asks for a pod with its
-- pack (select=*,packs(*)) with two ways to choose from, and so with an error. What
-- the key did is done by two triggers.
alter table public.pods drop constraint pods_next_pack_id_fkey;

create function stark.pods_next_pack_there() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from public.packs k where k.id = new.next_pack_id for key share; -- until the end, as a foreign key does
  if not found then
    raise exception using errcode = '23503', constraint = 'pods_pack_id_fkey', message = 'the pack of the next version is gone';
  end if;
  return null;
end $$;
create trigger pods_next_pack_there after insert or update on public.pods
  for each row when (new.next_pack_id is not null) execute function stark.pods_next_pack_there();

-- In time behind a deletion, that is behind the lock that it takes on the pack.
create function stark.packs_next_of_none() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.pods p where p.next_pack_id = old.id) then
    raise exception using errcode = '23503', constraint = 'pods_pack_id_fkey', message = 'a pod is changing to this version';
  end if;
  return null;
end $$;
create trigger packs_next_of_none after delete on public.packs
  for each row execute function stark.packs_next_of_none();
revoke all on function stark.pods_next_pack_there(), stark.packs_next_of_none() from public;
