-- A pack that is ready has the very object that was read when it was registered.
-- Making it ready and taking its object away or overwriting it take turns by a
-- lock on the object's key, and whoever comes second is refused.

-- Which object lies under this key, of which version: Storage gives a new id to
-- what was deleted and comes again, and a new version to what is overwritten. It
-- says no more than that, and only to whoever may write below the key.
create function stark.bundle_object(path text) returns text
language sql stable security definer set search_path = '' as $$
  select pg_catalog.concat(o.id, ':', o.version) from storage.objects o
  where o.bucket_id = 'pack-bundles' and o.name = path
    and pg_catalog.split_part(path, '/', 1) = (select auth.uid()::text)
$$;
revoke all on function stark.bundle_object(text) from public;
grant execute on function stark.bundle_object(text) to authenticated;

-- As before, and in turns with whoever takes the bundle away.
create or replace function stark.packs_guard_ready() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.bundle/' || new.bundle_path, 0));
  if current_user = 'authenticated' and not stark.bundle_stored(new.bundle_path, new.bundle_size) then
    raise exception using errcode = 'STINV', message = 'the bundle of this pack is not in Storage',
      detail = pg_catalog.jsonb_build_object('packId', new.id, 'bundlePath', new.bundle_path)::text;
  end if;
  return null;
end $$;

-- The bundle of a ready pack stays as it is for as long as the pack does, whoever
-- asks: policies bind users alone, and see a moment that may have passed.
create function stark.keep_bundle() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.bundle/' || old.name, 0));
  if exists (select 1 from public.packs p where p.bundle_path = old.name and p.status = 'ready') then
    raise exception using errcode = 'ST409', message = 'a pack has this bundle: delete the pack first',
      detail = pg_catalog.jsonb_build_object('bundlePath', old.name)::text;
  end if;
  return case tg_op when 'DELETE' then old else new end;
end $$;
revoke all on function stark.keep_bundle() from public;

do $$
begin
  create trigger stark_bundle_deleted before delete on storage.objects
    for each row when (old.bucket_id = 'pack-bundles') execute function stark.keep_bundle();
  create trigger stark_bundle_changed before update on storage.objects
    for each row when (old.bucket_id = 'pack-bundles'
      and (old.id, old.bucket_id, old.name, old.version) is distinct from (new.id, new.bucket_id, new.name, new.version))
    execute function stark.keep_bundle();
exception when insufficient_privilege then
  raise notice 'no triggers on storage.objects: the policies alone keep the bundles of packs';
end $$;
