-- Of pods that are made at once many are alike in all but their ids. The first of a kind is
-- stored as every pod is, by whoever asks and under their policies; the others are copies of
-- it, whose checks and filling in, a quarter of what a crowd costs, could come out in no
-- other way. Limits and quotas are charged for copies as for others, history and changes
-- are written, and references are checked.
--
-- A server asks for it in the transaction of a user, whose claims are still there. What may
-- be copied is a new pod of that user's own, of this very transaction. It gives the number of
-- copies; where a kind has no such pod, none is made.
create function stark.copy_pods(firsts uuid[], ids uuid[], kinds integer[]) returns integer
language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  made integer;
begin
  perform pg_catalog.set_config('stark.copies', 'on', true);
  with first as materialized (
    select pg_catalog.array_position(firsts, q.id) as kind, q.* from public.pods q
    where q.id = any (firsts) and q.xmin = pg_catalog.pg_current_xact_id()::xid and q.created_by = auth.uid()
      and q.created_at = pg_catalog.now() and q.status = 'pending' and q.incarnation = 1)
  insert into public.pods (id, pack_id, pack_name, pack_version, runtime_tag, status, resource_requests, resource_limits,
    restart_policy, isolation, env, termination_grace_period_seconds, active_deadline_seconds, metadata, created_by,
    created_at, updated_at, namespace, labels, annotations, priority_class_name, priority, tolerations, scheduling)
  select i.id, p.pack_id, p.pack_name, p.pack_version, p.runtime_tag, p.status, p.resource_requests, p.resource_limits,
    p.restart_policy, p.isolation, p.env, p.termination_grace_period_seconds, p.active_deadline_seconds, p.metadata, p.created_by,
    p.created_at, p.updated_at, p.namespace, p.labels, p.annotations, p.priority_class_name, p.priority, p.tolerations, p.scheduling
  from unnest(ids, kinds) as i (id, kind) join first p on p.kind = i.kind;
  get diagnostics made = row_count;
  perform pg_catalog.set_config('stark.copies', '', true);
  if made is distinct from pg_catalog.cardinality(ids) then
    raise exception using errcode = 'ST404', message = 'pod not found: what is copied are new pods of one''s own, in the transaction that makes them';
  end if;
  return made;
end $$;
revoke all on function stark.copy_pods(uuid[], uuid[], integer[]) from public;
grant execute on function stark.copy_pods(uuid[], uuid[], integer[]) to service_role;

-- None of these is asked about a copy. A user's own insert is none, whatever the settings of
-- its transaction say.
drop trigger pods_0_same_pack on public.pods;
create trigger pods_0_same_pack before insert on public.pods
  for each row when ((current_user = 'authenticated' or current_setting('stark.copies', true) is distinct from 'on')
    and new.pack_id is not null and (new.pack_name <> '' or new.pack_version <> ''))
  execute function stark.pods_same_pack();

drop trigger pods_0_known_resources on public.pods;
create trigger pods_0_known_resources before insert on public.pods
  for each row when ((current_user = 'authenticated' or current_setting('stark.copies', true) is distinct from 'on')
    and (case when new.resource_requests = '{}' or jsonb_typeof(new.resource_requests) <> 'object' then false
      else new.resource_requests - '{cpu,memory,storage}'::text[] <> '{}' or new.resource_requests -> 'cpu' > '1000000'
        or new.resource_requests -> 'memory' > '1000000' or new.resource_requests -> 'storage' > '1000000' end
    or case when new.resource_limits = '{}' or jsonb_typeof(new.resource_limits) <> 'object' then false
      else new.resource_limits - '{cpu,memory,storage}'::text[] <> '{}' or new.resource_limits -> 'cpu' > '1000000'
        or new.resource_limits -> 'memory' > '1000000' or new.resource_limits -> 'storage' > '1000000' end))
  execute function stark.pods_known_resources();

drop trigger pods_fill on public.pods;
create trigger pods_fill before insert on public.pods
  for each row when (current_user = 'authenticated' or current_setting('stark.copies', true) is distinct from 'on')
  execute function stark.pods_fill();

drop trigger pods_valid_documents_inserted on public.pods;
create trigger pods_valid_documents_inserted before insert on public.pods
  for each row when ((current_user = 'authenticated' or current_setting('stark.copies', true) is distinct from 'on')
    and not (new.annotations = '{}' and new.tolerations = '[]' and new.scheduling = '{}' and new.env = '{}' and new.metadata = '{}'
    and case when length(new.labels::text) <= 70
      then new.labels::text ~ '^\{("([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?"(, )?)*\}$'
      else length(new.labels::text) <= 253
        and new.labels::text ~ '^\{("[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"(, )?)*\}$' end))
  execute function stark.pods_valid_documents();
