-- What nodes and their pods use at the moment: one row per node, overwritten with
-- every heartbeat that brings figures. It is not logged and tells nobody; after a
-- crash of the database the next heartbeats fill it again.

create unlogged table stark.node_usage (
  node_id uuid primary key references public.nodes (id) on delete cascade,
  at timestamptz not null default now(),
  usage jsonb not null,
  constraint node_usage_object check (jsonb_typeof(usage) = 'object')
) with (fillfactor = 50);
alter table stark.node_usage enable row level security;
revoke all on stark.node_usage from public, anon, authenticated, service_role;
grant select, insert, update, delete on stark.node_usage to service_role;
