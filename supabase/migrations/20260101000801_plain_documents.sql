-- Most documents of pods are a few plain labels and numbers, and one look at their text
-- tells that nothing is wrong with them. Whatever is not as plain as that is asked what
-- it was asked before. Postgres always spells a jsonb in one way.

-- Labels without prefixes, as is_labels has them: at most 253 characters in all are less
-- than a hundred entries, with keys that are short enough.
create or replace function stark.is_labels(j jsonb) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
#variable_conflict use_column
begin
  return (pg_catalog.length(j::text) <= 253
    and j::text ~ '^\{("[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"(, )?)*\}$')
    or pg_catalog.jsonb_typeof(j) = 'object' and (
      select pg_catalog.count(*) <= 100 and coalesce(pg_catalog.bool_and(
        stark.is_label_key(pg_catalog.to_jsonb(e.key)) and stark.is_text(e.value, 63)
        and e.value #>> '{}' ~ '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$'), true)
      from pg_catalog.jsonb_each(j) e);
end $$;

-- A trigger that is not called costs nothing: a pod with nothing but such labels is not
-- asked for its documents at all,
drop trigger pods_valid_documents_inserted on public.pods;
create trigger pods_valid_documents_inserted before insert on public.pods
  for each row when (not (length(new.labels::text) <= 253
    and new.labels::text ~ '^\{("[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?": "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"(, )?)*\}$'
    and new.annotations = '{}' and new.tolerations = '[]' and new.scheduling = '{}' and new.env = '{}' and new.metadata = '{}'))
  execute function stark.pods_valid_documents();

-- nor for the names and bounds of its resources where they are known ones with numbers
-- of up to six digits, of which every bound has seven.
drop trigger pods_0_known_resources on public.pods;
create trigger pods_0_known_resources before insert on public.pods
  for each row when (
    (new.resource_requests <> '{}' and new.resource_requests::text !~ '^\{("(cpu|memory|storage)": [0-9]{1,6}(, )?)*\}$')
    or (new.resource_limits <> '{}' and new.resource_limits::text !~ '^\{("(cpu|memory|storage)": [0-9]{1,6}(, )?)*\}$'))
  execute function stark.pods_known_resources();
