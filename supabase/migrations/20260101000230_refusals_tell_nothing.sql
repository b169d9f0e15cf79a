-- Triggers that run before a row is stored run before its policy is asked, and some
-- of them answer by what is there: which pack, which version, which namespace, which
-- class. Whoever may not insert at all, or names somebody else as the owner, would
-- learn it from their words. So both are refused first, as the policy would.

create function stark.refuse_strangers() returns trigger
language plpgsql set search_path = '' as $$
begin
  if not stark.has_role(tg_argv[0]::public.stark_role[]) then
    raise exception using errcode = '42501',
      message = pg_catalog.format('new row violates row-level security policy for table "%s"', tg_table_name);
  end if;
  return null;
end $$;

create function stark.refuse_other_owners() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = '42501',
    message = pg_catalog.format('new row violates row-level security policy for table "%s"', tg_table_name);
end $$;
revoke all on function stark.refuse_strangers(), stark.refuse_other_owners() from public;

-- By their names they come before all others. Servers are not asked.
create trigger pods_00_strangers before insert on public.pods
  for each statement when (current_user = 'authenticated') execute function stark.refuse_strangers('{admin,operator,developer}');
create trigger packs_00_strangers before insert on public.packs
  for each statement when (current_user = 'authenticated') execute function stark.refuse_strangers('{admin,developer}');
create trigger nodes_00_strangers before insert on public.nodes
  for each statement when (current_user = 'authenticated') execute function stark.refuse_strangers('{admin,operator,developer}');
create trigger pods_00_other_owners before insert on public.pods
  for each row when (current_user = 'authenticated' and new.created_by is distinct from auth.uid())
  execute function stark.refuse_other_owners();
create trigger packs_00_other_owners before insert on public.packs
  for each row when (current_user = 'authenticated' and new.owner_id is distinct from auth.uid())
  execute function stark.refuse_other_owners();
create trigger nodes_00_other_owners before insert on public.nodes
  for each row when (current_user = 'authenticated' and new.registered_by is distinct from auth.uid())
  execute function stark.refuse_other_owners();

-- Another type than an object is for the constraint of the column to refuse, in words
-- of ours.
create or replace function stark.within_bounds(j jsonb, most jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select not exists (
    select 1 from pg_catalog.jsonb_each(case when pg_catalog.jsonb_typeof(j) = 'object' then j else '{}' end) e
    where case when pg_catalog.jsonb_typeof(e.value) = 'number' then e.value > coalesce(most -> e.key, e.value) else false end)
$$;
