-- The bucket of the bundles and who may touch its objects. A project whose
-- migrations may not write storage.buckets makes it from config.toml instead.

do $$
begin
  insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
  values ('pack-bundles', 'pack-bundles', false, 52428800, array['application/javascript', 'text/javascript'])
  on conflict (id) do nothing;
exception when insufficient_privilege then
  raise notice 'bucket pack-bundles not made: no right to write storage.buckets';
end $$;

-- Objects are named <owner>/<name>/<version>/<sha256>.js and never overwritten:
-- hence no policy for update.
create policy pack_bundles_insert on storage.objects for insert to authenticated
  with check (bucket_id = 'pack-bundles'
    and (storage.foldername(name))[1] = (select auth.uid()::text)
    and (select stark.has_role('{admin,developer}')));

-- The inner select is under the policies of packs: whoever sees the pack may
-- read its bundle.
create policy pack_bundles_select on storage.objects for select to authenticated
  using (bucket_id = 'pack-bundles'
    and ((storage.foldername(name))[1] = (select auth.uid()::text)
      or (select stark.is_staff())
      or exists (select 1 from public.packs p where p.bundle_path = objects.name and p.status = 'ready')));

-- The bundle of a ready pack stays for as long as the pack does.
create policy pack_bundles_delete on storage.objects for delete to authenticated
  using (bucket_id = 'pack-bundles'
    and ((storage.foldername(name))[1] = (select auth.uid()::text) or (select stark.has_role('{admin}')))
    and (select stark.has_role('{admin,developer}'))
    and not exists (select 1 from public.packs p where p.bundle_path = objects.name and p.status = 'ready'));
