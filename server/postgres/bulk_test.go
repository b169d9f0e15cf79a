package postgres_test

import (
	"slices"
	"strings"
	"testing"

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
