-- The history is read by pod and by time, and never by the id of an entry alone: an index
-- of random ids cost each move of a pod more than the other two. Entries of one pod are
-- told apart by the time, and by their ids where that is the same.
alter table public.pod_history drop constraint pod_history_pkey;
drop index public.pod_history_pod_id_idx;
alter table public.pod_history add primary key (pod_id, created_at, id);

create or replace function stark.purge_history(most integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  upto timestamptz := (select pg_catalog.now() - c.pod_history_retention_ms * interval '1 millisecond' from public.cluster_config c);
  pods integer;
  nodes integer;
begin
  delete from public.pod_history h using (
    select o.pod_id, o.created_at, o.id from public.pod_history o
    where o.created_at < upto order by o.created_at limit most for update skip locked) old
  where h.pod_id = old.pod_id and h.created_at = old.created_at and h.id = old.id;
  get diagnostics pods = row_count;
  delete from stark.node_history h using (
    select o.id from stark.node_history o where o.created_at < upto order by o.created_at limit most for update skip locked) old
  where h.id = old.id;
  get diagnostics nodes = row_count;
  return greatest(pods, nodes);
end $$;

-- Of pods that are made at once many ask for the same: what one of them was filled in with
-- is kept for the next in a row, within the statement, as what was looked up is.
create or replace function stark.pods_forget() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.set_config('stark.filled', '', true), pg_catalog.set_config('stark.filled_alike', '', true);
  return null;
end $$;

create or replace function stark.pods_fill() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  -- No name has the character that parts them, and no jsonb shows it.
  asked text := pg_catalog.concat_ws(E'\x1f', new.created_by, new.namespace, coalesce(new.pack_id::text, ''), new.pack_name,
    new.pack_version, new.resource_requests, new.resource_limits, coalesce(new.priority_class_name, ''));
  alike text[] := nullif(pg_catalog.current_setting('stark.filled_alike', true), '')::text[];
  named text;
  got text[];
  filled jsonb[];
  class_value integer;
begin
  if alike[9] = asked then
    new.pack_id := alike[1];
    new.pack_name := alike[2];
    new.pack_version := alike[3];
    new.runtime_tag := alike[4];
    new.resource_requests := alike[5];
    new.resource_limits := alike[6];
    new.priority_class_name := alike[7];
    new.priority := alike[8];
  else
    named := array[new.created_by::text, new.namespace, new.pack_id::text, new.pack_name, new.pack_version]::text;
    got := nullif(pg_catalog.current_setting('stark.filled', true), '')::text[];
    if got[9] is distinct from named then
      got := stark.pods_lookup(new.created_by, new.namespace, new.pack_id, new.pack_name, new.pack_version) || named;
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
    perform pg_catalog.set_config('stark.filled_alike', array[new.pack_id::text, new.pack_name, new.pack_version, new.runtime_tag::text,
      new.resource_requests::text, new.resource_limits::text, new.priority_class_name, new.priority::text, asked]::text, true);
  end if;
  if new.status in ('succeeded', 'stopped', 'failed', 'evicted') then
    new.stopped_at := coalesce(new.stopped_at, pg_catalog.now());
  end if;
  return new;
end $$;
