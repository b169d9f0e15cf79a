-- One-time tickets for the sockets of browsers, which cannot send an Authorization
-- header. In a table, because the socket may reach another server than the request
-- that asked for the ticket; hashed, as every secret here is. Row level security
-- without policies, as for the other tables of the servers.

create table stark.ws_tickets (
  secret_hash bytea primary key,
  user_id uuid not null references public.users (id) on delete cascade,
  session_id uuid,
  token_expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint ws_tickets_hash_length check (octet_length(secret_hash) = 32)
);
create index ws_tickets_user_id_idx on stark.ws_tickets (user_id);
create index ws_tickets_expires_at_idx on stark.ws_tickets (expires_at);

alter table stark.ws_tickets enable row level security;
revoke all on stark.ws_tickets from public, anon, authenticated, service_role;
grant select, insert, delete on stark.ws_tickets to service_role;
