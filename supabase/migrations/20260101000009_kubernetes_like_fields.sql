-- Labels, taints, tolerations, priorities and placement on nodes and pods.

create function stark.is_taints(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where pg_catalog.jsonb_typeof(t) <> 'object'
         or not coalesce(t ->> 'key' ~ '^([A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*$', false)
         or pg_catalog.length(t ->> 'key') > 253
         or not coalesce(t ->> 'effect' in ('NoSchedule', 'PreferNoSchedule', 'NoExecute'), false)
         or (t ? 'value' and pg_catalog.jsonb_typeof(t -> 'value') <> 'string'))
$$;

create function stark.is_tolerations(j jsonb) returns boolean
language sql immutable parallel safe set search_path = '' as $$
  select pg_catalog.jsonb_typeof(j) = 'array' and pg_catalog.jsonb_array_length(j) <= 50
    and not exists (
      select 1 from pg_catalog.jsonb_array_elements(j) t
      where pg_catalog.jsonb_typeof(t) <> 'object'
         or coalesce(t ->> 'operator', 'Equal') not in ('', 'Equal', 'Exists')
         or coalesce(t ->> 'effect', '') not in ('', 'NoSchedule', 'PreferNoSchedule', 'NoExecute')
         or (coalesce(t ->> 'key', '') = '' and coalesce(t ->> 'operator', 'Equal') <> 'Exists')
         or (t ? 'tolerationSeconds' and coalesce(t ->> 'tolerationSeconds', 'x') !~ '^[0-9]{1,15}$'))
$$;
revoke all on function stark.is_taints(jsonb), stark.is_tolerations(jsonb) from public;
grant execute on function stark.is_taints(jsonb), stark.is_tolerations(jsonb) to authenticated, service_role;

alter table public.nodes
  add column labels jsonb not null default '{}',
  add column annotations jsonb not null default '{}',
  add column taints jsonb not null default '[]',
  add column unschedulable boolean not null default false,
  add column namespaces text[] not null default '{}',
  add constraint nodes_labels_valid check (labels = '{}' or stark.is_string_map(labels, 100, 63)),
  add constraint nodes_annotations_valid check (annotations = '{}' or (stark.is_string_map(annotations, 100, 65536) and pg_column_size(annotations) <= 65536)),
  add constraint nodes_taints_valid check (taints = '[]' or stark.is_taints(taints)),
  add constraint nodes_namespaces_length check (cardinality(namespaces) <= 100);

alter table public.pods
  add column namespace text not null default 'default' references public.namespaces (name),
  add column labels jsonb not null default '{}',
  add column annotations jsonb not null default '{}',
  add column priority_class_name text,
  add column priority integer not null default 0,
  add column tolerations jsonb not null default '[]',
  add column scheduling jsonb not null default '{}',
  add constraint pods_labels_valid check (labels = '{}' or stark.is_string_map(labels, 100, 63)),
  add constraint pods_annotations_valid check (annotations = '{}' or (stark.is_string_map(annotations, 100, 65536) and pg_column_size(annotations) <= 65536)),
  add constraint pods_tolerations_valid check (tolerations = '[]' or stark.is_tolerations(tolerations)),
  add constraint pods_scheduling_object check (jsonb_typeof(scheduling) = 'object' and pg_column_size(scheduling) <= 65536);
create index pods_namespace_idx on public.pods (namespace, created_at desc);

grant insert (labels, annotations, taints, unschedulable, namespaces),
  update (labels, annotations, taints, unschedulable, namespaces)
  on public.nodes to authenticated;
grant insert (namespace, labels, annotations, priority_class_name, tolerations, scheduling),
  update (labels, annotations)
  on public.pods to authenticated;

alter policy pods_select on public.pods
  using ((select stark.is_reader())
    and (created_by = (select auth.uid()) or (select stark.is_staff()) or namespace in (select stark.member_namespaces())));
alter policy pods_insert on public.pods
  with check (created_by = (select auth.uid()) and (select stark.has_role('{admin,operator,developer}'))
    and namespace not in (select stark.closed_namespaces()));
alter policy pod_history_select on public.pod_history
  using ((select stark.is_reader())
    and (pod_created_by = (select auth.uid()) or (select stark.is_staff()) or namespace in (select stark.member_namespaces())));

-- A private node may offer itself only to namespaces of the user who answers
-- for it: else anybody could draw the pods of others onto a machine of his own.
create function stark.nodes_guard_namespaces() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  stranger text;
begin
  if new.shared or new.namespaces = '{}' then
    return new;
  end if;
  if exists (select 1 from public.user_roles r where r.user_id = new.registered_by and r.role in ('admin', 'operator')) then
    return new;
  end if;
  select n into stranger from pg_catalog.unnest(new.namespaces) n
  where not exists (select 1 from public.namespace_members m where m.namespace = n and m.user_id = new.registered_by)
  limit 1;
  if found then
    raise exception using errcode = 'ST403',
      message = pg_catalog.format('the owner of the node is not a member of namespace %s', stranger),
      detail = pg_catalog.jsonb_build_object('namespace', stranger)::text;
  end if;
  return new;
end $$;
revoke all on function stark.nodes_guard_namespaces() from public;
create trigger nodes_guard_namespaces before insert or update of namespaces, shared, registered_by on public.nodes
  for each row execute function stark.nodes_guard_namespaces();
