-- Where a join cannot be made without a nested loop, switching those off makes the plan
-- look so dear that Postgres compiles it, for a tenth of a second at the first change of
-- each session. `create or replace function` forgets this setting as well.
alter function stark.pods_updated() set jit to off;
alter function stark.log_credentials() set jit to off;
