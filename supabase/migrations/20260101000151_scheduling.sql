-- What the scheduler reads since it knows spread constraints, preemption and
-- budgets: further keys of pods.scheduling, the node that holds room for a pending
-- pod, how many pods of a namespace may be taken away at once, weights of scorers.

create or replace function stark.is_pod_term(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{labelSelector,namespaces,namespaceSelector,topologyKey}'::text[] = '{}' and stark.is_label_key(j -> 'topologyKey')
      and stark.is_text_list(j -> 'namespaces') and stark.is_selector(j -> 'labelSelector', '{matchLabels,matchExpressions}')
      and stark.is_selector(j -> 'namespaceSelector', '{matchLabels,matchExpressions}') end, false)
$$;

-- A whole number between two bounds, or absent.
create function stark.is_count(j jsonb, lowest integer, highest integer) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when j is null then true
    when pg_catalog.jsonb_typeof(j) <> 'number' or j::text !~ '^[0-9]{1,9}$' then false
    else j::text::integer between lowest and highest end
$$;

create function stark.is_spread(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select coalesce(case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{maxSkew,topologyKey,whenUnsatisfiable,labelSelector,minDomains}'::text[] = '{}'
      and j ? 'maxSkew' and stark.is_count(j -> 'maxSkew', 1, 1000000) and stark.is_label_key(j -> 'topologyKey')
      and stark.is_text(j -> 'whenUnsatisfiable', 63)
      and coalesce(j ->> 'whenUnsatisfiable', '') in ('', 'DoNotSchedule', 'ScheduleAnyway')
      and stark.is_selector(j -> 'labelSelector', '{matchLabels,matchExpressions}')
      and stark.is_count(j -> 'minDomains', 1, 1000000) end, false)
$$;

create function stark.is_spreads(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select j is null or case when pg_catalog.jsonb_typeof(j) <> 'array' then false
    else pg_catalog.jsonb_array_length(j) <= 10
      and not exists (select 1 from pg_catalog.jsonb_array_elements(j) s where not stark.is_spread(s)) end
$$;

create or replace function stark.is_scheduling(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{nodeSelector,nodeName,nodeAffinity,podAffinity,podAntiAffinity,topologySpreadConstraints}'::text[] = '{}'
      and pg_catalog.pg_column_size(j) <= 65536 and stark.is_text(j -> 'nodeName', 253)
      and (j -> 'nodeSelector' is null or stark.is_labels(j -> 'nodeSelector')) and stark.is_node_affinity(j -> 'nodeAffinity')
      and stark.is_pod_affinity(j -> 'podAffinity') and stark.is_pod_affinity(j -> 'podAntiAffinity')
      and stark.is_spreads(j -> 'topologySpreadConstraints') end
$$;

create function stark.is_disruption_budget(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - 'maxUnavailable' = '{}' and j ? 'maxUnavailable' and stark.is_count(j -> 'maxUnavailable', 0, 1000000) end
$$;

create function stark.is_score_weights(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select case when pg_catalog.jsonb_typeof(j) <> 'object' then false
    else j - '{policy,taints,nodeAffinity,podAffinity,topologySpread,bundle}'::text[] = '{}'
      and not exists (select 1 from pg_catalog.jsonb_each(j) e where not stark.is_count(e.value, 0, 1000)) end
$$;

do $$
declare
  f regprocedure;
begin
  for f in select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'stark'::regnamespace
      and p.proname in ('is_count', 'is_spread', 'is_spreads', 'is_disruption_budget', 'is_score_weights')
  loop
    execute format('revoke all on function %s from public', f);
    execute format('grant execute on function %s to authenticated, service_role', f);
  end loop;
end $$;

alter table public.namespaces
  add column disruption_budget jsonb,
  add constraint namespaces_disruption_budget_valid check (stark.is_disruption_budget(disruption_budget));
grant insert (disruption_budget), update (disruption_budget) on public.namespaces to authenticated;

alter table public.cluster_config
  add column score_weights jsonb not null default '{}',
  add constraint cluster_config_score_weights_valid check (stark.is_score_weights(score_weights));
grant update (score_weights) on public.cluster_config to authenticated;

-- Written by the scheduler only. It has no meaning once the pod has left pending,
-- and no foreign key: a node that goes takes the meaning with it.
alter table public.pods add column nominated_node_id uuid;
