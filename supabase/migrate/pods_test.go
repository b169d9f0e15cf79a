package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

var statuses = []string{
	"pending", "scheduled", "starting", "running", "stopping", "unknown",
	"succeeded", "stopped", "failed", "evicted",
}

// moves is the table of core/pod; pending needs a raised incarnation.
var moves = map[string]string{
	"pending":   "scheduled stopped failed evicted",
	"scheduled": "starting running stopping unknown pending succeeded stopped failed evicted",
	"starting":  "running stopping unknown pending succeeded stopped failed evicted",
	"running":   "starting stopping unknown pending succeeded stopped failed evicted",
	"stopping":  "unknown succeeded stopped failed evicted",
	"unknown":   "scheduled starting running stopping pending succeeded stopped failed evicted",
}

type fixture struct {
	*migratetest.DB
	owner, pack string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	d := migratetest.New(t)
	owner := d.User(t, "developer")
	return fixture{DB: d, owner: owner, pack: d.Pack(t, owner, "hello", "1.0.0")}
}

func (f fixture) pod(t *testing.T, status string) string {
	t.Helper()
	return migratetest.Value[string](t, f.Conn,
		`insert into public.pods (pack_id, created_by, status) values ($1, $2, $3) returning id::text`, f.pack, f.owner, status)
}

func TestPodMoves(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, from := range statuses {
		for _, to := range statuses {
			for _, raised := range []int{0, 1} {
				id := f.pod(t, from)
				_, err := f.Conn.Exec(t.Context(),
					`update public.pods set status = $2, incarnation = incarnation + $3 where id = $1`, id, to, raised)
				ended := moves[from] == ""
				may := slices.Contains(strings.Fields(moves[from]), to) && (to != "pending" || raised == 1) ||
					from == to && (!ended || raised == 0)
				if got := err == nil; got != may {
					t.Errorf("%s -> %s, incarnation raised by %d: %v, want allowed=%t", from, to, raised, err, may)
				}
				if err != nil && migratetest.Code(err) != "STINV" {
					t.Errorf("%s -> %s: %v, want STINV", from, to, err)
				}
			}
		}
	}
}

func TestPodTimesFollowTheMoves(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.pod(t, "pending")
	node := migratetest.Value[string](t, f.Conn, `insert into public.nodes (name, runtime_type) values ('n', 'node') returning id::text`)
	for _, step := range []struct{ set, want string }{
		{`status = 'scheduled', node_id = '` + node + `'`, "node scheduled"},
		{`status = 'starting'`, "node scheduled"},
		{`status = 'running'`, "node scheduled started"},
		{`status = 'pending', incarnation = 2`, ""},
		{`status = 'scheduled', node_id = '` + node + `'`, "node scheduled"},
		{`status = 'failed'`, "node scheduled stopped"},
	} {
		f.Exec(t, `update public.pods set `+step.set+` where id = $1`, id)
		got := migratetest.Value[string](t, f.Conn, `select concat_ws(' ', case when node_id is not null then 'node' end,
			case when scheduled_at is not null then 'scheduled' end, case when started_at is not null then 'started' end,
			case when stopped_at is not null then 'stopped' end) from public.pods where id = $1`, id)
		if got != step.want {
			t.Errorf("after %s: %q, want %q", step.set, got, step.want)
		}
	}
}

func TestWhatAPodNeverChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.pod(t, "running")
	for set, code := range map[string]string{
		`incarnation = incarnation - 1`:           "STSTL",
		`namespace = 'stark-public'`:              "STINV",
		`resource_requests = '{"cpu":1}'`:         "STINV",
		`created_at = now() - interval '1 day'`:   "STINV",
		`labels = '{"a": 1}'`:                     "23514",
		`tolerations = '[{"operator":"Almost"}]'`: "23514",
		`env = '{"1A":"x"}'`:                      "23514",
		`metadata = '[]'`:                         "23514",
	} {
		if _, err := f.Conn.Exec(t.Context(), `update public.pods set `+set+` where id = $1`, id); migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %s", set, err, code)
		}
	}
}

func TestStopRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for from, want := range map[string]string{
		"pending": "stopped", "scheduled": "stopping", "starting": "stopping", "running": "stopping",
		"unknown": "stopping", "stopping": "stopping", "succeeded": "succeeded", "failed": "failed",
	} {
		id := f.pod(t, from)
		err := f.As(t, f.owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `update public.pods set stop_requested_at = '2000-01-01' where id = $1`, id)
			return err
		})
		if err != nil {
			t.Errorf("stop a %s pod: %v", from, err)
		}
		// Taking the wish back does nothing.
		f.Exec(t, `update public.pods set stop_requested_at = null where id = $1`, id)
		got := migratetest.Value[string](t, f.Conn,
			`select concat(status, case when stop_requested_at > now() - interval '1 hour' then ' wished' end) from public.pods where id = $1`, id)
		if from == "succeeded" || from == "failed" {
			want = from
		} else {
			want += " wished"
		}
		if got != want {
			t.Errorf("a %s pod became %q, want %q", from, got, want)
		}
	}
}

func TestPodDefaultsAndLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Exec(t, `insert into public.namespaces (name, limit_range) values ('small',
		'{"default":{"cpu":200},"defaultRequest":{"cpu":50},"max":{"cpu":400,"memory":600},"min":{"cpu":20}}')`)
	for _, test := range []struct{ name, namespace, requests, limits, want, code, field string }{
		{"cluster", "default", `{}`, `{}`, "100/500 128/512 0/0", "", ""},
		{"request over the default limit", "default", `{"cpu":900,"storage":7}`, `{}`, "900/900 128/512 7/7", "", ""},
		{"limit under the default request", "default", `{}`, `{"memory":64}`, "100/500 64/64 0/0", "", ""},
		{"both", "default", `{"cpu":1,"memory":2,"storage":3}`, `{"cpu":4,"memory":5,"storage":6}`, "1/4 2/5 3/6", "", ""},
		{"request over limit", "default", `{"cpu":5}`, `{"cpu":4}`, "", "ST400", "resourceRequests.cpu"},
		{"negative", "default", `{"cpu":-5}`, `{}`, "", "ST400", "resourceRequests.cpu"},
		{"text", "default", `{}`, `{"memory":"1Gi"}`, "", "ST400", "resourceLimits.memory"},
		{"fraction", "default", `{"cpu":0.5}`, `{}`, "", "ST400", "resourceRequests.cpu"},
		{"no object", "default", `[]`, `{}`, "", "ST400", "resourceRequests"},
		{"limit range", "small", `{}`, `{}`, "50/200 128/512 0/0", "", ""},
		{"over max", "small", `{}`, `{"cpu":401}`, "", "ST400", "resourceLimits.cpu"},
		{"request over max", "small", `{"memory":700}`, `{}`, "", "ST400", "resourceLimits.memory"},
		{"under min", "small", `{"cpu":10}`, `{}`, "", "ST400", "resourceRequests.cpu"},
		{"unknown namespace", "nowhere", `{}`, `{}`, "", "ST404", "namespace"},
	} {
		var got string
		err := f.Conn.QueryRow(t.Context(), `insert into public.pods (pack_id, created_by, namespace, resource_requests, resource_limits)
			values ($1, $2, $3, $4, $5) returning format('%s/%s %s/%s %s/%s', resource_requests->'cpu', resource_limits->'cpu',
			resource_requests->'memory', resource_limits->'memory', resource_requests->'storage', resource_limits->'storage')`,
			f.pack, f.owner, test.namespace, test.requests, test.limits).Scan(&got)
		if got != test.want || migratetest.Code(err) != test.code {
			t.Errorf("%s: %q, %v; want %q %s", test.name, got, err, test.want, test.code)
			continue
		}
		if fault, ok := errors.AsType[*pgconn.PgError](err); ok {
			details := map[string]any{}
			if json.Unmarshal([]byte(fault.Detail), &details) != nil || details[test.field] == nil {
				t.Errorf("%s: details %s, want field %s", test.name, fault.Detail, test.field)
			}
		}
	}
}

func TestPriority(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.User(t, "operator")
	for _, test := range []struct {
		by, class string
		want      int
		code      string
	}{
		{f.owner, "", 0, ""},
		{f.owner, "high-priority", 1000000, ""},
		{f.owner, "low-priority", -1000, ""},
		{f.owner, "no-such-class", 0, "ST400"},
		{f.owner, "system-node-critical", 0, "ST403"},
		{operator, "system-node-critical", 2000001000, ""},
	} {
		var got int
		err := f.Conn.QueryRow(t.Context(), `insert into public.pods (pack_id, created_by, priority_class_name) values ($1, $2, $3) returning priority`,
			f.pack, test.by, test.class).Scan(&got)
		if got != test.want || migratetest.Code(err) != test.code {
			t.Errorf("class %q: %d, %v; want %d %s", test.class, got, err, test.want, test.code)
		}
	}
}

func TestPodsFindTheirPack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, v := range []string{"1.9.0", "1.10.0", "2.0.0-alpha.beta", "2.0.0-beta.11", "2.0.0-beta.2", "2.0.0-beta"} {
		f.Pack(t, f.owner, "hello", v)
	}
	f.Pack(t, f.owner, "early", "0.1.0-rc.2")
	f.Pack(t, f.owner, "early", "0.1.0-rc.10")
	f.Exec(t, `insert into public.packs (name, version, runtime_tag, owner_id) values ('hello', '3.0.0', 'node', $1)`, f.owner)
	for _, test := range []struct{ name, version, want, code string }{
		{"hello", "", "1.10.0", ""},
		{"hello", "latest", "1.10.0", ""},
		{"early", "", "0.1.0-rc.10", ""},
		{"hello", "2.0.0-beta", "2.0.0-beta", ""},
		{"hello", "9.9.9", "", "ST404"},
		{"nothing", "", "", "ST404"},
		{"hello", "3.0.0", "", "STINV"},
	} {
		var got string
		err := f.As(t, f.owner, func(q migratetest.Querier) error {
			rows, err := q.Query(t.Context(), `insert into public.pods (pack_name, pack_version) values ($1, $2) returning pack_version`, test.name, test.version)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := rows.Scan(&got); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		if got != test.want || migratetest.Code(err) != test.code {
			t.Errorf("%s %q: %q, %v; want %q %s", test.name, test.version, got, err, test.want, test.code)
		}
	}
	f.Exec(t, `delete from public.pods`)
	f.Exec(t, `delete from public.packs where name = 'hello' and version like '1.%'`)
	if got := migratetest.Value[string](t, f.Conn, `select version from public.packs where id = stark.latest_pack('hello', $1)`, f.owner); got != "2.0.0-beta.11" {
		t.Errorf("the latest pre-release is %s", got)
	}
}

func TestTerminalPodsArePurgedAfterTheirTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old, fresh, live := f.pod(t, "failed"), f.pod(t, "succeeded"), f.pod(t, "running")
	f.Exec(t, `update public.pods set stopped_at = now() - interval '25 hours' where id = $1`, old)
	for _, want := range []int{1, 0} {
		err := f.AsService(t, func(q migratetest.Querier) error {
			if got := migratetest.Value[int](t, q, `select stark.purge_terminal_pods(100)`); got != want {
				return fmt.Errorf("purged %d pods, want %d", got, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	left := migratetest.Values[string](t, f.Conn, `select id::text from public.pods`)
	if slices.Contains(left, old) || !slices.Contains(left, fresh) || !slices.Contains(left, live) {
		t.Errorf("left %v", left)
	}
}
