-- Priority classes: pods copy the value when they are made, so that a class can
-- change or go without touching them; hence no foreign key from pods.

create type public.preemption_policy as enum ('PreemptLowerPriority', 'Never');

create table public.priority_classes (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  value integer not null,
  global_default boolean not null default false,
  preemption_policy public.preemption_policy not null default 'PreemptLowerPriority',
  description text,
  labels jsonb not null default '{}',
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint priority_classes_name_key unique (name),
  constraint priority_classes_name_format check (name ~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'),
  constraint priority_classes_value_range check (value between -2000000000 and 2000001000),
  constraint priority_classes_description_length check (char_length(description) <= 1000),
  constraint priority_classes_labels_valid check (labels = '{}' or stark.is_string_map(labels, 100, 63)),
  constraint priority_classes_annotations_valid check (annotations = '{}' or (stark.is_string_map(annotations, 100, 65536) and pg_column_size(annotations) <= 65536))
);
create unique index priority_classes_one_default on public.priority_classes (global_default) where global_default;

insert into public.priority_classes (name, value, global_default, preemption_policy, description) values
  ('system-node-critical', 2000001000, false, 'PreemptLowerPriority', 'Pods without which a node cannot work'),
  ('system-cluster-critical', 2000000000, false, 'PreemptLowerPriority', 'Pods without which the cluster cannot work'),
  ('high-priority', 1000000, false, 'PreemptLowerPriority', 'Pods that matter more than most'),
  ('default', 0, true, 'PreemptLowerPriority', 'Pods that name no class'),
  ('low-priority', -1000, false, 'Never', 'Pods that can wait'),
  ('best-effort', -1000000, false, 'Never', 'Pods that run when nothing else wants the room');

revoke all on public.priority_classes from anon, authenticated, service_role;
grant select, delete,
  insert (id, name, value, global_default, preemption_policy, description, labels, annotations),
  update (value, global_default, preemption_policy, description, labels, annotations)
  on public.priority_classes to authenticated;
grant select, insert, update, delete on public.priority_classes to service_role;

alter table public.priority_classes enable row level security;
create policy priority_classes_select on public.priority_classes for select to authenticated
  using ((select stark.is_staff()));
create policy priority_classes_insert on public.priority_classes for insert to authenticated
  with check ((select stark.is_staff()));
create policy priority_classes_update on public.priority_classes for update to authenticated
  using ((select stark.is_staff())) with check ((select stark.is_staff()));
create policy priority_classes_delete on public.priority_classes for delete to authenticated
  using ((select stark.is_staff()));

create trigger priority_classes_touch before update on public.priority_classes
  for each row execute function stark.touch_updated_at();
