-- What users may do to nodes, namespaces, classes and settings by SQL, and what not.
begin;
select plan(16);

insert into auth.users (id, email) values
  ('00000000-0000-0000-0000-0000000000e1', 'ops@example.com'),
  ('00000000-0000-0000-0000-0000000000e2', 'dev@example.com');
insert into public.user_roles (user_id, role) values
  ('00000000-0000-0000-0000-0000000000e1', 'operator'),
  ('00000000-0000-0000-0000-0000000000e2', 'developer')
on conflict do nothing;
insert into public.nodes (id, name, runtime_type, status, registered_by, shared) values
  ('00000000-0000-0000-0003-000000000001', 'tap-node', 'node', 'online', '00000000-0000-0000-0000-0000000000e1', true);
insert into public.packs (id, name, version, runtime_tag, owner_id, visibility, status, bundle_sha256, bundle_size) values
  ('00000000-0000-0000-0001-0000000000e1', 'tap-ops', '1.0.0', 'node', '00000000-0000-0000-0000-0000000000e1', 'public', 'ready', repeat('a', 64), 10);

set local role authenticated;

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-0000000000e2","role":"authenticated"}';
update public.nodes set drain_request = '{}' where name = 'tap-node';
select results_eq($$select unschedulable from public.nodes where name = 'tap-node'$$, $$values (false)$$, 'a developer drains no node of others');
select throws_ok($$update public.nodes set drain = '{"phase":"drained"}'$$, '42501', null, 'how far a drain is, the servers say');
select throws_ok($$update public.pods set eviction = '{"reason":"Evicted","since":"now"}'$$, '42501', null, 'and who is evicted');
select throws_ok($$select * from stark.drain_blocks$$, '42501', null, 'and what keeps a drain');
select results_eq($$select count(*)::int from public.priority_classes where name = 'high-priority'$$, $$values (1)$$, 'whoever makes pods sees the classes');
update public.priority_classes set value = 5 where name = 'high-priority';
select results_eq($$select value from public.priority_classes where name = 'high-priority'$$, $$values (1000000)$$, 'and changes none');
select is_empty($$select 1 from public.cluster_config$$, 'the settings are for the staff');
select lives_ok($$insert into public.pods (pack_name, priority_class_name) values ('tap-ops', 'high-priority')$$, 'a pod of a class');

set local request.jwt.claims = '{"sub":"00000000-0000-0000-0000-0000000000e1","role":"authenticated"}';
update public.nodes set drain_request = '{"force":true}' where name = 'tap-node';
select results_eq($$select status::text, unschedulable, drain ->> 'phase' from public.nodes where name = 'tap-node'$$,
  $$values ('draining', true, 'draining')$$, 'an operator drains a node');
update public.nodes set unschedulable = false where name = 'tap-node';
select results_eq($$select status::text, drain, taints from public.nodes where name = 'tap-node'$$,
  $$values ('online', null::jsonb, '[]'::jsonb)$$, 'and cancels it by an uncordon');
select throws_ok($$update public.nodes set drain_request = '{"forse":true}' where name = 'tap-node'$$, 'ST400', null, 'a wish that nobody knows is refused');
select throws_ok($$update public.nodes set taints = '[{"key":"node.stark.io/unreachable","effect":"NoExecute"}]' where name = 'tap-node'$$, 'ST400', null,
  'a taint of the cluster is not set by hand');
select throws_ok($$update public.priority_classes set value = 5 where name = 'high-priority'$$, 'ST409', null, 'a class in use keeps its value');
select throws_ok($$delete from public.priority_classes where name = 'system-node-critical'$$, 'ST409', null, 'those of the system stay');
select throws_ok($$update public.cluster_config set default_namespace = 'nowhere'$$, 'ST400', null, 'pods that name no namespace go to one that is there');
select throws_ok($$update public.cluster_config set open_registration = true$$, '42501', null, 'the door is opened through the server alone');

select * from finish();
rollback;
