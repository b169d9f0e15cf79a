-- Who answers for some of these nodes and may: the lock of stark.node_stands, for nodes
-- that come back together.
create function stark.hold_registrars(nodes uuid[]) returns setof uuid
language sql security definer set search_path = '' as $$
  select r.user_id from public.user_roles r
  where r.role in ('admin', 'operator', 'developer')
    and r.user_id = any (array(select n.registered_by from public.nodes n where n.id = any (nodes)))
  order by r.user_id, r.role
  for key share of r
$$;
revoke all on function stark.hold_registrars(uuid[]) from public;
grant execute on function stark.hold_registrars(uuid[]) to service_role;
