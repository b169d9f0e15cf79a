package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// filledSQL is what the database fills into a new pod.
const filledSQL = `select coalesce(string_agg(concat_ws(' ', labels ->> 'n', pack_id, pack_name, pack_version, runtime_tag, namespace,
	priority, coalesce(priority_class_name, '-'), resource_requests, resource_limits), E'\n' order by labels ->> 'n'), '') from public.pods`

// What is looked up for one row of a statement must not become that of another row.
func TestPodsOfOneStatementAreFilledLikeSinglePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	one, two := w.pack(t, ann, "one", "1.0.0"), w.pack(t, ann, "one", "2.0.0")
	w.pack(t, bob, "two", "1.0.0")
	w.exec(t, `insert into public.namespaces (name, limit_range) values ('plain', null),
		('bounded', '{"defaultRequest": {"cpu": 7}, "default": {"cpu": 70, "memory": 700}, "max": {"storage": 9}}')`)
	w.exec(t, `insert into public.priority_classes (name, value, global_default) values ('usual', 5, true), ('high', 50, false)`)
	var rows []string
	for i, pack := range []string{
		"'%[3]s', '', ''", "null, 'one', '2.0.0'", "null, 'one', 'latest'", "null, 'one', ''", "'%[4]s', 'one', '2.0.0'", "null, 'one', '1.0.0'",
	} {
		for j, namespace := range []string{"plain", "bounded", "plain"} {
			for k, resources := range []string{"'{}', '{}'", `'{"cpu": 10, "memory": 16}', '{}'`, `'{"storage": 3}', '{"cpu": 600}'`} {
				rows = append(rows, fmt.Sprintf(`('{"n": "%03[5]d"}'::jsonb, '%[1]s'::uuid, `+pack+`, '%[2]s', %[6]s, %[7]s)`,
					ann.UserID, namespace, one.ID, two.ID, 100*i+10*j+k, resources, []string{"null", "'high'", "''"}[(i+j+k)%3]))
			}
		}
	}
	rows = append(rows, fmt.Sprintf(`('{"n": "900"}'::jsonb, '%s'::uuid, null, 'two', '', 'plain', '{}', '{}', null)`, bob.UserID))
	insert := func(rows ...string) {
		w.exec(t, `insert into public.pods (labels, created_by, pack_id, pack_name, pack_version, namespace,
			resource_requests, resource_limits, priority_class_name)
			select l, c, p::uuid, n, v, s, q::jsonb, m::jsonb, x from (values `+strings.Join(rows, ", ")+`) as r (l, c, p, n, v, s, q, m, x)`)
	}
	for _, row := range rows {
		insert(row)
	}
	want := value[string](t, w, filledSQL)
	w.exec(t, "delete from public.pods")
	insert(rows...)
	if got := value[string](t, w, filledSQL); got != want {
		t.Errorf("together the pods are\n%s\nwhich alone are\n%s", got, want)
	}
}

// A statement uses nothing that an earlier one of its transaction looked up, nor what
// somebody else has put in its place.
func TestEachStatementLooksUpWhatItsPodsTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	w.pack(t, ann, "hello", "1.0.0")
	w.pack(t, ann, "hello", "2.0.0")
	w.exec(t, "update public.packs set visibility = 'public'")
	insert := func() string {
		w.exec(t, "delete from public.pods")
		w.exec(t, "insert into public.pods (created_by, pack_name, pack_version) values ($1, 'hello', 'latest')", ann.UserID)
		return value[string](t, w, "select pack_version || ' ' || (resource_limits ->> 'cpu') || ' ' || priority from public.pods")
	}
	w.exec(t, "begin")
	if got := insert(); got != "2.0.0 500 0" {
		t.Errorf("the first pod got %q", got)
	}
	w.exec(t, "select set_config('stark.filled', replace(replace(current_setting('stark.filled'), '2.0.0', '6.6.6'), '500', '666'), true)")
	if got := insert(); got != "2.0.0 500 0" {
		t.Errorf("a setting made a pod get %q", got)
	}
	w.exec(t, "delete from public.pods")
	w.exec(t, "delete from public.packs where version = '2.0.0'")
	w.exec(t, `update public.cluster_config set default_resource_limits = '{"cpu": 900, "memory": 900}'`)
	w.exec(t, "insert into public.priority_classes (name, value, global_default) values ('usual', 5, true)")
	if got := insert(); got != "1.0.0 900 5" {
		t.Errorf("after changes in the same transaction a pod got %q", got)
	}
	w.exec(t, "commit")
}

// The short ways must end where the long ones do.
func TestPlainPodsAreCheckedAsOthersAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	// try stores a pod and tells what came of it; the function answers in the same words.
	w.exec(t, `create function pg_temp.try(l jsonb, q jsonb, m jsonb, pack uuid, who uuid) returns text language plpgsql as $$
		declare p public.pods; begin
			insert into public.pods (labels, resource_requests, resource_limits, pack_id, created_by) values (l, q, m, pack, who) returning * into p;
			return p.resource_requests::text || p.resource_limits::text;
		exception when others then return sqlstate || ' ' || sqlerrm; end $$`)
	w.exec(t, `create function pg_temp.fill(q jsonb, m jsonb) returns text language plpgsql as $$
		declare f jsonb[]; begin
			f := stark.pods_fill_resources(q, m, null, c.default_resource_requests, c.default_resource_limits) from public.cluster_config c;
			return f[1]::text || f[2]::text;
		exception when others then return sqlstate || ' ' || sqlerrm; end $$`)
	for _, requests := range []string{
		`{}`, `{"cpu": 0}`, `{"cpu": 10, "memory": 16}`, `{"cpu": 1000000, "memory": 999999, "storage": 12}`, `{"storage": 1}`, `{"cpu": 700}`,
		`{"cpu": 1.5}`, `{"cpu": 10.0}`, `{"cpu": 1e3}`, `{"memory": -1}`, `{"cpu": null}`, `{"cpu": "5"}`, `{"cpu": true}`, `{"cpu": [5]}`,
		`{"cpu": {"cpu": 5}}`, `[]`, `[1]`, `5`, `"cpu"`, `null`, `true`,
	} {
		for _, limits := range []string{`{}`, `{"cpu": 5}`, `{"memory": 1.5}`, `[]`} {
			got := value[string](t, w, "select pg_temp.try('{}', $1::text::jsonb, $2::text::jsonb, $3, $4)", requests, limits, k.ID, ann.UserID)
			if want := value[string](t, w, "select pg_temp.fill($1::text::jsonb, $2::text::jsonb)", requests, limits); got != want {
				t.Errorf("requests %s with limits %s: got %s, want %s", requests, limits, got, want)
			}
		}
	}
	for _, c := range []struct{ requests, want string }{
		{`{"cpu": 1000001}`, "ST400 resourceRequests must be at most"},
		{`{"memory": 16777216}`, `{"cpu"`},
		{`{"memory": 16777217}`, "ST400 resourceRequests must be at most"},
		{`{"cpu1": 5}`, "ST400 resourceRequests knows"},
		{`{"gpu": 1, "cpu": 1}`, "ST400 resourceRequests knows"},
		{`{"cpu": 1e30}`, "ST400 resourceRequests must be at most"},
	} {
		if got := value[string](t, w, "select pg_temp.try('{}', $1::text::jsonb, '{}', $2, $3)", c.requests, k.ID, ann.UserID); !strings.HasPrefix(got, c.want) {
			t.Errorf("requests %s: got %q, want %q", c.requests, got, c.want)
		}
	}
	for _, labels := range []string{
		`{}`, `{"a": "b"}`, `{"a": ""}`, `{"stark.io/name": "web", "app": "w_e.b-1"}`, `{"a": "b", "c": "d", "e": "f", "g": "h", "i": "j", "k": "l"}`,
		`{"": "b"}`, `{"a": "-b"}`, `{"a": "b-"}`, `{"-a": "b"}`, `{"a-": "b"}`, `{"/a": "b"}`, `{"a/": "b"}`, `{"a/b/c": "d"}`, `{"a b": "c"}`, `{"a": "b c"}`,
		`{"a": 5}`, `{"a": null}`, `{"a": "b\"c"}`, `{"a": "ü"}`, `{"a": {"b": "c"}}`, `[]`, `["a"]`, `"a"`,
		`{"a": "` + strings.Repeat("x", 61) + `"}`, `{"a": "` + strings.Repeat("x", 63) + `"}`, `{"a": "` + strings.Repeat("x", 64) + `"}`,
		`{"` + strings.Repeat("k", 60) + `": "b"}`, `{"` + strings.Repeat("k", 253) + `": "b"}`, `{"` + strings.Repeat("k", 254) + `": "b"}`,
	} {
		got := value[string](t, w, "select pg_temp.try($1::text::jsonb, '{}', '{}', $2, $3)", labels, k.ID, ann.UserID)
		want := value[bool](t, w, "select stark.is_labels($1::text::jsonb)", labels)
		if stored := !strings.HasPrefix(got, "23514"); stored != want {
			t.Errorf("labels %s: got %q, but is_labels says %v", labels, got, want)
		}
	}
}

// The guard of updates is left out for a bind that it would not change, and for no other.
func TestABindThatIsMoreThanABindIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper, api.RoleOperator)
	k := w.pack(t, ann, "hello", "1.0.0")
	other := w.pack(t, ann, "other", "3.0.0")
	n := w.node(t, ann, "n1").Node
	const bind = "update public.pods set status = 'scheduled', node_id = $2, scheduled_at = now(), updated_at = now()"
	for _, c := range []struct{ more, code string }{
		{`, namespace = 'stark-system'`, "STINV"},
		{`, priority_class_name = 'high'`, "STINV"},
		{`, resource_requests = '{"cpu": 1}'`, "STINV"},
		{`, created_at = created_at - interval '1 s'`, "STINV"},
		{`, id = gen_random_uuid()`, "STINV"},
		{`, incarnation = 0`, "STSTL"},
		{`, created_by = (select id from public.users where id <> created_by limit 1)`, "STINV"},
	} {
		w.user(t)
		p := w.pod(t, ann, k.ID)
		_, err := w.conn.Exec(t.Context(), bind+c.more+" where id = $1", p.ID, n.ID)
		if err == nil || !strings.Contains(err.Error(), c.code) {
			t.Errorf("a bind with %q: got %v, want %s", c.more, err, c.code)
		}
	}
	p := w.pod(t, ann, k.ID)
	w.exec(t, "update public.pods set status = 'scheduled', node_id = $2, scheduled_at = '2001-01-01', pack_id = $3 where id = $1", p.ID, n.ID, other.ID)
	if got := value[string](t, w, "select concat_ws(' ', pack_name, pack_version, scheduled_at = updated_at, updated_at > created_at) from public.pods where id = $1", p.ID); got != "other 3.0.0 t t" {
		t.Errorf("a bind without its times and with another pack gave %q", got)
	}
	p = w.pod(t, ann, k.ID)
	w.exec(t, "update public.pods set status = 'scheduled', node_id = $2, updated_at = now() where id = $1", p.ID, n.ID)
	if got := value[bool](t, w, "select scheduled_at = updated_at from public.pods where id = $1", p.ID); !got {
		t.Error("a bind that leaves out when the pod was scheduled has no such time")
	}
	p = w.pod(t, ann, k.ID)
	w.bind(t, p, n.ID)
	if got := value[string](t, w, "select concat_ws(' ', status, scheduled_at = updated_at, updated_at > created_at) from public.pods where id = $1", p.ID); got != "scheduled t t" {
		t.Errorf("a bind gave %q", got)
	}
}
