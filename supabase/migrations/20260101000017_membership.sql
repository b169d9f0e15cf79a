-- Who an account is, and what a role in a namespace gives. core/access holds the
-- same table, and docs/rights.md shows it.

-- An anonymous account shares the role authenticated with everybody else: it has
-- no right, whatever roles somebody has given it.
create function stark.is_anonymous() returns boolean
language sql stable set search_path = '' as $$
  select coalesce(auth.jwt() ->> 'is_anonymous', 'false') <> 'false'
$$;

create or replace function stark.has_role(roles public.stark_role[]) returns boolean
language sql stable security definer set search_path = '' as $$
  select not stark.is_anonymous() and exists (
    select 1 from public.user_roles r
    where r.user_id = auth.uid() and r.role = any (roles))
$$;

create or replace function stark.is_staff() returns boolean
language sql stable security definer set search_path = '' as $$
  select not stark.is_anonymous() and exists (
    select 1 from public.user_roles r
    where r.user_id = auth.uid() and r.role in ('admin', 'operator'))
$$;

create or replace function stark.is_reader() returns boolean
language sql stable security definer set search_path = '' as $$
  select not stark.is_anonymous() and exists (
    select 1 from public.user_roles r where r.user_id = auth.uid())
$$;

-- Where the caller answers for the pods of others too: a role in a namespace
-- widens what a role of the whole cluster gives, and never gives more by itself.
create function stark.operated_namespaces() returns setof text
language sql stable security definer set search_path = '' as $$
  select m.namespace from public.namespace_members m
  where m.user_id = auth.uid() and m.role in ('admin', 'operator') and stark.has_role('{developer}')
$$;

-- Where the caller says who the members are.
create function stark.led_namespaces() returns setof text
language sql stable security definer set search_path = '' as $$
  select m.namespace from public.namespace_members m
  where m.user_id = auth.uid() and m.role = 'admin' and stark.has_role('{developer}')
$$;

-- The packs of the pods that the caller sees as a member: whoever puts a pod into
-- a namespace shows its code to the members, who answer for it.
create function stark.member_packs() returns setof uuid
language sql stable security definer set search_path = '' as $$
  select p.pack_id from public.namespace_members m join public.pods p on p.namespace = m.namespace
  where m.user_id = auth.uid()
$$;
revoke all on function stark.is_anonymous(), stark.operated_namespaces(), stark.led_namespaces(), stark.member_packs() from public;
grant execute on function stark.is_anonymous(), stark.operated_namespaces(), stark.led_namespaces(), stark.member_packs()
  to authenticated, service_role;

alter policy users_select on public.users
  using ((id = (select auth.uid()) and not (select stark.is_anonymous())) or (select stark.is_staff()));
alter policy users_update on public.users
  using ((id = (select auth.uid()) and not (select stark.is_anonymous())) or (select stark.has_role('{admin}')))
  with check ((id = (select auth.uid()) and not (select stark.is_anonymous())) or (select stark.has_role('{admin}')));
alter policy user_roles_select on public.user_roles
  using ((user_id = (select auth.uid()) and not (select stark.is_anonymous())) or (select stark.is_staff()));

alter policy packs_select on public.packs
  using ((select stark.is_reader()) and (owner_id = (select auth.uid()) or visibility = 'public'
    or (select stark.is_staff()) or id in (select stark.member_packs())));

alter policy pods_update on public.pods
  using ((select stark.is_staff()) or namespace in (select stark.operated_namespaces())
    or (created_by = (select auth.uid()) and (select stark.has_role('{developer}'))))
  with check ((select stark.is_staff()) or namespace in (select stark.operated_namespaces())
    or (created_by = (select auth.uid()) and (select stark.has_role('{developer}'))));
alter policy pods_delete on public.pods
  using (status in ('succeeded', 'stopped', 'failed', 'evicted')
    and ((select stark.is_staff()) or namespace in (select stark.operated_namespaces())
      or (created_by = (select auth.uid()) and (select stark.has_role('{developer}')))));

alter policy namespace_members_select on public.namespace_members
  using ((select stark.is_reader()) and (user_id = (select auth.uid()) or (select stark.is_staff())
    or namespace in (select stark.member_namespaces())));
alter policy namespace_members_insert on public.namespace_members
  with check ((select stark.is_staff()) or namespace in (select stark.led_namespaces()));
alter policy namespace_members_update on public.namespace_members
  using ((select stark.is_staff()) or namespace in (select stark.led_namespaces()))
  with check ((select stark.is_staff()) or namespace in (select stark.led_namespaces()));
alter policy namespace_members_delete on public.namespace_members
  using ((select stark.is_staff()) or namespace in (select stark.led_namespaces()));

-- A namespace whose last member goes is open to everybody again, and one without
-- an admin of its own has nobody but the staff: both are for the staff to decide.
create function stark.namespace_members_keep_admin() returns trigger
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
  where o.role = 'admin' and not exists (
    select 1 from public.namespace_members m where m.namespace = o.namespace and m.role = 'admin')
  limit 1;
  if found then
    raise exception using errcode = 'ST409',
      message = pg_catalog.format('the last admin of namespace %s cannot be removed', abandoned),
      detail = pg_catalog.jsonb_build_object('namespace', abandoned)::text;
  end if;
  return null;
end $$;
revoke all on function stark.namespace_members_keep_admin() from public;
create trigger namespace_members_keep_admin_delete after delete on public.namespace_members
  referencing old table as old_rows
  for each statement execute function stark.namespace_members_keep_admin();
create trigger namespace_members_keep_admin_update after update on public.namespace_members
  referencing old table as old_rows
  for each statement execute function stark.namespace_members_keep_admin();

-- Whoever has lost all roles has no more to do with the bundles of former days.
-- Packs are asked under their own policy: a public one is for all who have a role,
-- and one that runs in a namespace for its members.
alter policy pack_bundles_select on storage.objects
  using (bucket_id = 'pack-bundles' and (select stark.is_reader())
    and ((storage.foldername(name))[1] = (select auth.uid()::text)
      or (select stark.is_staff())
      or exists (select 1 from public.packs p where p.bundle_path = objects.name and p.status = 'ready')));
