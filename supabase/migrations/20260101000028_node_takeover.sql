-- A machine that somebody has lent to themselves alone is not for the staff to
-- give to everybody: taken over is what was shared, and what nobody answers for.
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
    elsif not old.shared and exists (select 1 from public.user_roles r
        where r.user_id = old.registered_by and r.role in ('admin', 'operator', 'developer')) then
      raise exception using errcode = 'ST403', message = 'the node serves its owner, who may register it: it is not for others to take',
        detail = pg_catalog.jsonb_build_object('nodeId', old.id)::text;
    end if;
    new.shared := true;
  end if;
  return new;
end $$;
