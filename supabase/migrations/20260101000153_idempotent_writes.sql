-- What makes a repeated request one (Idempotency-Key). The key is hashed and the
-- answer sealed by a secret that follows from the key: nobody who reads this table
-- learns either. Row level security without policies, as for the other tables of the
-- servers; each row belongs to its user and goes with them.

create table stark.idempotent_writes (
  owner uuid not null references public.users (id) on delete cascade,
  key_hash bytea not null,
  fingerprint bytea not null,
  object_id uuid not null default gen_random_uuid(), -- of what is made: the same at each try
  claim uuid not null, -- of the request that makes it now
  held_until timestamptz not null, -- then another may take over
  created_at timestamptz not null default now(),
  answer bytea,
  primary key (owner, key_hash),
  constraint idempotent_writes_hash_length check (octet_length(key_hash) = 32 and octet_length(fingerprint) = 32),
  constraint idempotent_writes_answer_length check (octet_length(answer) <= 1048576)
);
create index idempotent_writes_created_at_idx on stark.idempotent_writes (created_at);

alter table stark.idempotent_writes enable row level security;
revoke all on stark.idempotent_writes from public, anon, authenticated, service_role;
grant select, insert, update, delete on stark.idempotent_writes to service_role;

-- Forgets what is older than a day, and of each user what is beyond the newest 5,000
-- or the newest 64 MiB.
create function stark.forget_idempotent_writes() returns bigint
language plpgsql set search_path = '' as $$
declare
  gone bigint;
begin
  with ranked as (
    select w.owner, w.key_hash, w.created_at,
      pg_catalog.row_number() over newest as n,
      pg_catalog.sum(coalesce(pg_catalog.octet_length(w.answer), 0)) over newest as bytes
    from stark.idempotent_writes w
    window newest as (partition by w.owner order by w.created_at desc, w.key_hash))
  delete from stark.idempotent_writes w using ranked r
  where r.owner = w.owner and r.key_hash = w.key_hash and w.held_until < pg_catalog.now()
    and (r.created_at < pg_catalog.now() - interval '24 hours' or r.n > 5000 or r.bytes > 67108864);
  get diagnostics gone = row_count;
  return gone;
end $$;
revoke all on function stark.forget_idempotent_writes() from public;
grant execute on function stark.forget_idempotent_writes() to service_role;
