-- The environment that a pack brings along has the rule of that of a pod, which REST
-- asks for as well: names that start with STARK_ tell a pack who it is. Rows of former
-- days are not asked; agents go by their own values.
alter table public.packs add constraint packs_metadata_env_valid check (
  metadata -> 'env' is null or metadata -> 'env' = 'null' or stark.is_env(metadata -> 'env')) not valid;
