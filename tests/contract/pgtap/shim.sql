-- The functions of pgTAP that supabase/tests uses, for a Postgres without it.
create function extensions.plan(n integer) returns text language plpgsql as $$
begin
  perform set_config('shim.count', '0', true), set_config('shim.failed', '0', true), set_config('shim.plan', n::text, true);
  return '1..' || n;
end $$;

create function extensions.ok(good boolean, what text) returns text language plpgsql as $$
declare
  n integer := current_setting('shim.count')::integer + 1;
begin
  perform set_config('shim.count', n::text, true);
  if good is not true then
    perform set_config('shim.failed', (current_setting('shim.failed')::integer + 1)::text, true);
  end if;
  return case when good then 'ok ' else 'not ok ' end || n || ' - ' || what;
end $$;

create function extensions.results_eq(got text, want text, what text) returns text language plpgsql as $$
declare
  a text;
  b text;
begin
  execute format('select string_agg(r::text, E''\n'') from (%s) r', got) into a;
  execute format('select string_agg(r::text, E''\n'') from (%s) r', want) into b;
  return ok(a is not distinct from b, what || case when a is distinct from b then format(' (%s, not %s)', a, b) else '' end);
end $$;

create function extensions.is_empty(got text, what text) returns text language plpgsql as $$
declare
  n bigint;
begin
  execute format('select count(*) from (%s) r', got) into n;
  return ok(n = 0, what);
end $$;

create function extensions.lives_ok(sql text, what text) returns text language plpgsql as $$
begin
  execute sql;
  return ok(true, what);
exception when others then
  return ok(false, format('%s (%s)', what, sqlerrm));
end $$;

create function extensions.throws_ok(sql text, code text, message text, what text) returns text language plpgsql as $$
begin
  execute sql;
  return ok(false, what || ' (nothing was thrown)');
exception when others then
  return ok(sqlstate = code, what || case when sqlstate <> code then format(' (%s %s)', sqlstate, sqlerrm) else '' end);
end $$;

create function extensions.finish() returns setof text language plpgsql as $$
begin
  if current_setting('shim.count') <> current_setting('shim.plan') then
    return next format('not ok - %s tests were planned, %s ran', current_setting('shim.plan'), current_setting('shim.count'));
  end if;
end $$;
