package placement

import (
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// https://kubernetes.io/docs/concepts/policy/limit-range/
func TestLimitRange(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.given(t, `
kind: Namespace
metadata: {name: limited}
spec:
  limitRange:
    default: {cpu: 500m, memory: 256Mi}
    defaultRequest: {cpu: 250m, memory: 128Mi}
    max: {cpu: "1", memory: 1Gi}
    min: {cpu: 100m, memory: 64Mi}
---
kind: Node
metadata: {name: node1}
`)
	for _, tt := range []struct {
		name, resources  string
		requests, limits api.Resources
		field            string // that is refused
	}{
		{"defaults", `{}`, api.Resources{CPU: 250, Memory: 128}, api.Resources{CPU: 500, Memory: 256}, ""},
		{"a request of its own", `{requests: {cpu: 300m}}`, api.Resources{CPU: 300, Memory: 128}, api.Resources{CPU: 500, Memory: 256}, ""},
		{"a request and a limit of its own", `{requests: {cpu: 700m, memory: 512Mi}, limits: {cpu: 900m, memory: 1Gi}}`, api.Resources{CPU: 700, Memory: 512}, api.Resources{CPU: 900, Memory: 1024}, ""},
		{"a request above the default limit", `{requests: {cpu: 700m}}`, api.Resources{}, api.Resources{}, "resourceRequests.cpu"},
		{"below the least", `{requests: {cpu: 50m}}`, api.Resources{}, api.Resources{}, "resourceRequests.cpu"},
		{"above the most", `{limits: {memory: 2Gi}}`, api.Resources{}, api.Resources{}, "resourceLimits.memory"},
	} {
		t.Run(tt.name, func(t *testing.T) { //nolint:paralleltest // they share the nodes of one cluster, one after the other
			r := *one(t, `{kind: Pod, metadata: {namespace: limited}, spec: {pack: web, resources: `+tt.resources+`}}`).Pod
			p, err := g.admin.CreatePod(t.Context(), r)
			if tt.field != "" {
				invalid(t, err, tt.field)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			g.takes(t, p.ID, "node1")
			p.ResourceRequests.Storage, p.ResourceLimits.Storage = 0, 0
			if p.ResourceRequests != tt.requests || p.ResourceLimits != tt.limits {
				t.Errorf("requests %+v and limits %+v, want %+v and %+v", p.ResourceRequests, p.ResourceLimits, tt.requests, tt.limits)
			}
		})
	}
}

// https://kubernetes.io/docs/concepts/policy/resource-quotas/#resource-quota-per-priorityclass
func TestQuotaOfPriorityClasses(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.given(t, classes+`
kind: Namespace
metadata: {name: counted}
spec:
  resourceQuota:
    hard: {pods: 4, cpu: "2"}
    priorityClasses:
      urgent: {pods: 1}
      low: {cpu: 500m}
      default: {pods: 1}
---
kind: Node
metadata: {name: node1}
`)
	pod := func(class, cores string) api.CreatePodRequest {
		return *one(t, `{kind: Pod, metadata: {namespace: counted}, spec: {pack: web, priorityClassName: "`+class+`", resources: {requests: {cpu: `+cores+`, memory: 16Mi}, limits: {cpu: "4"}}}}`).Pod
	}
	admitted := func(class, cores string) string {
		t.Helper()
		p, err := g.admin.CreatePod(t.Context(), pod(class, cores))
		if err != nil {
			t.Fatalf("a pod of class %q: %v", class, err)
		}
		g.takes(t, p.ID, "node1")
		return p.ID
	}
	refused := func(class, cores string) {
		t.Helper()
		_, err := g.admin.CreatePod(t.Context(), pod(class, cores))
		if fault.CodeOf(err) != fault.QuotaExceeded {
			t.Errorf("a pod of class %q: got %v, want %s", class, err, fault.QuotaExceeded)
		}
		_, e, err := g.admin.DryRunPod(t.Context(), pod(class, cores))
		if err != nil || e.Verdict == nil || e.Verdict.Reason != api.ReasonWaitingForQuota || e.Verdict.Change == "" {
			t.Errorf("a dry run of class %q says %+v, %v; want %s and what would help", class, e.Verdict, err, api.ReasonWaitingForQuota)
		}
	}
	first := admitted("urgent", "100m")
	refused("urgent", "100m")
	admitted("low", "400m")
	refused("low", "200m")
	admitted("low", "100m")
	admitted("", "100m") // of the default class
	refused("", "100m")
	refused("middle", "100m") // a fifth pod, of a class without a bound
	if _, _, err := g.admin.StopPod(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	refused("middle", "100m") // as long as the other has not ended
	g.exec(t, "delete from public.pods where id = $1", first)
	admitted("middle", "100m")
	quota, err := g.admin.NamespaceQuota(t.Context(), "counted")
	if err != nil {
		t.Fatal(err)
	}
	if u, low := quota.ResourceUsage, quota.ClassUsage["low"]; u.Pods != 4 || u.CPU != 700 || low.Pods != 2 || low.CPU != 500 {
		t.Errorf("the namespace counts %+v, of class low %+v; want 4 pods with 700m, and 2 with 500m", u, low)
	}
}
