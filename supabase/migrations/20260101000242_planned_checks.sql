-- The pure questions of the constraints and triggers, as those of the policies in the
-- migration before: a statement that stored one labelled pod planned some forty queries.
-- They say what they said before; a name means the column first, as it does in SQL.

create or replace function stark.is_capacity(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where e.key not in ('cpu', 'memory', 'storage', 'pods')
       or pg_catalog.jsonb_typeof(e.value) <> 'number'
       or e.value::text !~ '^[0-9]{1,15}$');
end $$;

create or replace function stark.is_resources(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where e.key not in ('cpu', 'memory', 'storage')
       or pg_catalog.jsonb_typeof(e.value) <> 'number'
       or e.value::text !~ '^[0-9]{1,15}$');
end $$;

create or replace function stark.is_string_map(j jsonb, max_keys integer, max_length integer) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object'
    and (select pg_catalog.count(*) <= max_keys and coalesce(pg_catalog.bool_and(
           e.key ~ '^([A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*$' and pg_catalog.length(e.key) <= 253
           and pg_catalog.jsonb_typeof(e.value) = 'string' and pg_catalog.length(e.value #>> '{}') <= max_length), true)
         from pg_catalog.jsonb_each(j) e);
end $$;

create or replace function stark.is_quota(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and j ? 'hard' and j - '{hard,priorityClasses}'::text[] = '{}' and stark.is_capacity(j -> 'hard')
    and case when j -> 'priorityClasses' is null then true
      when pg_catalog.jsonb_typeof(j -> 'priorityClasses') <> 'object' then false
      else (select pg_catalog.count(*) <= 50 and coalesce(pg_catalog.bool_and(
          e.key ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$' and stark.is_capacity(e.value)), true)
        from pg_catalog.jsonb_each(j -> 'priorityClasses') e) end;
end $$;

create or replace function stark.is_limit_range(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object'
    and not exists (select 1 from pg_catalog.jsonb_each(j) e
      where e.key not in ('default', 'defaultRequest', 'max', 'min') or not stark.is_resources(e.value))
    and coalesce((select pg_catalog.bool_and(
        coalesce((j #>> array['min', r])::bigint <= (j #>> array['max', r])::bigint, true)
        and coalesce((j #>> array['default', r])::bigint <= (j #>> array['max', r])::bigint, true)
        and coalesce((j #>> array['min', r])::bigint <= (j #>> array['defaultRequest', r])::bigint, true)
        and coalesce((j #>> array['defaultRequest', r])::bigint <= (j #>> array['default', r])::bigint, true))
      from pg_catalog.unnest(array['cpu', 'memory', 'storage']) r), true);
end $$;

create or replace function stark.is_taints(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where not case when pg_catalog.jsonb_typeof(t) <> 'object' then false
        else t - '{key,value,effect,timeAdded}'::text[] = '{}' and stark.is_label_key(t -> 'key')
          and stark.is_text(t -> 'value', 63) and stark.is_text(t -> 'effect', 63) and stark.is_time(t -> 'timeAdded')
          and coalesce(t ->> 'effect' in ('NoSchedule', 'PreferNoSchedule', 'NoExecute'), false) end);
end $$;

create or replace function stark.is_tolerations(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where not case when pg_catalog.jsonb_typeof(t) <> 'object' then false
        else t - '{key,operator,value,effect,tolerationSeconds}'::text[] = '{}'
          and (t -> 'key' is null or t -> 'key' = '""' or stark.is_label_key(t -> 'key'))
          and stark.is_text(t -> 'operator', 63) and stark.is_text(t -> 'value', 63) and stark.is_text(t -> 'effect', 63)
          and coalesce(t ->> 'operator', '') in ('', 'Equal', 'Exists')
          and coalesce(t ->> 'effect', '') in ('', 'NoSchedule', 'PreferNoSchedule', 'NoExecute')
          and (coalesce(t ->> 'key', '') <> '' or t ->> 'operator' = 'Exists')
          and (t -> 'tolerationSeconds' is null or (t -> 'tolerationSeconds')::text ~ '^[0-9]{1,15}$') end);
end $$;

create or replace function stark.pod_can_move(old_status public.pod_status, new_status public.pod_status, raised boolean) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case old_status
    when 'pending' then new_status in ('scheduled', 'stopped', 'failed', 'evicted')
    when 'scheduled' then new_status in ('starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'starting' then new_status in ('running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'running' then new_status in ('starting', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'stopping' then new_status in ('stopped', 'succeeded', 'failed', 'evicted', 'unknown')
      or (new_status = 'pending' and raised)
    when 'unknown' then new_status in ('scheduled', 'starting', 'running', 'stopping', 'stopped', 'succeeded', 'failed', 'evicted')
      or (new_status = 'pending' and raised)
    else false
  end;
end $$;

create or replace function stark.is_text(j jsonb, most integer) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or (pg_catalog.jsonb_typeof(j) = 'string' and pg_catalog.length(j #>> '{}') <= most);
end $$;

create or replace function stark.is_label_key(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return coalesce(pg_catalog.jsonb_typeof(j) = 'string' and pg_catalog.length(j #>> '{}') <= 253
    and j #>> '{}' ~ '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$', false);
end $$;

create or replace function stark.is_text_list(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or (pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 100
    and not pg_catalog.jsonb_path_exists(j, 'strict $[*] ? (@.type() != "string")'));
end $$;

create or replace function stark.is_labels(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.bool_and(
      stark.is_label_key(pg_catalog.to_jsonb(e.key)) and stark.is_text(e.value, 63)
      and e.value #>> '{}' ~ '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$'), true)
    from pg_catalog.jsonb_each(j) e);
end $$;

create or replace function stark.is_time(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or (pg_catalog.jsonb_typeof(j) = 'string'
    and j #>> '{}' ~ '^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'
    and pg_catalog.make_date(pg_catalog.substr(j #>> '{}', 1, 4)::integer, pg_catalog.substr(j #>> '{}', 6, 2)::integer,
      pg_catalog.substr(j #>> '{}', 9, 2)::integer) is not null);
end $$;

create or replace function stark.is_document(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and pg_catalog.pg_column_size(j) <= 65536
    and not pg_catalog.jsonb_path_exists(j, 'strict $.** ? (@.type() == "number") ? (@ > 1e308 || @ < -1e308)');
end $$;

create or replace function stark.is_requirements(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or (pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) r
      where not case when pg_catalog.jsonb_typeof(r) <> 'object' then false
        else r - '{key,operator,values}'::text[] = '{}' and stark.is_label_key(r -> 'key')
          and stark.is_text(r -> 'operator', 63) and stark.is_text_list(r -> 'values')
          and coalesce(r ->> 'operator' in ('In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'), false) end));
end $$;

create or replace function stark.is_selector(j jsonb, keys text[]) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - keys = '{}' and (j -> 'matchLabels' is null or stark.is_labels(j -> 'matchLabels'))
      and stark.is_requirements(j -> 'matchExpressions') and stark.is_requirements(j -> 'matchFields') end;
end $$;

create or replace function stark.is_weight(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return coalesce(j::text ~ '^([1-9][0-9]?|100)$', false);
end $$;

create or replace function stark.is_pod_term(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return coalesce(case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{labelSelector,namespaces,namespaceSelector,topologyKey}'::text[] = '{}' and stark.is_label_key(j -> 'topologyKey')
      and stark.is_text_list(j -> 'namespaces') and stark.is_selector(j -> 'labelSelector', '{matchLabels,matchExpressions}')
      and stark.is_selector(j -> 'namespaceSelector', '{matchLabels,matchExpressions}') end, false);
end $$;

create or replace function stark.is_scheduling(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{nodeSelector,nodeName,nodeAffinity,podAffinity,podAntiAffinity,topologySpreadConstraints}'::text[] = '{}'
      and pg_catalog.pg_column_size(j) <= 65536 and stark.is_text(j -> 'nodeName', 253)
      and (j -> 'nodeSelector' is null or stark.is_labels(j -> 'nodeSelector')) and stark.is_node_affinity(j -> 'nodeAffinity')
      and stark.is_pod_affinity(j -> 'podAffinity') and stark.is_pod_affinity(j -> 'podAntiAffinity')
      and stark.is_spreads(j -> 'topologySpreadConstraints') end;
end $$;

create or replace function stark.is_capabilities(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{version,arch,os,agent,features}'::text[] = '{}' and pg_catalog.pg_column_size(j) <= 16384
      and stark.is_text(j -> 'version', 256) and stark.is_text(j -> 'arch', 256) and stark.is_text(j -> 'os', 256)
      and stark.is_text(j -> 'agent', 256) and stark.is_text_list(j -> 'features') end;
end $$;

create or replace function stark.is_env(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.sum(pg_catalog.octet_length(e.key) + pg_catalog.octet_length(e.value #>> '{}')), 0) <= 131072
      and coalesce(pg_catalog.bool_and(e.key ~ '^[A-Za-z_][A-Za-z0-9_]{0,255}$' and e.key !~ '^STARK_'
        and pg_catalog.jsonb_typeof(e.value) = 'string'), true)
    from pg_catalog.jsonb_each(j) e);
end $$;

create or replace function stark.is_annotations(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return pg_catalog.jsonb_typeof(j) = 'object' and (
    select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.sum(pg_catalog.octet_length(e.key) + pg_catalog.octet_length(e.value #>> '{}')), 0) <= 262144
      and coalesce(pg_catalog.bool_and(stark.is_label_key(pg_catalog.to_jsonb(e.key)) and pg_catalog.jsonb_typeof(e.value) = 'string'), true)
    from pg_catalog.jsonb_each(j) e);
end $$;

create or replace function stark.within_bounds(j jsonb, most jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return not exists (
    select 1 from pg_catalog.jsonb_each(j) e
    where case when pg_catalog.jsonb_typeof(e.value) = 'number' then e.value > coalesce(most -> e.key, e.value) else false end);
end $$;

create or replace function stark.is_count(j jsonb, lowest integer, highest integer) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case when j is null then true
    when pg_catalog.jsonb_typeof(j) <> 'number' or j::text !~ '^[0-9]{1,9}$' then false
    else j::text::integer between lowest and highest end;
end $$;

create or replace function stark.is_spread(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return coalesce(case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{maxSkew,topologyKey,whenUnsatisfiable,labelSelector,minDomains}'::text[] = '{}'
      and j ? 'maxSkew' and stark.is_count(j -> 'maxSkew', 1, 1000000) and stark.is_label_key(j -> 'topologyKey')
      and stark.is_text(j -> 'whenUnsatisfiable', 63)
      and coalesce(j ->> 'whenUnsatisfiable', '') in ('', 'DoNotSchedule', 'ScheduleAnyway')
      and stark.is_selector(j -> 'labelSelector', '{matchLabels,matchExpressions}')
      and stark.is_count(j -> 'minDomains', 1, 1000000) end, false);
end $$;

create or replace function stark.is_spreads(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return j is null or case when pg_catalog.jsonb_typeof(j) <> 'array' then false
    else pg_catalog.jsonb_array_length(j) <= 10
      and not exists (select 1 from pg_catalog.jsonb_array_elements(j) s where not stark.is_spread(s)) end;
end $$;

create or replace function stark.is_disruption_budget(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - 'maxUnavailable' = '{}' and j ? 'maxUnavailable' and stark.is_count(j -> 'maxUnavailable', 0, 1000000) end;
end $$;

create or replace function stark.is_score_weights(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{policy,taints,nodeAffinity,podAffinity,topologySpread,bundle}'::text[] = '{}'
      and not exists (select 1 from pg_catalog.jsonb_each(j) e where not stark.is_count(e.value, 0, 1000)) end;
end $$;

create or replace function stark.run_can_move(old_status public.run_status, new_status public.run_status) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return case old_status
    when 'assigned' then new_status in ('starting', 'running', 'stopping', 'exited', 'lost')
    when 'starting' then new_status in ('running', 'stopping', 'exited', 'lost')
    when 'running' then new_status in ('stopping', 'exited', 'lost')
    when 'stopping' then new_status in ('exited', 'lost')
    else false
  end;
end $$;

create or replace function stark.system_taint(key text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  return key in ('node.stark.io/unreachable', 'node.stark.io/not-ready', 'node.stark.io/maintenance', 'node.stark.io/unschedulable')
    or exists (select from stark.condition_taints c where c.key = system_taint.key);
end $$;

create or replace function stark.own_taints(taints jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return case when pg_catalog.jsonb_typeof(taints) <> 'array' then taints else
    coalesce((select pg_catalog.jsonb_agg(t.taint order by t.n)
      from pg_catalog.jsonb_array_elements(taints) with ordinality t (taint, n)
      where not coalesce(stark.system_taint(t.taint ->> 'key'), false)), '[]') end;
end $$;
