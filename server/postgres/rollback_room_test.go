package postgres_test

import (
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// TestRollbackNeedsRoomForBoth takes the room away in turn: of each resource, and by
// the replacement of another pod.
func TestRollbackNeedsRoomForBoth(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ctx := t.Context()
	asks := s.pod.ResourceRequests
	room := func(c api.Capacity) {
		t.Helper()
		must(s.UpdateNode(ctx, s.dev, s.node, api.UpdateNodeRequest{Allocatable: &c}))(t)
	}
	both := api.Capacity{CPU: 2 * asks.CPU, Memory: 2 * asks.Memory, Storage: 2 * asks.Storage, Pods: 2}
	refused := func(resource string, c api.Capacity) {
		t.Helper()
		room(c)
		_, err := s.RollbackPod(ctx, s.dev, s.pod.ID, api.RollbackRequest{TargetVersion: "1.0.0"})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.InvalidState || f.Details["resource"] != resource || f.Details["node"] != "n1" {
			t.Errorf("without room for %s: got %v, %+v", resource, err, f)
		}
	}
	for resource, less := range map[string]func(*api.Capacity){
		"cpu": func(c *api.Capacity) { c.CPU-- }, "memory": func(c *api.Capacity) { c.Memory-- }, "pods": func(c *api.Capacity) { c.Pods-- },
	} {
		c := both
		less(&c)
		refused(resource, c)
	}
	if p := s.now(); p.Rollout != nil || p.PackVersion != "2.0.0" {
		t.Fatalf("a refused rollback has left %+v", p)
	}
	s.wanted("1 2.0.0 run")

	// Exactly enough is enough, and then another pod finds nothing left.
	second := must(s.CreatePod(ctx, s.dev, api.CreatePodRequest{PackID: s.new.ID}))(t)
	s.bind(t, second, s.node)
	room(api.Capacity{CPU: 3 * asks.CPU, Memory: 3 * asks.Memory, Storage: 3 * asks.Storage, Pods: 3})
	s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
	_, err := s.RollbackPod(ctx, s.dev, second.ID, api.RollbackRequest{TargetVersion: "1.0.0"})
	wantCode(t, err, fault.InvalidState)

	// At once needs no room beside itself, and giving up needs none either.
	s.rollback(api.RollbackRequest{TargetVersion: "2.0.0"})
	room(api.Capacity{CPU: 1, Memory: 1, Storage: 1, Pods: 1})
	if out := s.rollback(api.RollbackRequest{TargetVersion: "1.0.0", Now: true}); out.Pod.Status != api.PodPending || out.Pod.PackVersion != "1.0.0" {
		t.Errorf("got %+v", out.Pod)
	}
}
