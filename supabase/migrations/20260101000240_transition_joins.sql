-- A trigger that compares a statement's old rows with its new ones joins two tables of
-- which Postgres knows no size: a session plans that join at the first statement that it
-- makes, mostly of one row, as a nested loop, and keeps the plan. An update of 10,000
-- pods then compared 100 million pairs of rows. Hashed, a single row costs the same.
-- `create or replace function` forgets the setting: whoever replaces one of these states
-- it again.

alter function stark.pods_updated() set enable_nestloop to off;
alter function stark.log_credentials() set enable_nestloop to off;
