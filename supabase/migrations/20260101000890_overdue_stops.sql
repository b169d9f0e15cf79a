-- A stop that is overdue is told in the history as well: status and incarnation stay the
-- same then, so that nobody would learn from it that a node has not told the end.
create function stark.pods_overdue() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.pod_history (pod_id, namespace, pod_created_by, action, actor_id, previous_status, new_status,
    previous_version, new_version, previous_node_id, new_node_id, incarnation, attempt, reason, message)
  values (new.id, new.namespace, new.created_by, 'updated', stark.actor(), old.status, new.status,
    old.pack_version, new.pack_version, old.node_id, new.node_id, new.incarnation,
    case when new.node_id is not null then new.restarts + 1 end, new.reason, new.status_message);
  return null;
end $$;
revoke all on function stark.pods_overdue() from public;
create trigger pods_overdue after update on public.pods
  for each row when (new.reason = 'StopOverdue' and old.reason is distinct from new.reason and new.status = old.status)
  execute function stark.pods_overdue();
