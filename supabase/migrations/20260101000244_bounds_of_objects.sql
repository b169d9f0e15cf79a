-- The bounds look at nothing but an object again: another type is for the constraint of
-- the column to refuse. 20260101000242 had put the words of an earlier version in place.

create or replace function stark.within_bounds(j jsonb, most jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
begin
  return not exists (
    select 1 from pg_catalog.jsonb_each(case when pg_catalog.jsonb_typeof(j) = 'object' then j else '{}' end) e
    where case when pg_catalog.jsonb_typeof(e.value) = 'number' then e.value > coalesce(most -> e.key, e.value) else false end);
end $$;
