-- Tables of the servers: change log, leases, credentials, verdicts. Schema stark
-- is not exposed; row level security without policies closes them to everybody
-- but the owner and service_role, which bypasses it.

-- The feed's cursor is a pg_snapshot, hence the transaction id in each row and
-- the index on it (docs/architecture.md).
create table stark.changes (
  rev bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  kind text not null,
  id text not null,
  op "char" not null,
  at timestamptz not null default now(),
  constraint changes_op_known check (op in ('I', 'U', 'D'))
);
create index changes_xid_idx on stark.changes (xid);
create index changes_at_idx on stark.changes using brin (at);

-- Renewed for every node every few seconds: narrow, and without any further
-- index, so that each renewal stays on its page.
create table stark.node_leases (
  node_id uuid primary key references public.nodes (id) on delete cascade,
  renewed_at timestamptz not null default now(),
  session text not null default '',
  server_id text not null default ''
) with (fillfactor = 60);

create table stark.leader_lease (
  name text primary key,
  holder text not null,
  epoch bigint not null,
  expires_at timestamptz not null
);
-- The row is there from the start, so that the first server need not make it
-- and come back to win it.
insert into stark.leader_lease (name, holder, epoch, expires_at) values ('leader', '', 0, '-infinity');
create sequence stark.leader_epoch;

create table stark.node_credentials (
  id uuid primary key default gen_random_uuid(),
  node_id uuid not null references public.nodes (id) on delete cascade,
  secret_hash bytea not null unique,
  created_by uuid references public.users (id) on delete set null,
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz,
  constraint node_credentials_hash_length check (octet_length(secret_hash) = 32)
);
create index node_credentials_node_id_idx on stark.node_credentials (node_id);
create index node_credentials_created_by_idx on stark.node_credentials (created_by);

create table stark.join_tokens (
  id uuid primary key default gen_random_uuid(),
  secret_hash bytea not null unique,
  uses integer not null default 1,
  labels jsonb not null default '{}',
  taints jsonb not null default '[]',
  created_by uuid not null references public.users (id) on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  constraint join_tokens_hash_length check (octet_length(secret_hash) = 32),
  constraint join_tokens_uses_range check (uses between 0 and 1000),
  constraint join_tokens_labels_valid check (labels = '{}' or stark.is_string_map(labels, 100, 63)),
  constraint join_tokens_taints_valid check (taints = '[]' or stark.is_taints(taints))
);
create index join_tokens_created_by_idx on stark.join_tokens (created_by);

-- Why a pod has no node: the newest decision only.
create table stark.verdicts (
  pod_id uuid primary key references public.pods (id) on delete cascade,
  reason text not null,
  message text not null,
  nodes jsonb not null default '[]',
  plan_time timestamptz not null default now(),
  constraint verdicts_nodes_array check (jsonb_typeof(nodes) = 'array')
);

alter table stark.changes enable row level security;
alter table stark.node_leases enable row level security;
alter table stark.leader_lease enable row level security;
alter table stark.node_credentials enable row level security;
alter table stark.join_tokens enable row level security;
alter table stark.verdicts enable row level security;

revoke all on all tables in schema stark from public, anon, authenticated, service_role;
revoke all on all sequences in schema stark from public, anon, authenticated, service_role;
grant select, delete on stark.changes to service_role;
grant select, insert, update, delete on stark.node_leases, stark.leader_lease, stark.node_credentials,
  stark.join_tokens, stark.verdicts to service_role;
grant usage, select on sequence stark.leader_epoch to service_role;

-- One log row for each changed row, one notification for each statement; the
-- argument names the kind. Servers set stark.quiet and announce their commits
-- themselves, since a commit that notifies cannot share its flush.
create function stark.announce() returns void
language plpgsql set search_path = '' as $$
begin
  if pg_catalog.current_setting('stark.quiet', true) is distinct from 'on' then
    perform pg_catalog.pg_notify('stark_changes', '');
  end if;
end $$;

-- Which column names the row differs by table, so the rows come as JSON; the
-- tables that change by the thousand (pods) have functions of their own.
create function stark.log_changes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into stark.changes (kind, id, op)
  select tg_argv[0], r.j ->> tg_argv[1], tg_argv[2]::"char"
  from (select pg_catalog.to_jsonb(c) as j from changed c) r;
  if found then
    perform stark.announce();
  end if;
  return null;
end $$;
revoke all on function stark.announce(), stark.log_changes() from public;

do $$
declare
  t record;
begin
  for t in
    select * from (values
      ('nodes', 'node', 'id', 'I'), ('packs', 'pack', 'id', 'I'), ('namespaces', 'namespace', 'id', 'I'),
      ('priority_classes', 'priority_class', 'id', 'I'), ('users', 'user', 'id', 'I'),
      ('user_roles', 'user', 'user_id', 'U'), ('cluster_config', 'cluster_config', 'name', 'I'),
      ('namespace_members', 'user', 'user_id', 'U')) v (tab, kind, id_column, insert_op)
  loop
    execute format('create trigger %1$s_log_insert after insert on public.%1$I referencing new table as changed '
      'for each statement execute function stark.log_changes(%2$L, %3$L, %4$L)', t.tab, t.kind, t.id_column, t.insert_op);
    execute format('create trigger %1$s_log_update after update on public.%1$I referencing new table as changed '
      'for each statement execute function stark.log_changes(%2$L, %3$L, %4$L)', t.tab, t.kind, t.id_column, 'U');
    execute format('create trigger %1$s_log_delete after delete on public.%1$I referencing old table as changed '
      'for each statement execute function stark.log_changes(%2$L, %3$L, %4$L)', t.tab, t.kind, t.id_column,
      case t.insert_op when 'U' then 'U' else 'D' end);
  end loop;
end $$;

-- The log keeps what the slowest reader may still need; older rows go.
create function stark.compact_changes(keep interval) returns bigint
language plpgsql set search_path = '' as $$
declare
  gone bigint;
begin
  delete from stark.changes c where c.at < pg_catalog.now() - keep;
  get diagnostics gone = row_count;
  return gone;
end $$;
revoke all on function stark.compact_changes(interval) from public;
grant execute on function stark.compact_changes(interval) to service_role;
