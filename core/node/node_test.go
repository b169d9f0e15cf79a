package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestTimeouts(t *testing.T) {
	t.Parallel()
	if got := node.TimeoutsOf(api.ClusterConfig{}); got.Heartbeat != node.DefaultHeartbeatTimeout || got.Interval != node.DefaultHeartbeatInterval || got.Eviction != node.DefaultEvictionTimeout {
		t.Errorf("got %+v, want the defaults", got)
	}
	if got := node.TimeoutsOf(api.ClusterConfig{HeartbeatTimeoutMS: 1500}); got.Heartbeat != 1500*time.Millisecond {
		t.Errorf("got %v, want 1.5 s", got.Heartbeat)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	limits := node.TimeoutsOf(api.ClusterConfig{})
	tests := []struct {
		status  api.NodeStatus
		silence time.Duration
		want    node.Transition
	}{
		{api.NodeOnline, 10 * time.Second, node.Transition{Status: api.NodeOnline}},
		{api.NodeSuspect, 30 * time.Second, node.Transition{Status: api.NodeSuspect}},
		{api.NodeOnline, 31 * time.Second, node.Transition{Status: api.NodeUnhealthy, PodsUnknown: true}},
		{api.NodeDraining, 31 * time.Second, node.Transition{Status: api.NodeUnhealthy, PodsUnknown: true}},
		{api.NodeUnhealthy, 91 * time.Second, node.Transition{Status: api.NodeOffline, PodsUnknown: true, GiveUp: true}},
		{api.NodeOffline, time.Hour, node.Transition{Status: api.NodeOffline}},
	}
	for _, tt := range tests {
		if got := node.Classify(tt.status, tt.silence, limits); got != tt.want {
			t.Errorf("%s after %v: got %+v, want %+v", tt.status, tt.silence, got, tt.want)
		}
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	for _, s := range api.NodeStatuses {
		words := s == api.NodeDraining || s == api.NodeMaintenance
		if got := node.OnConnect(s); words && got != s || !words && got != api.NodeOnline {
			t.Errorf("OnConnect(%s) = %s", s, got)
		}
		if got := node.OnDisconnect(s); (s == api.NodeOnline) != (got == api.NodeSuspect && s != api.NodeSuspect) {
			t.Errorf("OnDisconnect(%s) = %s", s, got)
		}
		if node.Ready(s) != (s == api.NodeOnline) {
			t.Errorf("Ready(%s) = %v", s, node.Ready(s))
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	ask := api.Resources{CPU: 100, Memory: 64, Storage: 1}
	pods := []api.Pod{
		{NodeID: new("n1"), Status: api.PodRunning, ResourceRequests: ask},
		{NodeID: new("n1"), Status: api.PodStopping, ResourceRequests: ask},
		{NodeID: new("n1"), Status: api.PodFailed, ResourceRequests: ask},
		{NodeID: new("n2"), Status: api.PodUnknown, ResourceRequests: ask},
		{Status: api.PodPending, ResourceRequests: ask},
	}
	got := node.Allocated(slices.Values(pods))
	want := api.Capacity{CPU: 200, Memory: 128, Storage: 2, Pods: 2}
	if len(got) != 2 || got["n1"] != want || node.AllocatedOf("n1", slices.Values(pods)) != want {
		t.Errorf("got %+v, want %+v on n1", got, want)
	}
	free := node.Free(api.Capacity{CPU: 1000, Memory: 100, Storage: 10, Pods: 3}, want)
	if free != (api.Capacity{CPU: 800, Memory: -28, Storage: 8, Pods: 1}) {
		t.Errorf("got %+v free", free)
	}
}
