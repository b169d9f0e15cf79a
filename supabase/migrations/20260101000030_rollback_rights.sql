-- Who changes the version of a pod that somebody else owns may not see the pack of
-- the other version; the pod gets its name nevertheless.
alter function stark.pods_guard_update() security definer;

-- As before, and the pack that a pod is changing to: who sees the change sees to what.
create or replace function stark.member_packs() returns setof uuid
language sql stable security definer set search_path = '' as $$
  select v.pack_id
  from public.namespace_members m join public.pods p on p.namespace = m.namespace
    cross join lateral (values (p.pack_id), (p.next_pack_id)) v (pack_id)
  where m.user_id = auth.uid() and v.pack_id is not null
$$;

-- A second foreign key to packs would leave a client that asks for a pod with its
-- pack (select=*,packs(*)) with two ways to choose from, and so with an error. What
-- the key did is done by two triggers.
alter table public.pods drop constraint pods_next_pack_id_fkey;

create function stark.pods_next_pack_there() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from public.packs k where k.id = new.next_pack_id for key share; -- until the end, as a foreign key does
  if not found then
    raise exception using errcode = '23503', constraint = 'pods_pack_id_fkey', message = 'the pack of the next version is gone';
  end if;
  return null;
end $$;
create trigger pods_next_pack_there after insert or update on public.pods
  for each row when (new.next_pack_id is not null) execute function stark.pods_next_pack_there();

-- In time behind a deletion, that is behind the lock that it takes on the pack.
create function stark.packs_next_of_none() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.pods p where p.next_pack_id = old.id) then
    raise exception using errcode = '23503', constraint = 'pods_pack_id_fkey', message = 'a pod is changing to this version';
  end if;
  return null;
end $$;
create trigger packs_next_of_none after delete on public.packs
  for each row execute function stark.packs_next_of_none();
revoke all on function stark.pods_next_pack_there(), stark.packs_next_of_none() from public;
