-- The documents of a pod are checked when they are written, not whenever its row is: a
-- CHECK is evaluated anew at each change of state, of which a pod has many and its
-- documents rarely have any. Whoever breaks one is told so in the words of the constraint
-- that it was, so clients see no difference.

create function stark.pods_valid_documents() returns trigger
language plpgsql set search_path = '' as $$
declare
  broken text := case
    when not (new.labels = '{}' or stark.is_labels(new.labels)) then 'pods_labels_valid'
    when not (new.annotations = '{}' or stark.is_annotations(new.annotations)) then 'pods_annotations_valid'
    when not (new.tolerations = '[]' or stark.is_tolerations(new.tolerations)) then 'pods_tolerations_valid'
    when not (new.scheduling = '{}' or stark.is_scheduling(new.scheduling)) then 'pods_scheduling_valid'
    when not (new.env = '{}' or stark.is_env(new.env)) then 'pods_env_valid'
    when not (new.metadata = '{}' or stark.is_document(new.metadata)) then 'pods_metadata_valid'
  end;
begin
  if broken is not null then
    raise exception using errcode = '23514', schema = 'public', table = 'pods', constraint = broken,
      message = pg_catalog.format('new row for relation "pods" violates check constraint "%s"', broken);
  end if;
  return new;
end $$;
revoke all on function stark.pods_valid_documents() from public;

-- After the triggers that fill a row in and guard it: those of one row run by their names.
create trigger pods_valid_documents_inserted before insert on public.pods
  for each row execute function stark.pods_valid_documents();
create trigger pods_valid_documents_updated before update on public.pods
  for each row when (new.labels is distinct from old.labels or new.annotations is distinct from old.annotations
    or new.tolerations is distinct from old.tolerations or new.scheduling is distinct from old.scheduling
    or new.env is distinct from old.env or new.metadata is distinct from old.metadata)
  execute function stark.pods_valid_documents();

alter table public.pods
  drop constraint pods_labels_valid,
  drop constraint pods_annotations_valid,
  drop constraint pods_tolerations_valid,
  drop constraint pods_scheduling_valid,
  drop constraint pods_env_valid,
  drop constraint pods_metadata_valid;
