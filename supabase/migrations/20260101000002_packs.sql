-- Packs: a name, a version, a runtime tag and one immutable bundle.

create type public.runtime_tag as enum ('node', 'browser', 'universal');
create type public.pack_visibility as enum ('private', 'public');
create type public.pack_status as enum ('pending', 'ready');

create table public.packs (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  version text not null,
  runtime_tag public.runtime_tag not null,
  owner_id uuid not null default auth.uid() references public.users (id),
  visibility public.pack_visibility not null default 'private',
  status public.pack_status not null default 'pending',
  format text not null default 'cjs',
  bundle_path text not null default '',
  bundle_sha256 text,
  bundle_size bigint not null default 0,
  description text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint packs_name_version_key unique (name, version),
  constraint packs_name_format check (char_length(name) <= 64 and name ~ '^[A-Za-z][A-Za-z0-9_-]*$'),
  constraint packs_version_format check (char_length(version) <= 128 and version ~
    '^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$'),
  constraint packs_format_known check (format in ('cjs', 'esm')),
  constraint packs_sha256_format check (bundle_sha256 ~ '^[0-9a-f]{64}$'),
  constraint packs_bundle_size_range check (bundle_size between 0 and 52428800),
  constraint packs_ready_has_bundle check (status = 'pending' or (bundle_sha256 is not null and bundle_size > 0)),
  constraint packs_description_length check (char_length(description) <= 1000),
  constraint packs_metadata_object check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536)
);
create index packs_owner_id_idx on public.packs (owner_id);
create index packs_created_at_idx on public.packs (created_at desc);
create unique index packs_bundle_path_key on public.packs (bundle_path) where bundle_path <> '';

revoke all on public.packs from anon, authenticated, service_role;
grant select, delete,
  insert (id, name, version, runtime_tag, owner_id, visibility, format, description, metadata),
  update (visibility, status, bundle_sha256, bundle_size, description, metadata)
  on public.packs to authenticated;
grant select, insert, update, delete on public.packs to service_role;

alter table public.packs enable row level security;
create policy packs_select on public.packs for select to authenticated
  using ((select stark.is_reader()) and (owner_id = (select auth.uid()) or visibility = 'public' or (select stark.is_staff())));
create policy packs_insert on public.packs for insert to authenticated
  with check (owner_id = (select auth.uid()) and (select stark.has_role('{admin,developer}')));
create policy packs_update on public.packs for update to authenticated
  using ((select stark.has_role('{admin}')) or (owner_id = (select auth.uid()) and (select stark.has_role('{developer}'))))
  with check ((select stark.has_role('{admin}')) or (owner_id = (select auth.uid()) and (select stark.has_role('{developer}'))));
create policy packs_delete on public.packs for delete to authenticated
  using ((select stark.has_role('{admin}')) or (owner_id = (select auth.uid()) and (select stark.has_role('{developer}'))));

-- A name belongs to whoever has packs under it. The lock makes two first
-- registrations of one name take turns; the check sees what others hide.
create function stark.packs_guard_name() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('stark.pack/' || new.name, 0));
  if exists (select 1 from public.packs p where p.name = new.name and p.owner_id <> new.owner_id) then
    raise exception using errcode = '23505', constraint = 'stark.pack_name_taken',
      message = pg_catalog.format('the pack name %s belongs to another user', pg_catalog.quote_ident(new.name));
  end if;
  return new;
end $$;

-- The key of the bundle follows from the row, so that nobody points a pack at
-- an object of somebody else; once ready, a pack never changes.
create function stark.packs_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'UPDATE' then
    new.updated_at := now();
    if (new.id, new.name, new.version, new.runtime_tag, new.owner_id, new.format, new.created_at)
       is distinct from (old.id, old.name, old.version, old.runtime_tag, old.owner_id, old.format, old.created_at)
       or (old.status = 'ready' and (new.status, new.bundle_sha256, new.bundle_size)
           is distinct from (old.status, old.bundle_sha256, old.bundle_size)) then
      raise exception using errcode = 'ST409', message = 'a pack version cannot be changed',
        detail = pg_catalog.jsonb_build_object('packId', old.id)::text;
    end if;
  end if;
  new.bundle_path := case when new.bundle_sha256 is null then ''
    else pg_catalog.concat(new.owner_id, '/', new.name, '/', new.version, '/', new.bundle_sha256, '.js') end;
  return new;
end $$;
revoke all on function stark.packs_guard_name(), stark.packs_guard() from public;

create trigger packs_guard before insert or update on public.packs
  for each row execute function stark.packs_guard();
create trigger packs_guard_name before insert on public.packs
  for each row execute function stark.packs_guard_name();
