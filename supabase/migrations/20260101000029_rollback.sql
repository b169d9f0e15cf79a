-- Another version of a pod: its next incarnation runs beside the present one, on
-- the same node, and takes its place when it is ready. Until then the pod is what
-- it was, and stays so when the next one fails.

alter table public.pods
  add column next_pack_id uuid references public.packs (id) on delete restrict,
  add column next_incarnation integer,
  add column next_since timestamptz,
  add column next_reason text,
  add column next_by uuid,
  add column rollback_request jsonb,
  add column used_incarnation integer not null default 1, -- the highest that a node was ever told of, or may have been
  add constraint pods_rollback_request_gone check (rollback_request is null),
  add constraint pods_next_whole check (
    (next_pack_id is null) = (next_incarnation is null) and (next_pack_id is null) = (next_since is null)
    and (next_pack_id is not null or (next_reason is null and next_by is null))),
  add constraint pods_next_incarnation_rises check (next_incarnation > incarnation),
  add constraint pods_next_reason_length check (pg_catalog.length(next_reason) <= 1024);
create index pods_next_since_idx on public.pods (next_since) where next_since is not null;
create index pods_next_pack_id_idx on public.pods (next_pack_id);
grant update (rollback_request) on public.pods to authenticated;

update public.pods p set used_incarnation = p.incarnation where p.incarnation > 1;

-- A replacement ends with what it replaces, and when it has become it. A move of the
-- pod takes an incarnation that no replacement has used up, also one that has failed. Its name puts it
-- behind pods_guard_update, which may have made the pod stop.
create function stark.pods_guard_update_next() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.incarnation > old.incarnation and new.incarnation <= old.used_incarnation
     and (new.incarnation, new.pack_id) is distinct from (old.next_incarnation, old.next_pack_id) then
    new.incarnation := old.used_incarnation + 1;
  end if;
  if new.incarnation > old.incarnation or new.node_id is distinct from old.node_id or new.stop_requested_at is not null
     or new.status not in ('scheduled', 'starting', 'running', 'unknown') then
    new.next_pack_id := null;
  end if;
  if new.next_pack_id is null then
    new.next_incarnation := null;
    new.next_since := null;
    new.next_reason := null;
    new.next_by := null;
  end if;
  new.used_incarnation := greatest(old.used_incarnation, new.incarnation, new.next_incarnation);
  return new;
end $$;
revoke all on function stark.pods_guard_update_next() from public;
create trigger pods_guard_update_next before update on public.pods
  for each row when (old.next_pack_id is not null or new.next_pack_id is not null or new.incarnation <> old.incarnation)
  execute function stark.pods_guard_update_next();

-- As before, and who asked for a replacement is who has made it.
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
    coalesce(who, case when n.pack_id = o.next_pack_id then o.next_by end),
    o.status, n.status, o.pack_version, n.pack_version, o.node_id, n.node_id, n.incarnation,
    case when n.node_id is not null then n.restarts + 1 end,
    case when n.pack_id = o.next_pack_id then coalesce(n.reason, o.next_reason) else n.reason end, n.status_message,
    case when w.wishes = '{}' then '{}'::jsonb else pg_catalog.jsonb_build_object('changed', w.wishes) end
  from changed n join previous o on o.id = n.id
    cross join lateral (select pg_catalog.array_remove(array[
      case when n.labels is distinct from o.labels then 'labels' end,
      case when n.annotations is distinct from o.annotations then 'annotations' end,
      case when n.next_pack_id is distinct from o.next_pack_id then 'rollout' end,
      case when n.stop_requested_at is distinct from o.stop_requested_at then 'stopRequestedAt' end], null) as wishes) w
  where n.status <> o.status or n.pack_id <> o.pack_id or n.node_id is distinct from o.node_id
    or n.restarts <> o.restarts or n.incarnation <> o.incarnation or w.wishes <> '{}';

  insert into stark.changes (kind, id, op) select 'pod', c.id::text, 'U' from changed c;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;

-- The wish for another version is a column that users may write under the policies of
-- an update, and that is never stored: {"target": version or null, "now": boolean,
-- "reason": text or null}. Its name puts the trigger before pods_guard_update, which
-- judges what it makes of the wish. SECURITY DEFINER, since it looks at the runs and
-- packs of the pod's owner.
create function stark.pods_guard_rollback() returns trigger
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
create trigger pods_guard_rollback before update on public.pods
  for each row when (new.rollback_request is not null) execute function stark.pods_guard_rollback();

-- Takes a pod to another version of its pack: the one before that has run well,
-- unless one is named. For supabase-js too: rpc('rollback_pod', {pod, target_version}).
create function public.rollback_pod(pod uuid, target_version text default null, at_once boolean default false, why text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  before text;
  p public.pods;
  pack uuid;
begin
  select s.pack_version into before from public.pods s where s.id = pod; -- as the caller: what they do not see is not there
  if not found then
    raise exception using errcode = 'ST404', message = 'pod not found';
  end if;
  update public.pods s set rollback_request =
    pg_catalog.jsonb_build_object('target', target_version, 'now', coalesce(at_once, false), 'reason', why)
  where s.id = pod returning s.* into p;
  if not found then
    raise exception using errcode = 'ST403', message = 'you may not change this pod';
  end if;
  pack := coalesce(p.next_pack_id, p.pack_id);
  return pg_catalog.jsonb_build_object('podId', p.id, 'packName', p.pack_name, 'packId', pack, 'previousVersion', before,
    'newVersion', coalesce((select k.version from public.packs k where k.id = pack), target_version));
end $$;
revoke all on function public.rollback_pod(uuid, text, boolean, text) from public, anon;
grant execute on function public.rollback_pod(uuid, text, boolean, text) to authenticated;
