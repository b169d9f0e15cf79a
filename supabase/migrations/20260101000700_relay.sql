-- Where servers reach each other, and the passes by which one asks another for the
-- logs of a node that is connected there. Schema stark is not exposed, and nobody but
-- the servers has rights here.

create table stark.servers (
  id text primary key,
  address text not null,
  renewed_at timestamptz not null default now(),
  constraint servers_id_length check (char_length(id) between 1 and 100),
  constraint servers_address_length check (char_length(address) between 1 and 2048)
);

-- A pass is for one request to one server for one pod on one node. It lies here
-- hashed, as every secret does, and goes with the request that shows it.
create table stark.relay_passes (
  secret_hash bytea primary key,
  server_id text not null,
  node_id uuid not null,
  pod_id uuid not null,
  expires_at timestamptz not null,
  constraint relay_passes_hash_length check (octet_length(secret_hash) = 32)
);
create index relay_passes_expires_at_idx on stark.relay_passes (expires_at);

alter table stark.servers enable row level security;
alter table stark.relay_passes enable row level security;
revoke all on stark.servers, stark.relay_passes from public, anon, authenticated, service_role;
grant select, insert, update, delete on stark.servers to service_role;
grant select, insert, delete on stark.relay_passes to service_role;
