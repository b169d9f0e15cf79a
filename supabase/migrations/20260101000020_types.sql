-- For the tools of Supabase: nothing here changes what is accepted.

-- The triggers of pods fill these in; with defaults the generated types know that
-- an insert may leave them out.
alter table public.pods
  alter column pack_name set default '',
  alter column pack_version set default '',
  alter column runtime_tag set default 'universal';

-- As before, without the cast that "supabase db lint" warns of.
create or replace function stark.is_node_affinity(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
  required jsonb := j -> 'requiredDuringSchedulingIgnoredDuringExecution';
  preferred jsonb := coalesce(j -> 'preferredDuringSchedulingIgnoredDuringExecution', '[]');
  term_keys constant text[] := array['matchExpressions', 'matchFields'];
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
