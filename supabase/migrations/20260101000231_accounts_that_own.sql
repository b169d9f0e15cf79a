-- An account that owns packs or pods stays: they say who made them. Auth would tell
-- only that a foreign key is violated; this tells what is in the way and what to do.
-- SQLSTATE PT409 is HTTP 409 to Auth and to PostgREST.
create function stark.keep_owner() returns trigger
language plpgsql set search_path = '' as $$
declare
  packs bigint := (select pg_catalog.count(*) from public.packs p where p.owner_id = old.id);
  pods bigint := (select pg_catalog.count(*) from public.pods p where p.created_by = old.id);
begin
  if packs > 0 or pods > 0 then
    raise exception using errcode = 'PT409',
      message = pg_catalog.format('the account %s owns %s pack(s) and %s pod(s)', old.id, packs, pods),
      detail = pg_catalog.jsonb_build_object('userId', old.id, 'packs', packs, 'pods', pods)::text,
      hint = 'Disable it instead (stark user disable), or delete its pods and then its packs first.';
  end if;
  return old;
end $$;
revoke all on function stark.keep_owner() from public;

create trigger users_keep_owner before delete on public.users
  for each row execute function stark.keep_owner();
