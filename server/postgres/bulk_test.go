package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func many(n int, packID string) api.CreatePodsRequest {
	r := api.CreatePodsRequest{Items: make([]api.CreatePodRequest, n)}
	for i := range r.Items {
		r.Items[i] = api.CreatePodRequest{PackID: packID}
	}
	return r
}

func TestManyPodsAreMadeTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	r := many(200, k.ID)
	r.ID = api.NewID()
	r.Items[7].Labels = map[string]string{"n": "seven"}
	ids := must(w.CreatePods(t.Context(), ann, r))(t)
	if len(ids) != 200 {
		t.Fatalf("%d ids", len(ids))
	}
	if p := must(w.GetPod(t.Context(), ann, ids[7]))(t); p.Labels["n"] != "seven" || p.Status != api.PodPending || p.ResourceRequests.CPU == 0 {
		t.Errorf("the eighth is %+v", p)
	}
	// Asked for again by the same request, they are those that are there.
	if again := must(w.CreatePods(t.Context(), ann, r))(t); !slices.Equal(again, ids) {
		t.Errorf("another try gave %v", again)
	}
	if n := value[int](t, w, "select count(distinct id) from public.pods where created_by = $1", ann.UserID); n != 200 {
		t.Errorf("%d pods", n)
	}
	r.ID = ""
	if other := must(w.CreatePods(t.Context(), ann, r))(t); slices.Contains(ids, other[0]) {
		t.Error("another request got pods of the first")
	}
}

func TestOfManyPodsTheRefusedOneIsNamedAndNoneIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, viewer := w.user(t, api.RoleDeveloper), w.user(t)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, `update public.namespaces set resource_quota = '{"hard":{"pods":50}}' where name = 'default'`)
	with := func(n, at int, item api.CreatePodRequest) api.CreatePodsRequest {
		r := many(n, k.ID)
		r.Items[at] = item
		return r
	}
	for name, c := range map[string]struct {
		by   bool
		r    api.CreatePodsRequest
		at   string
		code fault.Code
	}{
		"quota":          {true, many(60, k.ID), "items[50]: ", fault.QuotaExceeded},
		"no such pack":   {true, with(40, 13, api.CreatePodRequest{PackName: "nobody"}), "items[13]: ", fault.NotFound},
		"no such id":     {true, with(40, 39, api.CreatePodRequest{PackID: api.NewID()}), "items[39]: ", fault.NotFound},
		"malformed id":   {true, with(40, 2, api.CreatePodRequest{PackID: "x"}), "items[2]: ", fault.NotFound},
		"first":          {true, with(40, 0, api.CreatePodRequest{PackName: "nobody"}), "items[0]: ", fault.NotFound},
		"single":         {true, with(1, 0, api.CreatePodRequest{PackName: "nobody"}), "items[0]: ", fault.NotFound},
		"priority class": {true, with(40, 21, api.CreatePodRequest{PackID: k.ID, PriorityClassName: "nobody"}), "items[21]: ", ""},
		"no right":       {false, many(3, k.ID), "items[0]: ", ""},
	} {
		by := ann
		if !c.by {
			by = viewer
		}
		ids, err := w.CreatePods(t.Context(), by, c.r)
		if err == nil || !strings.Contains(err.Error(), c.at) || c.code != "" && fault.CodeOf(err) != c.code || fault.CodeOf(err) == fault.Internal {
			t.Errorf("%s: %d ids, %v; want %s at %s", name, len(ids), err, c.code, c.at)
		}
	}
	if n := value[int](t, w, "select count(*) from public.pods"); n != 0 {
		t.Errorf("%d pods were left", n)
	}
	// Nothing of the quota was used: all of it is there.
	if ids := must(w.CreatePods(t.Context(), ann, many(50, k.ID)))(t); len(ids) != 50 {
		t.Errorf("%d ids", len(ids))
	}
}

// Of pods that are alike all but the first are copies, which must lack nothing.
func TestPodsThatAreAlikeHaveOnlyTheirIDsApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, "insert into public.priority_classes (name, value) values ('high', 7)")
	cpu, memory, seconds := api.Millicores(20), api.Mebibytes(32), 77
	full := api.CreatePodRequest{
		PackName: k.Name, PackVersion: k.Version, Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"note": "y"},
		PriorityClassName: "high", Tolerations: []api.Toleration{{Key: "k", Operator: "Exists"}},
		ResourceRequests: &api.ResourceInput{CPU: &cpu, Memory: &memory}, ResourceLimits: &api.ResourceInput{CPU: &cpu},
		Scheduling: &api.Scheduling{NodeSelector: map[string]string{"zone": "a"}}, RestartPolicy: "Never", Isolation: "shared",
		Env: map[string]string{"A": "1"}, TerminationGracePeriodSeconds: &seconds, ActiveDeadlineSeconds: &seconds, Metadata: map[string]any{"m": "n"},
	}
	r := api.CreatePodsRequest{Items: []api.CreatePodRequest{full, {PackID: k.ID}, full, {PackID: k.ID}, full}}
	ids := must(w.CreatePods(t.Context(), ann, r))(t)
	for _, alike := range [][]string{{ids[0], ids[2], ids[4]}, {ids[1], ids[3]}} {
		if n := value[int](t, w, "select count(distinct to_jsonb(p) - 'id') from public.pods p where p.id = any ($1::text[]::uuid[])", alike); n != 1 {
			t.Errorf("%v are of %d kinds", alike, n)
		}
		if n := value[int](t, w, "select count(distinct to_jsonb(h) - 'id' - 'pod_id' - 'created_at') from public.pod_history h where h.pod_id = any ($1::text[]::uuid[])", alike); n != 1 {
			t.Errorf("%v have histories of %d kinds", alike, n)
		}
	}
	// Each column is one that the copies take over, or that new pods have nothing in.
	taken := value[string](t, w, "select pg_get_functiondef('stark.copy_pods'::regproc)")
	for column := range strings.FieldsSeq(value[string](t, w, `select coalesce(string_agg(c.key, ' '), '') from public.pods p, public.pods d, jsonb_each(to_jsonb(p)) c
		where p.id = $1 and d.id = $2 and c.value <> 'null' and c.key <> 'id'`, ids[0], ids[1])) {
		if !strings.Contains(taken, "p."+column) && column != "incarnation" && column != "used_incarnation" && column != "restarts" {
			t.Errorf("copies do not take over %s", column)
		}
	}
	p := must(w.GetPod(t.Context(), ann, ids[4]))(t)
	if p.Priority != 7 || p.Labels["app"] != "x" || p.ResourceLimits.CPU != 20 || p.PackID != k.ID || p.CreatedBy != ann.UserID {
		t.Errorf("the last is %+v", p)
	}
	if n := value[int](t, w, "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'"); n != 5 {
		t.Errorf("%d pods are charged", n)
	}
}

// A copy is asked nothing, so that nobody may have one of what was not asked itself just now.
func TestOnlyNewPodsOfOnesOwnAreCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	root := w.user(t, api.RoleAdmin)
	k := w.pack(t, ann, "hello", "1.0.0")
	w.exec(t, "update public.packs set visibility = 'public'")
	old := w.pod(t, ann, k.ID)
	const serve = "select set_config('role', 'service_role', true)"
	const copied = "select stark.copy_pods(array[$1::text]::uuid[], array[gen_random_uuid()], array[1])"
	made := func(tx postgres.Tx, by access.Identity) string {
		id := api.NewID()
		tx.Queue("insert into public.pods (id, pack_id, created_by) values ($1, $2, $3)", id, k.ID, by.UserID)
		return id
	}
	for name, c := range map[string]struct {
		by access.Identity
		do func(tx postgres.Tx) (id string)
	}{
		"one that there was": {ann, func(postgres.Tx) string { return old.ID }},
		"one touched just now": {ann, func(tx postgres.Tx) string {
			tx.Queue("update public.pods set labels = '{\"a\":\"b\"}' where id = $1", old.ID)
			return old.ID
		}},
		"somebody else's": {bob, func(postgres.Tx) string { return old.ID }},
		"somebody's, as staff": {root, func(tx postgres.Tx) string {
			tx.Queue("update public.pods set labels = '{\"a\":\"b\"}' where id = $1", old.ID)
			return old.ID
		}},
		"one that there is not": {ann, func(postgres.Tx) string { return api.NewID() }},
		"settings of one's own": {ann, func(tx postgres.Tx) string { tx.Queue("select set_config('stark.copies', 'on', true)"); return old.ID }},
	} {
		err := w.AsUser(t.Context(), c.by, func(tx postgres.Tx) error {
			id := c.do(tx)
			tx.Queue(serve)
			_, err := tx.Exec(t.Context(), copied, id)
			return err
		})
		if fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s is copied: %v", name, err)
		}
	}
	if n := value[int](t, w, "select count(*) from public.pods"); n != 1 {
		t.Errorf("%d pods", n)
	}
	// What a new one is asked it is asked whatever the transaction has set.
	err := w.AsUser(t.Context(), ann, func(tx postgres.Tx) error {
		tx.Queue("select set_config('stark.copies', 'on', true)")
		_, err := tx.Exec(t.Context(), "insert into public.pods (pack_id, created_by, labels) values ($1, $2, '{\"!\":\"b\"}')", k.ID, ann.UserID)
		return err
	})
	if fault.CodeOf(err) != fault.Validation {
		t.Errorf("a pod with a label that is none: %v", err)
	}
	if err := w.AsUser(t.Context(), ann, func(tx postgres.Tx) error {
		id := made(tx, ann)
		tx.Queue(serve)
		_, err := tx.Exec(t.Context(), copied, id)
		return err
	}); err != nil {
		t.Errorf("a new one of one's own: %v", err)
	}
	if err := w.AsUser(t.Context(), ann, func(tx postgres.Tx) error {
		_, err := tx.Exec(t.Context(), copied, made(tx, ann))
		return err
	}); fault.CodeOf(err) != fault.Forbidden {
		t.Errorf("a user may ask for copies without a server: %v", err)
	}
}
