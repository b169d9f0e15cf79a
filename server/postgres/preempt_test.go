package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestVictimsLeaveTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	w := b.world
	other, urgent := w.pod(t, b.owner, b.pod.PackID), w.pod(t, b.owner, b.pod.PackID)
	w.bind(t, other, b.node.ID)
	decision := func(victims ...api.Pod) scheduler.Decision {
		d := scheduler.Decision{
			PodID: urgent.ID, Incarnation: 1, NominatedNodeID: b.node.ID,
			Verdict: &api.Verdict{Reason: api.ReasonWaitingForRoom, Message: "soon", Change: "wait", PlanTime: time.Now()},
		}
		for _, v := range victims {
			d.Victims = append(d.Victims, scheduler.Victim{PodID: v.ID, Incarnation: v.Incarnation})
		}
		return d
	}
	moved := other
	moved.Incarnation = 7
	w.lead(t, func(ctx context.Context) {
		if stale, err := w.Bind(ctx, []scheduler.Decision{decision(b.pod, moved)}); err != nil || len(stale) != 1 {
			t.Errorf("one victim is not what the plan saw: got stale %v, %v; want the decision back", stale, err)
		}
		if p := must(w.GetPod(ctx, b.owner, b.pod.ID))(t); p.Eviction != nil {
			t.Errorf("got %+v told to leave for nothing", p)
		}
		if stale, err := w.Bind(ctx, []scheduler.Decision{decision(b.pod, other)}); err != nil || len(stale) != 0 {
			t.Fatalf("got stale %v, %v", stale, err)
		}
	})
	for _, id := range []string{b.pod.ID, other.ID} {
		p := must(w.GetPod(t.Context(), b.owner, id))(t)
		if p.Status != api.PodStopping || p.Reason != api.ReasonPreempted || p.Eviction == nil || p.Eviction.Preemptor != urgent.ID {
			t.Errorf("got %s %s %+v, want a pod that stops for %s", p.Status, p.Reason, p.Eviction, urgent.ID)
		}
	}
	p := must(w.GetPod(t.Context(), b.owner, urgent.ID))(t)
	v := must(w.Verdict(t.Context(), b.owner, urgent.ID))(t)
	if p.NominatedNodeID != b.node.ID || v == nil || v.Change != "wait" {
		t.Errorf("got nomination %q and verdict %+v", p.NominatedNodeID, v)
	}
	w.bind(t, urgent, b.node.ID)
	if p := must(w.GetPod(t.Context(), b.owner, urgent.ID))(t); p.NominatedNodeID != "" || p.Status != api.PodScheduled {
		t.Errorf("got %s nominated to %q, want it bound and the nomination gone", p.Status, p.NominatedNodeID)
	}
}

// TestSchedulingGuards: rows that are inserted past the REST API have documents that
// every server can read.
func TestSchedulingGuards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		check, doc string
		want       bool
	}{
		{"is_scheduling", `{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","labelSelector":{"matchLabels":{"a":"b"}},"minDomains":2}]}`, true},
		{"is_scheduling", `{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"zone"}]}`, false},
		{"is_scheduling", `{"topologySpreadConstraints":[{"topologyKey":"zone"}]}`, false},
		{"is_scheduling", `{"topologySpreadConstraints":[{"maxSkew":1.5,"topologyKey":"zone"}]}`, false},
		{"is_scheduling", `{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"Perhaps"}]}`, false},
		{"is_scheduling", `{"topologySpreadConstraints":{}}`, false},
		{"is_scheduling", `{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","matchLabelKeys":[]}]}`, false},
		{"is_scheduling", `{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","namespaceSelector":{}}]}}`, true},
		{"is_scheduling", `{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","namespaceSelector":{"matchFields":[]}}]}}`, false},
		{"is_disruption_budget", `{"maxUnavailable":0}`, true},
		{"is_disruption_budget", `{"maxUnavailable":"1"}`, false},
		{"is_disruption_budget", `{}`, false},
		{"is_score_weights", `{"policy":1000,"bundle":0}`, true},
		{"is_score_weights", `{"policy":1001}`, false},
		{"is_score_weights", `{"Policy":1}`, false},
	}
	for _, tt := range tests {
		if got := value[bool](t, w, "select stark."+tt.check+"($1::text::jsonb)", tt.doc); got != tt.want {
			t.Errorf("%s(%s) is %v, want %v", tt.check, tt.doc, got, tt.want)
		}
	}
}

func TestDryRunLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "dry", "1.0.0")
	p, err := w.DryRunPod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID})
	if err != nil || p.Status != api.PodPending || p.PackVersion != "1.0.0" || p.ResourceRequests.CPU == 0 {
		t.Errorf("got %+v, %v; want the pod with its defaults", p, err)
	}
	if n := value[int](t, w, "select count(*)::int from public.pods"); n != 0 {
		t.Errorf("got %d pods, want none", n)
	}
	if n := value[int](t, w, "select (resource_usage ->> 'pods')::int from public.namespaces where name = 'default'"); n != 0 {
		t.Errorf("got a usage of %d pods, want none", n)
	}
	_, err = w.DryRunPod(t.Context(), ann, api.CreatePodRequest{PackID: k.ID, Namespace: api.NamespaceSystem})
	wantCode(t, err, fault.Forbidden)
	_, err = w.DryRunPod(t.Context(), ann, api.CreatePodRequest{PackName: "nothing"})
	wantCode(t, err, fault.NotFound)
}
