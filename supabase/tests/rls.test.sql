-- What two developers, a viewer and nobody see of each other. Run by
-- "supabase test db", by pg_prove, or by go test ./tests/contract/pgtap.
begin;
select plan(28);

insert into auth.users (id, email) values
  ('00000000-0000-0000-0000-00000000000a', 'ann@example.com'),
  ('00000000-0000-0000-0000-00000000000b', 'bob@example.com'),
  ('00000000-0000-0000-0000-00000000000c', 'cat@example.com'),
  ('00000000-0000-0000-0000-00000000000d', 'dan@example.com');
insert into public.user_roles (user_id, role) values
  ('00000000-0000-0000-0000-00000000000a', 'developer'),
  ('00000000-0000-0000-0000-00000000000b', 'developer'),
  ('00000000-0000-0000-0000-00000000000c', 'viewer')
on conflict do nothing;
delete from public.user_roles where user_id = '00000000-0000-0000-0000-00000000000d';
insert into public.namespaces (name) values ('team-tap');
insert into public.namespace_members (namespace, user_id, role) values
  ('team-tap', '00000000-0000-0000-0000-00000000000a', 'developer'),
  ('team-tap', '00000000-0000-0000-0000-00000000000c', 'viewer');
insert into public.packs (id, name, version, runtime_tag, owner_id, visibility, status, bundle_sha256, bundle_size) values
  ('00000000-0000-0000-0001-000000000001', 'tap-private', '1.0.0', 'node', '00000000-0000-0000-0000-00000000000a', 'private', 'ready', repeat('a', 64), 10),
  ('00000000-0000-0000-0001-000000000002', 'tap-public', '1.0.0', 'node', '00000000-0000-0000-0000-00000000000a', 'public', 'ready', repeat('b', 64), 10),
  ('00000000-0000-0000-0001-000000000003', 'tap-team', '1.0.0', 'node', '00000000-0000-0000-0000-00000000000a', 'private', 'ready', repeat('c', 64), 10);
insert into public.pods (id, pack_id, namespace, created_by) values
  ('00000000-0000-0000-0002-000000000001', '00000000-0000-0000-0001-000000000001', 'default', '00000000-0000-0000-0000-00000000000a'),
  ('00000000-0000-0000-0002-000000000003', '00000000-0000-0000-0001-000000000003', 'team-tap', '00000000-0000-0000-0000-00000000000a');
insert into storage.objects (bucket_id, name, metadata)
  select 'pack-bundles', bundle_path, '{"size":10}' from public.packs where name like 'tap-%';

set local role authenticated;

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-00000000000a","role":"authenticated"}';
select results_eq($$select name from public.packs where name like 'tap-%' order by 1$$,
  $$values ('tap-private'), ('tap-public'), ('tap-team')$$, 'an owner sees all of their packs');
select results_eq($$select count(*)::int from public.pods$$, $$values (2)$$, 'an owner sees all of their pods');
select results_eq($$select count(*)::int from storage.objects$$, $$values (3)$$, 'and all of their bundles');
select lives_ok($$insert into public.pods (pack_id) values ('00000000-0000-0000-0001-000000000001')$$, 'a developer makes a pod directly');
select throws_ok($$insert into public.user_roles (user_id, role) values (auth.uid(), 'admin')$$, '42501', null, 'nobody makes themselves an admin');
select throws_ok($$update public.user_roles set role = 'admin'$$, '42501', null, 'nor by changing a role');
select throws_ok($$update public.pods set status = 'running'$$, '42501', null, 'states belong to the servers');
select throws_ok($$update public.packs set bundle_sha256 = repeat('f', 64) where name = 'tap-private'$$, '42501', null, 'digests belong to the servers');
select throws_ok($$delete from public.pod_history$$, '42501', null, 'history stays');

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-00000000000b","role":"authenticated"}';
select results_eq($$select name from public.packs where name like 'tap-%'$$, $$values ('tap-public')$$, 'a stranger sees the public pack alone');
select is_empty($$select 1 from public.pods$$, 'and no pod');
select is_empty($$select 1 from public.pod_history$$, 'and no history');
select results_eq($$select count(*)::int from storage.objects$$, $$values (1)$$, 'and one bundle');
select lives_ok($$insert into public.pods (pack_name) values ('tap-public')$$, 'whoever may make pods may deploy a public pack');
select throws_ok($$insert into public.pods (pack_name) values ('tap-private')$$, 'ST404', null, 'and finds no private one');
select throws_ok($$insert into public.pods (pack_name, namespace) values ('tap-public', 'team-tap')$$, '42501', null, 'nor a way into a closed namespace');
select throws_ok($$insert into public.pods (pack_name, created_by) values ('tap-public', '00000000-0000-0000-0000-00000000000a')$$, '42501', null, 'nor another name than their own');
select throws_ok($$insert into public.namespace_members (namespace, user_id) values ('team-tap', auth.uid())$$, '42501', null, 'nobody makes themselves a member');

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-00000000000c","role":"authenticated"}';
select results_eq($$select name from public.packs where name like 'tap-%' order by 1$$, $$values ('tap-public'), ('tap-team')$$, 'a member sees what runs in the namespace');
select results_eq($$select count(*)::int from public.pods$$, $$values (1)$$, 'and its pod');
select results_eq($$select count(*)::int from storage.objects$$, $$values (2)$$, 'and its bundle');
select throws_ok($$insert into public.pods (pack_name) values ('tap-public')$$, '42501', null, 'a viewer makes no pods');

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-00000000000d","role":"authenticated"}';
select is_empty($$select 1 from public.packs union all select 1 from public.pods union all select 1 from public.nodes union all select 1 from public.namespaces$$,
  'a user without a role sees nothing');
select results_eq($$select email from public.users$$, $$values ('dan@example.com')$$, 'but their own profile');

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-00000000000a","role":"authenticated","is_anonymous":true}';
select is_empty($$select 1 from public.packs union all select 1 from public.pods union all select 1 from public.users union all select 1 from storage.objects$$,
  'an anonymous account sees nothing, whatever its roles');

set local role anon;
set local request.jwt.claims = '{"role":"anon"}';
select throws_ok($$select from public.packs$$, '42501', null, 'without an account there is no table');
select throws_ok($$select from public.users$$, '42501', null, 'not even that of users');
select is_empty($$select 1 from storage.objects$$, 'and no bundle');

reset role;
select * from finish();
rollback;
