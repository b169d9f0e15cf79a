-- What an operator and a node's own state do to the pods on it: taints that the
-- cluster sets by itself, maintenance, and drains as a stored state.

-- Which condition of a node, as its agent reports it, is which taint. The taints of a
-- node's status stand in nodes_keep_taints.
create table stark.condition_taints (
  condition text not null,
  status boolean not null,
  key text not null,
  effect text not null,
  primary key (condition, status),
  constraint condition_taints_effect_known check (effect in ('NoSchedule', 'PreferNoSchedule', 'NoExecute'))
);
insert into stark.condition_taints (condition, status, key, effect) values
  ('Ready', false, 'node.stark.io/not-ready', 'NoExecute'),
  ('DiskPressure', true, 'node.stark.io/disk-pressure', 'NoSchedule'),
  ('MemoryPressure', true, 'node.stark.io/memory-pressure', 'NoSchedule'),
  ('PIDPressure', true, 'node.stark.io/pid-pressure', 'NoSchedule'),
  ('NetworkUnavailable', true, 'node.stark.io/network-unavailable', 'NoSchedule'),
  ('Hidden', true, 'node.stark.io/hidden', 'PreferNoSchedule'),
  ('OnBattery', true, 'node.stark.io/on-battery', 'PreferNoSchedule'),
  ('Throttled', true, 'node.stark.io/throttled', 'NoSchedule'),
  ('Frozen', true, 'node.stark.io/frozen', 'NoSchedule');
alter table stark.condition_taints enable row level security;
revoke all on stark.condition_taints from public, anon, authenticated, service_role;
grant select on stark.condition_taints to service_role;

create function stark.system_taint(key text) returns boolean
language sql stable security definer set search_path = '' as $$
  select key in ('node.stark.io/unreachable', 'node.stark.io/not-ready', 'node.stark.io/maintenance', 'node.stark.io/unschedulable')
    or exists (select from stark.condition_taints c where c.key = system_taint.key)
$$;

-- The taints that somebody has put on a node, without those of the cluster.
create function stark.own_taints(taints jsonb) returns jsonb
language sql stable set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(taints) <> 'array' then taints else
    coalesce((select pg_catalog.jsonb_agg(t.taint order by t.n)
      from pg_catalog.jsonb_array_elements(taints) with ordinality t (taint, n)
      where not coalesce(stark.system_taint(t.taint ->> 'key'), false)), '[]') end
$$;
revoke all on function stark.system_taint(text), stark.own_taints(jsonb) from public;
grant execute on function stark.system_taint(text), stark.own_taints(jsonb) to authenticated, service_role;

alter table public.nodes
  add column maintenance boolean not null default false,
  add column drain jsonb,
  add column drain_request jsonb,
  add constraint nodes_drain_request_gone check (drain_request is null),
  add constraint nodes_drain_valid check (drain is null or (jsonb_typeof(drain) = 'object' and pg_column_size(drain) <= 16384
    and coalesce(drain ->> 'phase' in ('draining', 'drained', 'timedOut'), false)));
create index nodes_draining_idx on public.nodes (id) where drain ->> 'phase' = 'draining';
grant update (maintenance, drain_request) on public.nodes to authenticated;

-- Why a drain has not told a pod to leave yet. The row is for whoever sees the pod.
create table stark.drain_blocks (
  pod_id uuid primary key references public.pods (id) on delete cascade,
  node_id uuid not null references public.nodes (id) on delete cascade,
  reason text not null,
  message text not null,
  since timestamptz not null default now()
);
create index drain_blocks_node_id_idx on stark.drain_blocks (node_id);
alter table stark.drain_blocks enable row level security;
revoke all on stark.drain_blocks from public, anon, authenticated, service_role;
grant select, insert, update, delete on stark.drain_blocks to service_role;

-- The wish to drain is a column that users may write under the policies of an update,
-- and that is never stored: {"graceSeconds", "timeoutSeconds", "force", "ignoreBudget",
-- "ignoreLabels"}, each optional, or {"cancel": true}. What an operator wants of a node
-- is kept beside its status, so that a node that goes away and comes back is where it was.
create function stark.nodes_operate() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  wish jsonb := new.drain_request;
  timeout integer;
begin
  new.drain_request := null;
  if wish is not null then
    if pg_catalog.jsonb_typeof(wish) <> 'object' then
      perform stark.refuse_field('drainRequest', 'INVALID_TYPE', 'must be an object');
    elsif wish - '{graceSeconds,timeoutSeconds,force,ignoreBudget,ignoreLabels,cancel}'::text[] <> '{}' then
      perform stark.refuse_field('drainRequest', 'UNKNOWN_FIELD', 'knows graceSeconds, timeoutSeconds, force, ignoreBudget, ignoreLabels and cancel');
    elsif not stark.is_text(wish -> 'ignoreLabels', 1024) then
      perform stark.refuse_field('ignoreLabels', 'TOO_LONG', 'must be a text of at most 1024 characters');
    elsif coalesce((wish -> 'graceSeconds')::text, '0') !~ '^[0-9]{1,4}$' or (wish ->> 'graceSeconds')::integer > 3600 then
      perform stark.refuse_field('graceSeconds', 'OUT_OF_RANGE', 'must be between 0 and 3600');
    elsif coalesce((wish -> 'timeoutSeconds')::text, '0') !~ '^[0-9]{1,6}$' or (wish ->> 'timeoutSeconds')::integer > 604800 then
      perform stark.refuse_field('timeoutSeconds', 'OUT_OF_RANGE', 'must be between 0 and 604800');
    end if;
    if coalesce(wish ->> 'cancel' = 'true', false) then
      if new.drain ->> 'phase' = 'draining' then
        new.drain := null;
      end if;
    else
      timeout := coalesce((wish ->> 'timeoutSeconds')::integer, 0);
      new.unschedulable := true;
      new.drain := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'phase', 'draining', 'since', case when new.drain ->> 'phase' = 'draining' then new.drain ->> 'since' else pg_catalog.to_jsonb(pg_catalog.now()) #>> '{}' end,
        'by', auth.uid(), 'graceSeconds', wish -> 'graceSeconds',
        'deadline', case when timeout > 0 then pg_catalog.now() + timeout * interval '1 second' end,
        'force', coalesce(wish ->> 'force' = 'true', false), 'ignoreBudget', coalesce(wish ->> 'ignoreBudget' = 'true', false),
        'ignoreLabels', nullif(wish ->> 'ignoreLabels', ''), 'total', 0, 'remaining', 0, 'blocked', 0));
    end if;
  end if;
  if tg_op = 'UPDATE' then
    if old.unschedulable and not new.unschedulable then
      new.drain := null; -- to uncordon a node is to want pods on it again
    end if;
  end if;
  if new.status in ('online', 'draining', 'maintenance') then
    new.status := case when new.maintenance then 'maintenance'
      when new.drain ->> 'phase' = 'draining' then 'draining' else 'online' end;
  end if;
  return new;
end $$;
revoke all on function stark.nodes_operate() from public;
create trigger nodes_operate before insert or update on public.nodes
  for each row execute function stark.nodes_operate();

-- Who sends back the taints that they have read, those of the cluster among them, means
-- no harm; who adds one of those gets to know what to do instead.
create function stark.nodes_guard_taints() returns trigger
language plpgsql set search_path = '' as $$
declare
  wrong text;
begin
  if current_user <> 'authenticated' or pg_catalog.jsonb_typeof(new.taints) <> 'array' then
    return new;
  end if;
  select t ->> 'key' into wrong from pg_catalog.jsonb_array_elements(new.taints) t
  where stark.system_taint(t ->> 'key') and (tg_op = 'INSERT' or not exists (
    select from pg_catalog.jsonb_array_elements(old.taints) b where b ->> 'key' = t ->> 'key' and b ->> 'effect' = t ->> 'effect'))
  limit 1;
  if found then
    wrong := pg_catalog.format('cannot hold %s, which the cluster sets by itself: cordon or drain the node, or put it into maintenance', wrong);
    raise exception using errcode = 'ST400', message = 'taints ' || wrong,
      detail = pg_catalog.jsonb_build_object('taints', pg_catalog.jsonb_build_object('code', 'RESERVED', 'message', wrong))::text;
  end if;
  return new;
end $$;
revoke all on function stark.nodes_guard_taints() from public;
create trigger nodes_guard_taints before insert or update of taints on public.nodes
  for each row execute function stark.nodes_guard_taints();

-- The taints of a node are those that somebody put there, and those of its state. The
-- time since when a NoExecute taint holds is the database's, and that of the taint that
-- was there before: pods leave by it.
create function stark.nodes_keep_taints() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  before jsonb := case when tg_op = 'UPDATE' then old.taints else '[]'::jsonb end;
begin
  if pg_catalog.jsonb_typeof(new.taints) <> 'array' then
    return new; -- the constraint refuses it
  end if;
  with wanted as (
    select t.taint, t.n from pg_catalog.jsonb_array_elements(stark.own_taints(new.taints)) with ordinality t (taint, n)
    union all
    select pg_catalog.jsonb_build_object('key', s.key, 'effect', s.effect), 1000 + s.n
    from (values
      (1, 'node.stark.io/unreachable', 'NoExecute', new.status in ('unhealthy', 'offline')),
      (2, 'node.stark.io/not-ready', 'NoSchedule', new.status = 'suspect'),
      (3, 'node.stark.io/maintenance', 'NoExecute', new.maintenance),
      (4, 'node.stark.io/unschedulable', 'NoSchedule', new.unschedulable)) s (n, key, effect, holds)
    where s.holds
    union all
    select pg_catalog.jsonb_build_object('key', k.key, 'effect', k.effect), 2000
    from stark.condition_taints k
    where pg_catalog.jsonb_typeof(new.conditions) = 'array' and exists (
      select from pg_catalog.jsonb_array_elements(new.conditions) c
      where c ->> 'type' = k.condition and c ->> 'status' = k.status::text))
  select coalesce(pg_catalog.jsonb_agg(
      case when w.taint ->> 'effect' <> 'NoExecute' then w.taint
        else w.taint || pg_catalog.jsonb_build_object('timeAdded', coalesce(
          (select b -> 'timeAdded' from pg_catalog.jsonb_array_elements(before) b
           where (b ->> 'key', b ->> 'effect', coalesce(b ->> 'value', '')) = (w.taint ->> 'key', w.taint ->> 'effect', coalesce(w.taint ->> 'value', ''))
           limit 1), pg_catalog.to_jsonb(pg_catalog.now()))) end
      order by w.n, w.taint ->> 'key'), '[]')
  into new.taints
  from wanted w;
  return new;
end $$;
revoke all on function stark.nodes_keep_taints() from public;
create trigger nodes_taints before insert or update of taints, status, conditions, unschedulable, maintenance, drain_request on public.nodes
  for each row execute function stark.nodes_keep_taints();

alter table public.nodes
  drop constraint nodes_taints_valid,
  add constraint nodes_taints_valid check (taints = '[]' or stark.is_taints(stark.own_taints(taints)));
update public.nodes set taints = taints;
