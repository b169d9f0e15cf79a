-- A node stands for as long as somebody answers for it: its registrar has the
-- right to register nodes, and serves everybody only while they are staff. What
-- follows from the loss of a role happens in the transaction that takes it away.

-- Whether a node may be online. The lock on the role makes whoever takes it away
-- wait, so that nobody comes online by a role that goes at the same moment.
create function stark.node_stands(node uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  n record;
begin
  select s.shared, s.registered_by into n from public.nodes s where s.id = node;
  if not found then
    return false;
  elsif n.registered_by is null then
    return n.shared; -- a node of the cluster itself
  end if;
  perform 1 from public.user_roles r
  where r.user_id = n.registered_by and r.role in ('admin', 'operator', 'developer')
  for key share;
  return found;
end $$;
revoke all on function stark.node_stands(uuid) from public;
grant execute on function stark.node_stands(uuid) to service_role;

-- SECURITY DEFINER, since it locks rows that no caller may write.
create function stark.nodes_guard_registrar() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and old.registered_by is not null and new.registered_by is null then
    -- The account is gone. Its roles go after this, so that what follows from
    -- their loss would no longer find the node.
    new.shared := false;
    new.namespaces := '{}';
    new.status := 'offline';
    delete from stark.node_leases l where l.node_id = new.id;
  elsif new.shared and new.registered_by is not null then
    perform 1 from public.user_roles r
    where r.user_id = new.registered_by and r.role in ('admin', 'operator') for key share;
    new.shared := found;
  end if;
  return new;
end $$;
revoke all on function stark.nodes_guard_registrar() from public;
-- Its name puts it before nodes_guard_namespaces, which looks at shared.
create trigger nodes_guard_a_registrar before insert or update of shared, registered_by on public.nodes
  for each row execute function stark.nodes_guard_registrar();

-- Staff may take a node over, for themselves and nobody else: so that the nodes
-- of somebody who leaves go on.
create or replace function stark.nodes_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    if current_user = 'authenticated' then
      new.shared := stark.is_staff();
    end if;
    return new;
  end if;
  new.updated_at := now();
  if (new.id, new.name, new.created_at) is distinct from (old.id, old.name, old.created_at) then
    raise exception using errcode = 'ST409', message = 'the name of a node cannot be changed',
      detail = pg_catalog.jsonb_build_object('nodeId', old.id)::text;
  end if;
  if current_user = 'authenticated' and new.registered_by is distinct from old.registered_by then
    if not stark.is_staff() or new.registered_by is distinct from auth.uid() then
      raise exception using errcode = 'ST403', message = 'admins and operators take over a node for themselves only',
        detail = pg_catalog.jsonb_build_object('nodeId', old.id)::text;
    end if;
    new.shared := true;
  end if;
  return new;
end $$;
grant update (registered_by) on public.nodes to authenticated;

-- Nodes of users that have lost a role: without staff behind them they serve
-- their owner again, and without any right to register they leave the cluster.
-- Their lease goes, by which their server finds that the connection has lost its
-- node; leases are locked before nodes, as renewals do.
create function stark.nodes_follow_roles() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  with fallen as (
    select n.id from public.nodes n
    where n.registered_by in (select o.user_id from old_rows o)
      and not exists (select 1 from public.user_roles r
        where r.user_id = n.registered_by and r.role in ('admin', 'operator', 'developer'))),
    held as (
      select l.node_id from stark.node_leases l join fallen f on f.id = l.node_id
      order by l.node_id for update of l)
  delete from stark.node_leases l using held where l.node_id = held.node_id;

  with changed as (
    select n.id,
      exists (select 1 from public.user_roles r where r.user_id = n.registered_by
        and r.role in ('admin', 'operator')) as staff,
      exists (select 1 from public.user_roles r where r.user_id = n.registered_by
        and r.role in ('admin', 'operator', 'developer')) as stands
    from public.nodes n
    where n.registered_by in (select o.user_id from old_rows o)
    order by n.id for no key update of n)
  update public.nodes n
  set shared = n.shared and c.staff,
    namespaces = case when n.shared and not c.staff then array(
        select s from pg_catalog.unnest(n.namespaces) s
        where exists (select 1 from public.namespace_members m where m.namespace = s and m.user_id = n.registered_by))
      else n.namespaces end,
    status = case when c.stands then n.status else 'offline'::public.node_status end
  from changed c
  where c.id = n.id and ((n.shared and not c.staff) or (not c.stands and n.status <> 'offline'));
  return null;
end $$;
revoke all on function stark.nodes_follow_roles() from public;
create trigger user_roles_nodes_follow after delete on public.user_roles
  referencing old table as old_rows
  for each statement execute function stark.nodes_follow_roles();

