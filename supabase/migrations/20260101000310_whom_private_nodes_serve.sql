-- Whom a node serves that is not everybody's: its owner, and the namespaces that it
-- lists in which its owner is more than a viewer. A viewer looks; whoever runs the
-- pods of others decides what becomes of them.
create function stark.serves_namespace(owner uuid, ns text) returns boolean
language sql stable set search_path = '' as $$
  select exists (select 1 from public.namespace_members m
    where m.namespace = ns and m.user_id = owner and m.role <> 'viewer')
$$;
revoke all on function stark.serves_namespace(uuid, text) from public;

create or replace function stark.nodes_guard_namespaces() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  stranger text;
begin
  if new.shared or new.namespaces = '{}' then
    return new;
  end if;
  if exists (select 1 from public.user_roles r where r.user_id = new.registered_by and r.role in ('admin', 'operator')) then
    return new;
  end if;
  select n into stranger from pg_catalog.unnest(new.namespaces) n
  where not stark.serves_namespace(new.registered_by, n)
  limit 1;
  if found then
    raise exception using errcode = 'ST403',
      message = pg_catalog.format('the owner of the node is not a member of namespace %s, or only a viewer there', stranger),
      detail = pg_catalog.jsonb_build_object('namespace', stranger)::text;
  end if;
  return new;
end $$;

-- As before, and what a viewer may not list is not kept either.
create or replace function stark.nodes_follow_roles() returns trigger
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
    namespaces = case when n.shared and not c.staff
      then array(select s from pg_catalog.unnest(n.namespaces) s where stark.serves_namespace(n.registered_by, s))
      else n.namespaces end,
    status = case when c.stands then n.status else 'offline'::public.node_status end
  from changed c
  where c.id = n.id and ((n.shared and not c.staff) or (not c.stands and n.status <> 'offline'));
  return null;
end $$;

-- Pods stay on a node that no longer serves them, since their code is there already.
-- Another version of it is not, and does not start beside the present one.
create function stark.pods_guard_rollout_node() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  node text;
begin
  select n.name into node from public.nodes n
  where n.id = new.node_id and not n.shared and n.registered_by is distinct from new.created_by
    and not (new.namespace = any (n.namespaces) and stark.serves_namespace(n.registered_by, new.namespace));
  if found then
    raise exception using errcode = 'STINV',
      message = pg_catalog.format('node %s no longer serves this pod, so that another version cannot start beside the present one: replace it at once instead (now), elsewhere', node),
      detail = pg_catalog.jsonb_build_object('podId', new.id, 'node', node)::text;
  end if;
  return new;
end $$;
revoke all on function stark.pods_guard_rollout_node() from public;
-- Its name puts it behind pods_guard_rollback, which chooses the next pack.
create trigger pods_guard_rollout_node before update on public.pods
  for each row when (new.next_pack_id is not null and new.next_pack_id is distinct from old.next_pack_id)
  execute function stark.pods_guard_rollout_node();
