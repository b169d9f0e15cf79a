-- A default limit of a namespace holds for the pod that asks for more and names no limit,
-- as in Kubernetes: it was raised to the request, so that a limit range without a maximum
-- bounded nobody. The cluster's own defaults are raised still: they are no bound.

create or replace function stark.pods_fill_resources(requests jsonb, limits jsonb, lr jsonb, cluster_requests jsonb, cluster_limits jsonb)
returns jsonb[]
language plpgsql immutable set search_path = '' as $$
declare
  r text;
  req bigint;
  lim bigint;
  least_request bigint;
  most_limit bigint;
  req_out jsonb := '{}'::jsonb;
  lim_out jsonb := '{}'::jsonb;
begin
  if lr is null and requests = '{}' and limits = '{}' then
    return array['{"storage":0}' || cluster_requests, '{"storage":0}' || cluster_limits];
  end if;
  if pg_catalog.jsonb_typeof(requests) is distinct from 'object' then
    perform stark.refuse_field('resourceRequests', 'INVALID_TYPE', 'must be an object');
  elsif pg_catalog.jsonb_typeof(limits) is distinct from 'object' then
    perform stark.refuse_field('resourceLimits', 'INVALID_TYPE', 'must be an object');
  end if;
  foreach r in array array['cpu', 'memory', 'storage'] loop
    if requests ->> r is not null and (requests -> r)::text !~ '^[0-9]{1,15}$' then
      perform stark.refuse_field('resourceRequests.' || r, 'INVALID_VALUE', 'must be a whole number, not negative');
    elsif limits ->> r is not null and (limits -> r)::text !~ '^[0-9]{1,15}$' then
      perform stark.refuse_field('resourceLimits.' || r, 'INVALID_VALUE', 'must be a whole number, not negative');
    end if;
    req := (requests ->> r)::bigint;
    lim := (limits ->> r)::bigint;
    least_request := (lr #>> array['min', r])::bigint;
    most_limit := (lr #>> array['max', r])::bigint;
    if req > lim then
      perform stark.refuse_field('resourceRequests.' || r, 'EXCEEDS_LIMIT', pg_catalog.format('%s is more than the limit %s', req, lim));
    elsif lim is not null then
      req := coalesce(req, least(lim, greatest(least_request,
        coalesce((lr #>> array['defaultRequest', r])::bigint, (cluster_requests ->> r)::bigint, 0))));
    elsif req > (lr #>> array['default', r])::bigint then
      perform stark.refuse_field('resourceRequests.' || r, 'EXCEEDS_LIMIT', pg_catalog.format(
        '%s is more than %s, the limit that the namespace gives to pods that name none: name a limit too', req, (lr #>> array['default', r])::bigint));
    elsif req is not null then
      lim := greatest(req, least(most_limit, coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0)));
    else
      req := coalesce((lr #>> array['defaultRequest', r])::bigint, (lr #>> array['default', r])::bigint,
        (cluster_requests ->> r)::bigint, 0);
      lim := least(most_limit, greatest(req, least_request,
        coalesce((lr #>> array['default', r])::bigint, (cluster_limits ->> r)::bigint, 0)));
      req := greatest(least_request, least(req, lim));
    end if;
    if lim > most_limit then
      perform stark.refuse_field('resourceLimits.' || r, 'EXCEEDS_LIMIT',
        pg_catalog.format('%s is more than %s, the most that the namespace allows', lim, most_limit));
    elsif req < least_request then
      perform stark.refuse_field('resourceRequests.' || r, 'INVALID_VALUE',
        pg_catalog.format('%s is less than %s, the least that the namespace allows', req, least_request));
    end if;
    req_out := req_out || pg_catalog.jsonb_build_object(r, req);
    lim_out := lim_out || pg_catalog.jsonb_build_object(r, lim);
  end loop;
  return array[req_out, lim_out];
end $$;
