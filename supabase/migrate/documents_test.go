package migrate_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// A row that a server cannot decode would stop every server that reads it, so
// the shapes of documents are the database's to hold.
func TestPodDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const required = "requiredDuringSchedulingIgnoredDuringExecution"
	const preferred = "preferredDuringSchedulingIgnoredDuringExecution"
	tests := map[string]struct{ column, document, code string }{
		"toleration":                    {"tolerations", `[{"key":"a","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}]`, ""},
		"toleration of everything":      {"tolerations", `[{"operator":"Exists"}]`, ""},
		"toleration with number":        {"tolerations", `[{"key":5,"operator":"Exists"}]`, "23514"},
		"toleration with object":        {"tolerations", `[{"key":"a","value":{"x":1}}]`, "23514"},
		"toleration with text seconds":  {"tolerations", `[{"key":"a","tolerationSeconds":"5"}]`, "23514"},
		"toleration with null operator": {"tolerations", `[{"key":"a","operator":null}]`, "23514"},
		"toleration in other case":      {"tolerations", `[{"key":"a","KEY":5}]`, "23514"},
		"toleration that is a list":     {"tolerations", `[[]]`, "23514"},
		"selector":                      {"scheduling", `{"nodeSelector":{"zone":"a"}}`, ""},
		"selector that is a number":     {"scheduling", `{"nodeSelector":5}`, "23514"},
		"selector with number":          {"scheduling", `{"nodeSelector":{"a":5}}`, "23514"},
		"selector in other case":        {"scheduling", `{"NODESELECTOR":5}`, "23514"},
		"node name":                     {"scheduling", `{"nodeName":"a"}`, ""},
		"node name that is a list":      {"scheduling", `{"nodeName":[]}`, "23514"},
		"scheduling that is null":       {"scheduling", `null`, "23514"},
		"affinity": {
			"scheduling", `{"nodeAffinity":{"` + required + `":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"In","values":["x"]}]}]},"` +
				preferred + `":[{"weight":100,"preference":{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}}]}}`, "",
		},
		"affinity that is a list":     {"scheduling", `{"nodeAffinity":[]}`, "23514"},
		"affinity without terms":      {"scheduling", `{"nodeAffinity":{"` + required + `":{}}}`, "23514"},
		"affinity with number":        {"scheduling", `{"nodeAffinity":{"` + required + `":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"In","values":[1]}]}]}}}`, "23514"},
		"affinity with weight":        {"scheduling", `{"nodeAffinity":{"` + preferred + `":[{"weight":101,"preference":{}}]}}`, "23514"},
		"affinity with weight as map": {"scheduling", `{"nodeAffinity":{"` + preferred + `":[{"weight":{},"preference":{}}]}}`, "23514"},
		"pod affinity": {
			"scheduling", `{"podAntiAffinity":{"` + required + `":[{"topologyKey":"zone","namespaces":["a"],"labelSelector":{"matchLabels":{"a":"b"}}}],"` +
				preferred + `":[{"weight":1,"podAffinityTerm":{"topologyKey":"zone"}}]}}`, "",
		},
		"pod affinity with number":      {"scheduling", `{"podAffinity":{"` + required + `":[{"topologyKey":7}]}}`, "23514"},
		"pod affinity with null":        {"scheduling", `{"podAffinity":{"` + required + `":[null]}}`, "23514"},
		"pod affinity with names":       {"scheduling", `{"podAffinity":{"` + required + `":[{"topologyKey":"a","namespaces":[1]}]}}`, "23514"},
		"pod affinity with selector":    {"scheduling", `{"podAffinity":{"` + required + `":[{"topologyKey":"a","labelSelector":{"matchLabels":{"a":1}}}]}}`, "23514"},
		"metadata":                      {"metadata", `{"a":{"b":[1,-2.5e30,null,true,"x"]}}`, ""},
		"metadata beyond a float":       {"metadata", `{"a":[1e400]}`, "23514"},
		"metadata below a float":        {"metadata", `{"a":{"b":-1e400}}`, "23514"},
		"environment":                   {"env", `{"A":"1","_b2":""}`, ""},
		"environment with own name":     {"env", `{"STARK_POD":"1"}`, "23514"},
		"environment with number":       {"env", `{"A":1}`, "23514"},
		"environment with digit":        {"env", `{"1A":"1"}`, "23514"},
		"environment with hyphen":       {"env", `{"A-B":"1"}`, "23514"},
		"labels":                        {"labels", `{"app.io/name":"a-b_c.1","empty":""}`, ""},
		"labels with blank":             {"labels", `{"a":"b c"}`, "23514"},
		"labels that end in a hyphen":   {"labels", `{"a-":"b"}`, "23514"},
		"labels with null":              {"labels", `{"a":null}`, "23514"},
		"labels of a value of 63":       {"labels", `{"a":"` + strings.Repeat("v", 63) + `"}`, ""},
		"labels of a value of 64":       {"labels", `{"a":"` + strings.Repeat("v", 64) + `"}`, "23514"},
		"labels of a key of 253":        {"labels", `{"` + strings.Repeat("k", 253) + `":""}`, ""},
		"labels of a key of 254":        {"labels", `{"` + strings.Repeat("k", 254) + `":""}`, "23514"},
		"labels, several":               {"labels", `{"app":"web","tier":"back-end","x":"1"}`, ""},
		"labels, one of several bad":    {"labels", `{"app":"web","tier":"back end","x":"1"}`, "23514"},
		"labels, one a number":          {"labels", `{"app":"web","tier":1}`, "23514"},
		"labels that quote":             {"labels", `{"a":"b\", \"c\": \"d"}`, "23514"},
		"labels with a line's end":      {"labels", `{"a":"b\n"}`, "23514"},
		"labels with an umlaut":         {"labels", `{"a":"ä"}`, "23514"},
		"labels without a key":          {"labels", `{"":"a"}`, "23514"},
		"labels that are a list":        {"labels", `["a"]`, "23514"},
		"annotations":                   {"annotations", `{"a":"any text\tat all"}`, ""},
		"annotations with number":       {"annotations", `{"a":1}`, "23514"},
		"requests of unknown resources": {"resource_requests", `{"gpu":1}`, "ST400"},
		"limits of unknown resources":   {"resource_limits", `{"CPU":1}`, "ST400"},
		"requests of six digits":        {"resource_requests", `{"cpu":999999,"memory":1}`, ""},
		"requests at the bound":         {"resource_requests", `{"cpu":1000000}`, ""},
		"requests above the bound":      {"resource_requests", `{"cpu":1000001}`, "ST400"},
		"limits above the bound":        {"resource_limits", `{"memory":16777217}`, "ST400"},
		"requests below nothing":        {"resource_requests", `{"cpu":-1}`, "ST400"},
		"requests in fractions":         {"resource_requests", `{"cpu":1.5}`, "ST400"},
		"requests as text":              {"resource_requests", `{"cpu":"1"}`, "ST400"},
		"requests known and unknown":    {"resource_requests", `{"cpu":1,"gpu":1}`, "ST400"},
	}
	for name, test := range tests {
		err := f.As(t, f.owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), "insert into public.pods (pack_id, "+test.column+") values ($1, $2::text::jsonb)", f.pack, test.document)
			return err
		})
		if got := migratetest.Code(err); got != test.code {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, test.code)
		}
	}
}

func TestEnvBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := map[string]struct{ env, code string }{
		"the longest name":  {`jsonb_build_object(repeat('A', 256), '')`, ""},
		"a longer one":      {`jsonb_build_object(repeat('A', 257), '')`, "23514"},
		"the most entries":  {`(select jsonb_object_agg('A' || i, '') from generate_series(1, 100) i)`, ""},
		"more":              {`(select jsonb_object_agg('A' || i, '') from generate_series(1, 101) i)`, "23514"},
		"the most bytes":    {`jsonb_build_object('A', repeat('x', 131071))`, ""},
		"more than that":    {`jsonb_build_object('A', repeat('x', 131072))`, "23514"},
		"wide characters":   {`jsonb_build_object('A', repeat('ä', 65536))`, "23514"},
		"no object but one": {`'[]'`, "23514"},
	}
	for name, test := range tests {
		_, err := f.Conn.Exec(t.Context(), "insert into public.pods (pack_id, created_by, env) values ($1, $2, "+test.env+")", f.pack, f.owner)
		if got := migratetest.Code(err); got != test.code {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, test.code)
		}
	}
}

func TestNodeDocuments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := map[string]struct{ column, value, code string }{
		"taint":                     {"taints", `'[{"key":"a","value":"b","effect":"NoSchedule","timeAdded":"2026-02-28T23:59:59.123Z"}]'`, ""},
		"taint with number":         {"taints", `'[{"key":5,"effect":"NoSchedule"}]'`, "23514"},
		"taint in other case":       {"taints", `'[{"key":"a","effect":"NoSchedule","VALUE":5}]'`, "23514"},
		"taint with word for time":  {"taints", `'[{"key":"a","effect":"NoSchedule","timeAdded":"now"}]'`, "23514"},
		"taint on no day":           {"taints", `'[{"key":"a","effect":"NoSchedule","timeAdded":"2026-02-30T00:00:00Z"}]'`, "22008"},
		"taint with null":           {"taints", `'[null]'`, "23514"},
		"capabilities":              {"capabilities", `'{"version":"22","features":["a"]}'`, ""},
		"capabilities with number":  {"capabilities", `'{"version":22}'`, "23514"},
		"capabilities with objects": {"capabilities", `'{"features":[{}]}'`, "23514"},
		"unknown capabilities":      {"capabilities", `'{"VERSION":[]}'`, "23514"},
		"labels":                    {"labels", `'{"a":"b"}'`, ""},
		"labels with number":        {"labels", `'{"a":1}'`, "23514"},
		"namespaces with null":      {"namespaces", `'{null}'`, "23514"},
		"namespaces of namespaces":  {"namespaces", `'{{a},{b}}'`, "23514"},
	}
	i, staff := 0, f.User(t, "operator")
	for name, test := range tests {
		i++
		err := f.As(t, staff, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), "insert into public.nodes (name, runtime_type, "+test.column+") values ('n' || $1::int, 'node', "+test.value+")", i)
			return err
		})
		if got := migratetest.Code(err); got != test.code {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, test.code)
		}
	}
}

func TestPodOfOnePackOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for values, code := range map[string]string{
		`'hello', '1.0.0'`:  "",
		`'', 'latest'`:      "",
		`'hello', ''`:       "",
		`'hello', '9.9.9'`:  "ST400",
		`'other', '1.0.0'`:  "ST400",
		`'', '1.0.0+build'`: "ST400",
	} {
		err := f.As(t, f.owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), "insert into public.pods (pack_id, pack_name, pack_version) values ($1, "+values+")", f.pack)
			return err
		})
		if got := migratetest.Code(err); got != code {
			t.Errorf("%s: got %q (%v), want %q", values, got, err, code)
		}
	}
}

func TestReadyPackHasItsBundle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const toReady = `update public.packs set status = 'ready', bundle_sha256 = repeat('a', 64), bundle_size = 5 where name = 'ghost'`
	ready := func() error {
		return f.AsService(t, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), toReady)
			return err
		})
	}
	err := f.As(t, f.owner, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `insert into public.packs (name, version, runtime_tag) values ('ghost', '1.0.0', 'node')`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ready(); migratetest.Code(err) != "STINV" {
		t.Errorf("without an object: %v", err)
	}
	f.Exec(t, `insert into storage.objects (bucket_id, name, metadata) values ('pack-bundles', $1 || '/ghost/1.0.0/' || repeat('a', 64) || '.js', '{"size":4}')`, f.owner)
	if err := ready(); migratetest.Code(err) != "STINV" {
		t.Errorf("with an object of another size: %v", err)
	}
	f.Exec(t, `update storage.objects set metadata = '{"size":5}'`)
	err = f.As(t, f.owner, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), toReady)
		return err
	})
	if migratetest.Code(err) != "42501" {
		t.Errorf("by the owner, who cannot show what it holds: %v", err)
	}
	if err := ready(); err != nil {
		t.Errorf("with its object: %v", err)
	}
	err = f.AsService(t, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `update public.packs set bundle_sha256 = repeat('b', 64) where name = 'ghost'`)
		return err
	})
	if migratetest.Code(err) != "ST409" {
		t.Errorf("another bundle later: %v", err)
	}
}
