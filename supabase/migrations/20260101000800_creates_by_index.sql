-- What is asked at each new pod is asked by the index, whatever the tables held when the
-- session asked first. A query of a function without arguments is planned once for the
-- session: with a history of a few rows as a look at all of them, which stays so until
-- statistics are taken anew. A history of 90,000 rows was then read from end to end for
-- each of 10,000 new pods, which took more than half a minute. `create or replace function`
-- forgets the setting: whoever replaces one of these states it again.

alter function stark.pods_inserted() set enable_seqscan to off;
alter function stark.pods_fill() set enable_seqscan to off;
