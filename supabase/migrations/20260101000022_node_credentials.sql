-- Rotation of node credentials. The old one is good until the node has shown that
-- it holds the new one: an answer that is lost on its way must not lock a node out.

alter table stark.node_credentials
  add column rotate_requested_at timestamptz,
  add column replaces uuid references stark.node_credentials (id) on delete set null;
create index node_credentials_replaces_idx on stark.node_credentials (replaces);

-- The server that holds the node's socket closes it when its credential was
-- revoked, or is to be replaced. Using a credential changes neither.
create function stark.log_credentials() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.changes (kind, id, op)
  select distinct 'credential', n.node_id::text, 'U'
  from changed n join former o on o.id = n.id
  where n.revoked_at is distinct from o.revoked_at or n.rotate_requested_at is distinct from o.rotate_requested_at;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
revoke all on function stark.log_credentials() from public;
create trigger node_credentials_log after update on stark.node_credentials
  referencing old table as former new table as changed
  for each statement execute function stark.log_credentials();
