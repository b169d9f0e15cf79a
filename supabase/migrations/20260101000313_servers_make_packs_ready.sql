-- A pack is ready when somebody has read its bundle and found the digest that the
-- row says. Users cannot show that, and a row that says what it likes would be
-- scheduled, to fail on every node. So a user's row waits until it is registered at
-- a server, which reads the bundle, and which alone writes these columns.
revoke update (status, bundle_sha256, bundle_size) on public.packs from authenticated;

-- The server asks as the user whether the row may be changed and which object was
-- read, and then writes as the service, in one transaction.
grant execute on function stark.bundle_object(text) to service_role;

-- As before; now it binds the service.
create or replace function stark.packs_guard_ready() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.bundle/' || new.bundle_path, 0));
  if current_user in ('authenticated', 'service_role') and not stark.bundle_stored(new.bundle_path, new.bundle_size) then
    raise exception using errcode = 'STINV', message = 'the bundle of this pack is not in Storage',
      detail = pg_catalog.jsonb_build_object('packId', new.id, 'bundlePath', new.bundle_path)::text;
  end if;
  return null;
end $$;
