-- A bind that leaves out when the pod was scheduled is asked like any other: what is
-- compared with an unknown time is not false, but unknown.
drop trigger pods_guard_update on public.pods;
create trigger pods_guard_update before update on public.pods
  for each row when ((
    old.status = 'pending' and new.status = 'scheduled' and new.scheduled_at = now() and new.updated_at = now()
    and new.incarnation = old.incarnation and new.pack_id = old.pack_id
    and old.stop_requested_at is null and new.stop_requested_at is null
    and new.id = old.id and new.namespace = old.namespace and new.created_by = old.created_by and new.created_at = old.created_at
    and new.priority_class_name is not distinct from old.priority_class_name and new.resource_requests = old.resource_requests) is not true)
  execute function stark.pods_guard_update();
