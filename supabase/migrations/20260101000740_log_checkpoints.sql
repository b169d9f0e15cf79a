-- The end of the output of runs that live, for when their node does not answer: at most
-- 16 KiB of text each. What a run leaves when it ends lies in its row; this goes then.
-- Written by the servers in batches, read by them for whoever may see the pod. No
-- trigger: log lines wake nobody.

create table stark.log_checkpoints (
  pod_id uuid not null,
  incarnation integer not null,
  attempt integer not null,
  taken_at timestamptz not null default now(),
  lines jsonb not null,
  primary key (pod_id, incarnation, attempt),
  foreign key (pod_id, incarnation, attempt) references public.pod_runs (pod_id, incarnation, attempt) on delete cascade,
  constraint log_checkpoints_lines check (jsonb_typeof(lines) = 'array' and pg_column_size(lines) <= 1048576)
);

alter table stark.log_checkpoints enable row level security;
revoke all on stark.log_checkpoints from public, anon, authenticated, service_role;
grant select, insert, update, delete on stark.log_checkpoints to service_role;
