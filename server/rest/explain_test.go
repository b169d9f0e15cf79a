package rest_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestDryRunAndExplain(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	node := api.Node{ID: otherID, Name: "n1", RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true, Allocatable: api.Capacity{CPU: 1000, Memory: 1024, Pods: 10}}
	waits := somePod()
	waits.Status, waits.NodeID, waits.RuntimeTag, waits.ResourceRequests.CPU = api.PodPending, nil, api.TagNode, 2000
	h.model.Apply(store.Batch{Nodes: store.Changes[api.Node]{Put: []api.Node{node}}, Pods: store.Changes[api.Pod]{Put: []api.Pod{waits}}})
	h.db.verdict = func(access.Identity, string) (*api.Verdict, error) { return nil, nil }
	var e api.Explanation
	h.do(request{method: "GET", path: "/api/pods/" + waits.ID + "/explain", token: "good-viewer"}).want(http.StatusOK, &e)
	if e.Verdict == nil || e.Verdict.Reason != api.ReasonNeverFits || e.Verdict.Nodes[0].Asked != 2000 || e.Verdict.Nodes[0].Free != 1000 {
		t.Errorf("got %+v, want the node's numbers", e.Verdict)
	}

	fits := waits
	fits.ID, fits.ResourceRequests.CPU = someID, 100
	h.db.dryRunPod = func(access.Identity, api.CreatePodRequest) (api.Pod, error) { return fits, nil }
	var dry struct {
		DryRun      bool
		Explanation api.Explanation
	}
	body := `{"packName":"hello"}`
	h.do(request{method: "POST", path: "/api/pods?dryRun=true", token: "good-developer", body: body}).want(http.StatusCreated, &dry)
	if !dry.DryRun || dry.Explanation.NodeName != "n1" || len(dry.Explanation.Candidates) != 1 || dry.Explanation.Candidates[0].Score == 0 {
		t.Errorf("got %+v, want n1 with its score", dry)
	}
	h.db.dryRunPod = func(access.Identity, api.CreatePodRequest) (api.Pod, error) {
		return api.Pod{}, fault.New(fault.QuotaExceeded, "no quota left")
	}
	h.do(request{method: "POST", path: "/api/pods?dryRun=true", token: "good-developer", body: body}).want(http.StatusCreated, &dry)
	if v := dry.Explanation.Verdict; v == nil || v.Reason != api.ReasonWaitingForQuota || v.Message != "no quota left" {
		t.Errorf("got %+v, want WaitingForQuota", v)
	}
	h.db.dryRunPod = func(access.Identity, api.CreatePodRequest) (api.Pod, error) {
		return api.Pod{}, fault.New(fault.NotFound, "pack not found")
	}
	h.do(request{method: "POST", path: "/api/pods?dryRun=true", token: "good-developer", body: body}).fails(http.StatusNotFound, fault.NotFound)
}
