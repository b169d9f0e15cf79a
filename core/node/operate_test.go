package node_test

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestLeaves(t *testing.T) {
	t.Parallel()
	added := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const otherwise = time.Minute
	power := api.Taint{Key: "power", Effect: api.NoExecute, TimeAdded: &added}
	exists := func(key string, seconds ...int64) api.Toleration {
		tol := api.Toleration{Key: key, Operator: api.TolerationExists}
		if len(seconds) > 0 {
			tol.TolerationSeconds = &seconds[0]
		}
		return tol
	}
	for name, c := range map[string]struct {
		taint api.Taint
		tols  []api.Toleration
		after time.Duration
		want  bool
	}{
		"not tolerated":                   {power, nil, 0, true},
		"another effect":                  {api.Taint{Key: "power", Effect: api.NoSchedule}, nil, time.Hour, false},
		"tolerated":                       {power, []api.Toleration{exists("power")}, time.Hour, false},
		"everything is tolerated":         {power, []api.Toleration{exists("")}, time.Hour, false},
		"for a while":                     {power, []api.Toleration{exists("power", 60)}, 59 * time.Second, false},
		"no longer":                       {power, []api.Toleration{exists("power", 60)}, 60 * time.Second, true},
		"the shortest time counts":        {power, []api.Toleration{exists("power"), exists("power", 60), exists("", 30)}, 31 * time.Second, true},
		"a time below zero is none":       {power, []api.Toleration{exists("power", -5)}, 0, true},
		"a time beyond all bounds":        {power, []api.Toleration{exists("power", 1<<62)}, 1000 * time.Hour, false},
		"not ready, by default":           {api.Taint{Key: node.TaintNotReady, Effect: api.NoExecute, TimeAdded: &added}, nil, 59 * time.Second, false},
		"not ready for too long":          {api.Taint{Key: node.TaintNotReady, Effect: api.NoExecute, TimeAdded: &added}, nil, 61 * time.Second, true},
		"who is away cannot be told":      {api.Taint{Key: node.TaintUnreachable, Effect: api.NoExecute, TimeAdded: &added}, nil, time.Hour, false},
		"a taint that nobody knows since": {api.Taint{Key: "power", Effect: api.NoExecute}, nil, 0, true},
	} {
		if by, got := node.Leaves([]api.Taint{c.taint}, c.tols, added.Add(-time.Hour), otherwise, added.Add(c.after)); got != c.want || got && by.Key != c.taint.Key {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// As in Kubernetes, who comes to a node that has the taint already may stay as long as
// who was there before; else a pod would be bound and told to leave again, without end.
func TestLeavesCountsFromTheBinding(t *testing.T) {
	t.Parallel()
	added := time.Unix(1000, 0)
	bound, seconds := added.Add(time.Hour), int64(60)
	taints := []api.Taint{{Key: "power", Effect: api.NoExecute, TimeAdded: &added}}
	tols := []api.Toleration{{Key: "power", Operator: api.TolerationExists, TolerationSeconds: &seconds}}
	for after, want := range map[time.Duration]bool{0: false, 59 * time.Second: false, 60 * time.Second: true} {
		if _, got := node.Leaves(taints, tols, bound, 0, bound.Add(after)); got != want {
			t.Errorf("%v after it was bound: leaves %v, want %v", after, got, want)
		}
	}
	if _, got := node.Leaves(taints, nil, bound, 0, bound); !got {
		t.Error("who tolerates nothing may stay")
	}
}

func TestPlanDrain(t *testing.T) {
	t.Parallel()
	pods := []api.Pod{
		{ID: "a", Namespace: "x", Status: api.PodRunning},
		{ID: "b", Namespace: "x", Status: api.PodRunning},
		{ID: "c", Namespace: "x", Status: api.PodStarting},
		{ID: "d", Namespace: "y", Status: api.PodRunning, RestartPolicy: api.RestartNever},
		{ID: "e", Namespace: "y", Status: api.PodStopping},
		{ID: "f", Namespace: "y", Status: api.PodRunning, Labels: map[string]string{"stay": "yes"}},
		{ID: "g", Namespace: "y", Status: api.PodUnknown},
	}
	budget := func(ns string) (now, most int, limited bool) { return 1, 1, ns == "x" }
	for name, c := range map[string]struct {
		drain     api.NodeDrain
		evict     string
		blocked   int
		remaining int
	}{
		"all rules":     {api.NodeDrain{}, "acf", 2, 7},
		"force":         {api.NodeDrain{Force: true}, "acdf", 1, 7},
		"no budget":     {api.NodeDrain{IgnoreBudget: true, IgnoreLabels: "stay=yes"}, "abc", 1, 6},
		"bad selector":  {api.NodeDrain{IgnoreLabels: "=="}, "acf", 2, 7},
		"some may stay": {api.NodeDrain{IgnoreLabels: "stay"}, "ac", 2, 6},
	} {
		got := ""
		step := node.PlanDrain(c.drain, pods, budget)
		for _, p := range step.Evict {
			got += p.ID
		}
		if got != c.evict || len(step.Blocked) != c.blocked || step.Remaining != c.remaining {
			t.Errorf("%s: got %s, %d blocked, %d remaining", name, got, len(step.Blocked), step.Remaining)
		}
	}
}
