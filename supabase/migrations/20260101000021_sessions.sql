-- Sessions of Supabase Auth that have ended: signed out, banned, deleted. An
-- access token stands on its own until it expires; servers ask here whether its
-- session does, and hear of the end through the change log.

-- Which of these sessions are over. It gives null where it cannot tell, because
-- this project does not let its owner read auth.sessions: a fault here would lock
-- everybody out.
create function stark.ended_sessions(sessions uuid[]) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
begin
  return (select coalesce(pg_catalog.array_agg(asked.id), '{}')
    from pg_catalog.unnest(sessions) asked (id)
    where not exists (
      select from auth.sessions s join auth.users u on u.id = s.user_id
      where s.id = asked.id
        and (s.not_after is null or s.not_after > pg_catalog.now())
        and (u.banned_until is null or u.banned_until <= pg_catalog.now())
        and u.deleted_at is null));
exception when insufficient_privilege or undefined_table or undefined_column then
  return null;
end $$;
revoke all on function stark.ended_sessions(uuid[]) from public;
grant execute on function stark.ended_sessions(uuid[]) to service_role;

-- These run inside the transactions of Supabase Auth and must never raise: nobody
-- could sign out. What they fail to log, servers find when they ask again.
create function stark.log_ended_sessions() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.changes (kind, id, op) select 'session', g.id::text, 'D' from gone g;
  if found then
    perform stark.announce();
  end if;
  return null;
exception when others then
  return null;
end $$;

create function stark.log_ban() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.changes (kind, id, op) select 'session', s.id::text, 'D' from auth.sessions s where s.user_id = new.id;
  if found then
    perform stark.announce();
  end if;
  return null;
exception when others then
  return null;
end $$;
revoke all on function stark.log_ended_sessions(), stark.log_ban() from public;

do $$
begin
  create trigger stark_session_ended after delete on auth.sessions referencing old table as gone
    for each statement execute function stark.log_ended_sessions();
  create trigger stark_user_banned after update on auth.users
    for each row when (new.banned_until > now() and new.banned_until is distinct from old.banned_until)
    execute function stark.log_ban();
exception when insufficient_privilege then
  raise notice 'no triggers on auth.sessions and auth.users: servers hear of ended sessions seconds later';
end $$;
