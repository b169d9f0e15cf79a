-- Who registers nodes at this moment, by these join tokens or as these users, and whether
-- they are staff: the lock of stark.hold_registrars, for nodes that join together. Whoever
-- takes a role away waits, and what follows from its loss finds the nodes.
create function stark.hold_joiners(tokens bytea[], users uuid[]) returns table (user_id uuid, staff boolean)
language sql security definer set search_path = '' as $$
  select r.user_id, r.role in ('admin', 'operator') from public.user_roles r
  where r.role in ('admin', 'operator', 'developer')
    and r.user_id = any (users || array(select j.created_by from stark.join_tokens j where j.secret_hash = any (tokens)))
  order by r.user_id, r.role
  for key share of r
$$;
revoke all on function stark.hold_joiners(bytea[], uuid[]) from public;
grant execute on function stark.hold_joiners(bytea[], uuid[]) to service_role;
