-- Whoever gives up a role no longer sees who else has it, so that the guards of
-- the last admins must not ask as the caller: an admin could not leave, although
-- others were there.
create function stark.has_admin() returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select 1 from public.user_roles r where r.role = 'admin')
$$;

create function stark.namespace_has_admin(ns text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select 1 from public.namespace_members m where m.namespace = ns and m.role = 'admin')
$$;
revoke all on function stark.has_admin(), stark.namespace_has_admin(text) from public;
grant execute on function stark.has_admin(), stark.namespace_has_admin(text) to authenticated, service_role;

create or replace function stark.user_roles_keep_admin() returns trigger
language plpgsql set search_path = '' as $$
begin
  if current_user in ('authenticated', 'service_role')
     and exists (select 1 from old_rows o where o.role = 'admin') then
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.admin', 0));
    if not stark.has_admin() then
      raise exception using errcode = 'ST409', message = 'the last admin cannot be removed',
        detail = '{"role":"admin"}';
    end if;
  end if;
  return null;
end $$;

create or replace function stark.namespace_members_keep_admin() returns trigger
language plpgsql set search_path = '' as $$
declare
  abandoned text;
begin
  -- Two steps: the roles of the servers and of Auth may not ask the second.
  if current_user <> 'authenticated' then
    return null;
  elsif stark.is_staff() then
    return null;
  end if;
  -- Two admins of one namespace who remove each other take turns here.
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.member/' || n.namespace, 0))
  from (select distinct o.namespace from old_rows o order by 1) n;
  select o.namespace into abandoned from old_rows o
  where o.role = 'admin' and not stark.namespace_has_admin(o.namespace)
  limit 1;
  if found then
    raise exception using errcode = 'ST409',
      message = pg_catalog.format('the last admin of namespace %s cannot be removed', abandoned),
      detail = pg_catalog.jsonb_build_object('namespace', abandoned)::text;
  end if;
  return null;
end $$;
