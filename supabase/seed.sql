-- Development data. It may run any number of times, and makes no account: whoever
-- signs up first is made admin by `stark auth setup`.

insert into public.namespaces (name, labels, annotations, resource_quota, limit_range) values
  ('demo', '{"team":"demo"}', '{"stark.io/description":"A namespace with a quota to try things in"}',
   '{"hard":{"pods":20,"cpu":4000,"memory":4096}}',
   '{"default":{"cpu":200,"memory":256},"defaultRequest":{"cpu":50,"memory":64},"max":{"cpu":2000,"memory":2048}}')
on conflict (name) do nothing;

insert into public.priority_classes (name, value, preemption_policy, description) values
  ('batch', -100, 'Never', 'Work that nobody waits for')
on conflict (name) do nothing;
