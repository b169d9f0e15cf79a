-- What users write into JSON columns has exactly the shape that servers and
-- agents read. Without this a row inserted past the REST API, with a number for
-- a name or a label map for a list, would stop every server that reads it. Keys
-- outside the shape are refused too, since readers ignore the case of keys.

-- Either absent or a string of at most so many characters.
create function stark.is_text(j jsonb, most integer) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or (pg_catalog.jsonb_typeof(j) = 'string' and pg_catalog.length(j #>> '{}') <= most)
$$;

create function stark.is_label_key(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(pg_catalog.jsonb_typeof(j) = 'string' and pg_catalog.length(j #>> '{}') <= 253
    and j #>> '{}' ~ '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$', false)
$$;

-- Either absent or a list of at most 100 strings.
create function stark.is_text_list(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or (pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 100
    and not pg_catalog.jsonb_path_exists(j, 'strict $[*] ? (@.type() != "string")'))
$$;

-- A label map: as is_string_map, with the rule for values that the API has.
create function stark.is_labels(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.bool_and(
      stark.is_label_key(pg_catalog.to_jsonb(e.key)) and stark.is_text(e.value, 63)
      and e.value #>> '{}' ~ '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$'), true)
    from pg_catalog.jsonb_each(j) e)
$$;

-- A time as servers write it; make_date refuses the days that no month has.
create function stark.is_time(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or (pg_catalog.jsonb_typeof(j) = 'string'
    and j #>> '{}' ~ '^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'
    and pg_catalog.make_date(pg_catalog.substr(j #>> '{}', 1, 4)::integer, pg_catalog.substr(j #>> '{}', 6, 2)::integer,
      pg_catalog.substr(j #>> '{}', 9, 2)::integer) is not null)
$$;

-- Free documents: an object of bounded size whose numbers a float can hold.
create function stark.is_document(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and pg_catalog.pg_column_size(j) <= 65536
    and not pg_catalog.jsonb_path_exists(j, 'strict $.** ? (@.type() == "number") ? (@ > 1e308 || @ < -1e308)')
$$;

create or replace function stark.is_taints(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where not case when pg_catalog.jsonb_typeof(t) <> 'object' then false
        else t - '{key,value,effect,timeAdded}'::text[] = '{}' and stark.is_label_key(t -> 'key')
          and stark.is_text(t -> 'value', 63) and stark.is_text(t -> 'effect', 63) and stark.is_time(t -> 'timeAdded')
          and coalesce(t ->> 'effect' in ('NoSchedule', 'PreferNoSchedule', 'NoExecute'), false) end)
$$;

create or replace function stark.is_tolerations(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where not case when pg_catalog.jsonb_typeof(t) <> 'object' then false
        else t - '{key,operator,value,effect,tolerationSeconds}'::text[] = '{}'
          and (t -> 'key' is null or t -> 'key' = '""' or stark.is_label_key(t -> 'key'))
          and stark.is_text(t -> 'operator', 63) and stark.is_text(t -> 'value', 63) and stark.is_text(t -> 'effect', 63)
          and coalesce(t ->> 'operator', '') in ('', 'Equal', 'Exists')
          and coalesce(t ->> 'effect', '') in ('', 'NoSchedule', 'PreferNoSchedule', 'NoExecute')
          and (coalesce(t ->> 'key', '') <> '' or t ->> 'operator' = 'Exists')
          and (t -> 'tolerationSeconds' is null or (t -> 'tolerationSeconds')::text ~ '^[0-9]{1,15}$') end)
$$;

create function stark.is_requirements(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or (pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) r
      where not case when pg_catalog.jsonb_typeof(r) <> 'object' then false
        else r - '{key,operator,values}'::text[] = '{}' and stark.is_label_key(r -> 'key')
          and stark.is_text(r -> 'operator', 63) and stark.is_text_list(r -> 'values')
          and coalesce(r ->> 'operator' in ('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'), false) end))
$$;

-- A selector is an object of these keys: a map of labels, lists of requirements.
create function stark.is_selector(j jsonb, keys text[]) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - keys = '{}' and (j -> 'matchLabels' is null or stark.is_labels(j -> 'matchLabels'))
      and stark.is_requirements(j -> 'matchExpressions') and stark.is_requirements(j -> 'matchFields') end
$$;

create function stark.is_weight(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(j::text ~ '^([1-9][0-9]?|100)$', false)
$$;

create function stark.is_node_affinity(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
  required jsonb := j -> 'requiredDuringSchedulingIgnoredDuringExecution';
  preferred jsonb := coalesce(j -> 'preferredDuringSchedulingIgnoredDuringExecution', '[]');
  term_keys text[] := '{matchExpressions,matchFields}';
begin
  if j is null then
    return true;
  elsif pg_catalog.jsonb_typeof(j) <> 'object' or pg_catalog.jsonb_typeof(preferred) <> 'array'
     or j - '{requiredDuringSchedulingIgnoredDuringExecution,preferredDuringSchedulingIgnoredDuringExecution}'::text[] <> '{}' then
    return false;
  elsif required is not null and (pg_catalog.jsonb_typeof(required) <> 'object' or required - 'nodeSelectorTerms' <> '{}'
     or coalesce(pg_catalog.jsonb_typeof(required -> 'nodeSelectorTerms') <> 'array', true)) then
    return false;
  elsif exists (select 1 from pg_catalog.jsonb_array_elements(required -> 'nodeSelectorTerms') t
     where not stark.is_selector(t, term_keys)) then
    return false;
  end if;
  return not exists (select 1 from pg_catalog.jsonb_array_elements(preferred) p
    where not case when pg_catalog.jsonb_typeof(p) <> 'object' then false
      else p - '{weight,preference}'::text[] = '{}' and stark.is_weight(p -> 'weight')
        and stark.is_selector(coalesce(p -> 'preference', 'null'), term_keys) end);
end $$;

create function stark.is_pod_term(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{labelSelector,namespaces,topologyKey}'::text[] = '{}' and stark.is_label_key(j -> 'topologyKey')
      and stark.is_text_list(j -> 'namespaces') and stark.is_selector(j -> 'labelSelector', '{matchLabels,matchExpressions}') end, false)
$$;

create function stark.is_pod_affinity(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
  required jsonb := coalesce(j -> 'requiredDuringSchedulingIgnoredDuringExecution', '[]');
  preferred jsonb := coalesce(j -> 'preferredDuringSchedulingIgnoredDuringExecution', '[]');
begin
  if j is null then
    return true;
  elsif pg_catalog.jsonb_typeof(j) <> 'object' or pg_catalog.jsonb_typeof(required) <> 'array' or pg_catalog.jsonb_typeof(preferred) <> 'array'
     or j - '{requiredDuringSchedulingIgnoredDuringExecution,preferredDuringSchedulingIgnoredDuringExecution}'::text[] <> '{}' then
    return false;
  end if;
  return not exists (select 1 from pg_catalog.jsonb_array_elements(required) t where not stark.is_pod_term(t))
    and not exists (select 1 from pg_catalog.jsonb_array_elements(preferred) p
      where not case when pg_catalog.jsonb_typeof(p) <> 'object' then false
        else p - '{weight,podAffinityTerm}'::text[] = '{}' and stark.is_weight(p -> 'weight')
          and stark.is_pod_term(p -> 'podAffinityTerm') end);
end $$;

create function stark.is_scheduling(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{nodeSelector,nodeName,nodeAffinity,podAffinity,podAntiAffinity}'::text[] = '{}'
      and pg_catalog.pg_column_size(j) <= 65536 and stark.is_text(j -> 'nodeName', 253)
      and (j -> 'nodeSelector' is null or stark.is_labels(j -> 'nodeSelector')) and stark.is_node_affinity(j -> 'nodeAffinity')
      and stark.is_pod_affinity(j -> 'podAffinity') and stark.is_pod_affinity(j -> 'podAntiAffinity') end
$$;

create function stark.is_capabilities(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{version,arch,os,agent,features}'::text[] = '{}' and pg_catalog.pg_column_size(j) <= 16384
      and stark.is_text(j -> 'version', 256) and stark.is_text(j -> 'arch', 256) and stark.is_text(j -> 'os', 256)
      and stark.is_text(j -> 'agent', 256) and stark.is_text_list(j -> 'features') end
$$;

-- As shared/api has it: names, reserved prefix, number and size.
create function stark.is_env(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.sum(pg_catalog.octet_length(e.key) + pg_catalog.octet_length(e.value #>> '{}')), 0) <= 131072
      and coalesce(pg_catalog.bool_and(e.key ~ '^[A-Za-z_][A-Za-z0-9_]{0,255}$' and e.key !~ '^STARK_'
        and pg_catalog.jsonb_typeof(e.value) = 'string'), true)
    from pg_catalog.jsonb_each(j) e)
$$;

create function stark.is_annotations(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.sum(pg_catalog.octet_length(e.key) + pg_catalog.octet_length(e.value #>> '{}')), 0) <= 262144
      and coalesce(pg_catalog.bool_and(stark.is_label_key(pg_catalog.to_jsonb(e.key)) and pg_catalog.jsonb_typeof(e.value) = 'string'), true)
    from pg_catalog.jsonb_each(j) e)
$$;

create or replace function stark.is_quota(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'object' and j ? 'hard' and j - 'hard' = '{}' and stark.is_capacity(j -> 'hard')
$$;

do $$
declare
  f regprocedure;
begin
  for f in select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'stark'::regnamespace and p.proname in ('is_text', 'is_label_key', 'is_text_list', 'is_labels', 'is_time',
      'is_document', 'is_requirements', 'is_selector', 'is_weight', 'is_node_affinity', 'is_pod_term', 'is_pod_affinity',
      'is_scheduling', 'is_capabilities', 'is_env', 'is_annotations')
  loop
    execute format('revoke all on function %s from public', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

alter table public.pods
  drop constraint pods_env_object, drop constraint pods_metadata_object, drop constraint pods_labels_valid,
  drop constraint pods_annotations_valid, drop constraint pods_tolerations_valid, drop constraint pods_scheduling_object,
  add constraint pods_env_valid check (env = '{}' or stark.is_env(env)),
  add constraint pods_metadata_valid check (metadata = '{}' or stark.is_document(metadata)),
  add constraint pods_labels_valid check (labels = '{}' or stark.is_labels(labels)),
  add constraint pods_annotations_valid check (annotations = '{}' or stark.is_annotations(annotations)),
  add constraint pods_tolerations_valid check (tolerations = '[]' or stark.is_tolerations(tolerations)),
  add constraint pods_scheduling_valid check (scheduling = '{}' or stark.is_scheduling(scheduling));

alter table public.packs
  drop constraint packs_metadata_object,
  add constraint packs_metadata_valid check (metadata = '{}' or stark.is_document(metadata));

alter table public.nodes
  drop constraint nodes_capabilities_object, drop constraint nodes_labels_valid, drop constraint nodes_annotations_valid,
  drop constraint nodes_taints_valid, drop constraint nodes_namespaces_length,
  add constraint nodes_capabilities_valid check (capabilities = '{}' or stark.is_capabilities(capabilities)),
  add constraint nodes_labels_valid check (labels = '{}' or stark.is_labels(labels)),
  add constraint nodes_annotations_valid check (annotations = '{}' or stark.is_annotations(annotations)),
  add constraint nodes_taints_valid check (taints = '[]' or stark.is_taints(taints)),
  add constraint nodes_namespaces_valid check (namespaces = '{}' or (cardinality(namespaces) <= 100
    and array_ndims(namespaces) = 1 and array_position(namespaces, null) is null));

alter table public.namespaces
  drop constraint namespaces_labels_valid, drop constraint namespaces_annotations_valid,
  add constraint namespaces_labels_valid check (labels = '{}' or stark.is_labels(labels)),
  add constraint namespaces_annotations_valid check (annotations = '{}' or stark.is_annotations(annotations));

-- Whether a bundle of this size lies in Storage. It says no more than that, to
-- whoever can name the digest of the bundle.
create function stark.bundle_stored(path text, size bigint) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select 1 from storage.objects o
    where o.bucket_id = 'pack-bundles' and o.name = path and o.metadata ->> 'size' = size::text)
$$;
revoke all on function stark.bundle_stored(text, bigint) from public;
grant execute on function stark.bundle_stored(text, bigint) to authenticated, service_role;

-- A user cannot call a pack ready whose bundle has not come.
create function stark.packs_guard_ready() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_user = 'authenticated' and not stark.bundle_stored(new.bundle_path, new.bundle_size) then
    raise exception using errcode = 'STINV', message = 'the bundle of this pack is not in Storage',
      detail = pg_catalog.jsonb_build_object('packId', new.id, 'bundlePath', new.bundle_path)::text;
  end if;
  return null;
end $$;
revoke all on function stark.packs_guard_ready() from public;
create trigger packs_guard_ready after update of status on public.packs
  for each row when (new.status = 'ready' and old.status <> 'ready') execute function stark.packs_guard_ready();

-- Whoever names a pack twice, by its id and by its name or version, must mean one.
create function stark.pods_same_pack() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  p record;
begin
  select k.name, k.version into p from public.packs k where k.id = new.pack_id
    and (k.owner_id = new.created_by or k.visibility = 'public' or stark.staff(new.created_by));
  if new.pack_name not in ('', p.name) then
    perform stark.refuse_field('packName', 'INVALID_VALUE', 'is not the name of the pack');
  elsif new.pack_version not in ('', 'latest', p.version) then
    perform stark.refuse_field('packVersion', 'INVALID_VALUE', pg_catalog.format('is not the version of the pack, which is %s', p.version));
  end if;
  return new;
end $$;
revoke all on function stark.pods_same_pack() from public;
-- Its name puts it before pods_fill, which overwrites both.
create trigger pods_0_same_pack before insert on public.pods
  for each row when (new.pack_id is not null and (new.pack_name <> '' or new.pack_version <> ''))
  execute function stark.pods_same_pack();

-- Requests and limits of other names would be dropped without a word.
create function stark.pods_known_resources() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if pg_catalog.jsonb_typeof(new.resource_requests) = 'object' and new.resource_requests - '{cpu,memory,storage}'::text[] <> '{}' then
    perform stark.refuse_field('resourceRequests', 'UNKNOWN_FIELD', 'knows cpu, memory and storage');
  elsif pg_catalog.jsonb_typeof(new.resource_limits) = 'object' and new.resource_limits - '{cpu,memory,storage}'::text[] <> '{}' then
    perform stark.refuse_field('resourceLimits', 'UNKNOWN_FIELD', 'knows cpu, memory and storage');
  end if;
  return new;
end $$;
revoke all on function stark.pods_known_resources() from public;
create trigger pods_0_known_resources before insert on public.pods
  for each row when (new.resource_requests <> '{}' or new.resource_limits <> '{}')
  execute function stark.pods_known_resources();
