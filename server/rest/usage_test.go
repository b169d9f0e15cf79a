package rest_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var pods struct{ Pods []api.PodFigures }
	h.do(request{method: "GET", path: "/api/usage/pods?namespace=shop&podId=" + someID + "&nodeId=" + otherID + "&labelSelector=a", token: "good-viewer"}).
		want(http.StatusOK, &pods)
	if len(pods.Pods) != 1 || pods.Pods[0].Namespace != "shop" || pods.Pods[0].PodID != someID || pods.Pods[0].NodeID != otherID || pods.Pods[0].Usage.LoopDelayMS != 7 {
		t.Errorf("got %+v", pods)
	}
	var nodes struct{ Nodes []api.NodeFigures }
	h.do(request{method: "GET", path: "/api/usage/nodes?nodeId=" + otherID + "&labelSelector=a", token: "good-viewer"}).want(http.StatusOK, &nodes)
	if len(nodes.Nodes) != 1 || nodes.Nodes[0].NodeID != otherID || nodes.Nodes[0].NodeName != "a" {
		t.Errorf("got %+v", nodes)
	}
	for path, name := range map[string]string{
		"/api/usage/pods?podId=x": "podId", "/api/usage/pods?nodeId=x": "nodeId", "/api/usage/pods?namespace=A": "namespace",
		"/api/usage/pods?labelSelector=%3D%3D": "labelSelector", "/api/usage/nodes?nodeId=x": "nodeId", "/api/usage/nodes?labelSelector=%3D%3D": "labelSelector",
	} {
		field(t, h.do(request{method: "GET", path: path, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation), name)
	}
}

// The short answer about a pod says what it uses now, while it runs.
func TestPodStatusHasFigures(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.getPod = func(access.Identity, string) (api.Pod, error) { return somePod(), nil }
	var out struct{ Pod struct{ Usage *api.Figures } }
	h.do(request{method: "GET", path: "/api/pods/" + someID + "/status", token: "good-viewer"}).want(http.StatusOK, &out)
	if f := out.Pod.Usage; f == nil || *f.CPU != 5 || *f.Memory != 6 || f.LoopDelayMS != 7 {
		t.Errorf("got %+v", f)
	}
}
