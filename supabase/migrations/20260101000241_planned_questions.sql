-- The questions that row level security asks of each statement, answered from plans that
-- the session keeps. Up to Postgres 17 a function in SQL that cannot be inlined, as none
-- can that has its owner's rights or a search_path of its own, is parsed and planned anew
-- at each call: that was more than half of what a request for one pod cost the database.
-- They say what they said before.

create or replace function stark.is_anonymous() returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(auth.jwt() ->> 'is_anonymous', 'false') <> 'false';
end $$;

create or replace function stark.has_role(roles public.stark_role[]) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce(auth.jwt() ->> 'is_anonymous', 'false') = 'false' and exists (
    select 1 from public.user_roles r where r.user_id = auth.uid() and r.role = any (roles));
end $$;

create or replace function stark.is_staff() returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce(auth.jwt() ->> 'is_anonymous', 'false') = 'false' and exists (
    select 1 from public.user_roles r where r.user_id = auth.uid() and r.role in ('admin', 'operator'));
end $$;

create or replace function stark.is_reader() returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce(auth.jwt() ->> 'is_anonymous', 'false') = 'false' and exists (
    select 1 from public.user_roles r where r.user_id = auth.uid());
end $$;

create or replace function stark.staff(who uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return exists (select 1 from public.user_roles u where u.user_id = who and u.role in ('admin', 'operator'));
end $$;

create or replace function stark.member_namespaces() returns setof text
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select m.namespace from public.namespace_members m where m.user_id = auth.uid();
end $$;

create or replace function stark.operated_namespaces() returns setof text
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select m.namespace from public.namespace_members m
    where m.user_id = auth.uid() and m.role in ('admin', 'operator') and stark.has_role('{developer}');
end $$;

create or replace function stark.led_namespaces() returns setof text
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select m.namespace from public.namespace_members m
    where m.user_id = auth.uid() and m.role = 'admin' and stark.has_role('{developer}');
end $$;

create or replace function stark.closed_namespaces() returns setof text
language plpgsql stable security definer set search_path = '' as $$
begin
  if stark.is_staff() then
    return;
  end if;
  return next 'stark-system';
  return query select m.namespace from public.namespace_members m
    where m.namespace <> 'stark-system'
    group by m.namespace
    having not pg_catalog.bool_or(m.user_id = auth.uid() and m.role <> 'viewer');
end $$;

create or replace function stark.can_see_namespace(ns text) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return stark.is_staff() or exists (
    select 1 from public.namespace_members m where m.user_id = auth.uid() and m.namespace = ns);
end $$;

create or replace function stark.member_packs() returns setof uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  return query select v.pack_id
    from public.namespace_members m join public.pods p on p.namespace = m.namespace
      cross join lateral (values (p.pack_id), (p.next_pack_id)) v (pack_id)
    where m.user_id = auth.uid() and v.pack_id is not null;
end $$;

create or replace function stark.actor() returns uuid
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(auth.uid(), nullif(pg_catalog.current_setting('stark.actor', true), '')::uuid);
end $$;

create or replace function stark.default_namespace() returns text
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce((select c.default_namespace from public.cluster_config c), 'default');
end $$;

create or replace function stark.default_grace_seconds() returns integer
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce((select (c.pod_termination_grace_period_ms + 999) / 1000 from public.cluster_config c), 30);
end $$;

create or replace function stark.latest_pack(pack_name text, who uuid) returns uuid
language plpgsql stable set search_path = '' as $$
begin
  return (
    select p.id
    from public.packs p,
      lateral (select pg_catalog.split_part(p.version, '+', 1) as v) s,
      lateral (select pg_catalog.string_to_array(pg_catalog.split_part(s.v, '-', 1), '.')::numeric[] as core,
                      pg_catalog.substring(s.v, '-(.*)$') as pre) c
    where p.name = pack_name and p.status = 'ready'
      and (p.owner_id = who or p.visibility = 'public' or stark.staff(who))
    order by c.pre is null desc, c.core desc, (
        select pg_catalog.array_agg(
          (case when i.part ~ '^[0-9]+$' then '0' || pg_catalog.lpad(i.part, 128, '0') else '1' || i.part end) collate "C"
          order by i.n)
        from pg_catalog.string_to_table(c.pre, '.') with ordinality i (part, n)) desc nulls first,
      p.created_at desc
    limit 1);
end $$;
