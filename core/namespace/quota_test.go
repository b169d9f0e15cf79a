package namespace_test

import (
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/core/namespace"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestCheckQuota(t *testing.T) {
	t.Parallel()
	ask := api.Resources{CPU: 100, Memory: 128}
	ns := api.Namespace{
		Name: "team", Phase: api.NamespaceActive,
		ResourceQuota: &api.ResourceQuota{Hard: api.Quota{Pods: new(2), CPU: new(api.Millicores(150))}},
		ResourceUsage: api.Capacity{CPU: 100, Memory: 9999, Pods: 1},
	}
	err := namespace.CheckQuota(ns, ask)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.QuotaExceeded {
		t.Fatalf("got %v, want QUOTA_EXCEEDED", err)
	}
	if want := "namespace team has no quota left for cpu (requested: 100, remaining: 50)"; f.Message != want {
		t.Errorf("got %q, want %q", f.Message, want)
	}
	ask.CPU = 50
	if err := namespace.CheckQuota(ns, ask); err != nil {
		t.Errorf("got %v, want that it fits exactly", err)
	}
	ns.ResourceQuota = nil
	if err := namespace.CheckQuota(ns, ask); err != nil {
		t.Errorf("got %v without a quota", err)
	}
	ns.Phase = api.NamespaceTerminating
	if err := namespace.CheckQuota(ns, ask); fault.CodeOf(err) != fault.NamespaceTerminating {
		t.Errorf("got %v, want NAMESPACE_TERMINATING", err)
	}
}

func TestApplyLimitRange(t *testing.T) {
	t.Parallel()
	cluster := api.ClusterConfig{
		DefaultResourceRequests: api.Resources{CPU: 100, Memory: 128}, DefaultResourceLimits: api.Resources{CPU: 500, Memory: 512},
	}
	in := func(cpu api.Millicores) *api.ResourceInput { return &api.ResourceInput{CPU: &cpu} }
	tests := []struct {
		name       string
		lr         *api.LimitRange
		req, lim   *api.ResourceInput
		wantR      api.Millicores
		wantL      api.Millicores
		wrongField string
	}{
		{name: "cluster's defaults", wantR: 100, wantL: 500},
		{name: "namespace's defaults", lr: &api.LimitRange{Default: in(400), DefaultRequest: in(200)}, wantR: 200, wantL: 400},
		{name: "given", req: in(300), lim: in(600), wantR: 300, wantL: 600},
		{name: "limit alone", lim: in(50), wantR: 50, wantL: 50},
		{name: "request above a default limit", req: in(900), wantR: 900, wantL: 900},
		{name: "request above the namespace's default limit", lr: &api.LimitRange{Default: in(400)}, req: in(900), wantR: 900, wantL: 400, wrongField: "resourceRequests.cpu"},
		{name: "default request above a given limit", lr: &api.LimitRange{DefaultRequest: in(200)}, lim: in(100), wantR: 100, wantL: 100},
		{name: "too small", lr: &api.LimitRange{Min: in(200)}, req: in(100), wantR: 100, wantL: 500, wrongField: "resourceRequests.cpu"},
		{name: "too large", lr: &api.LimitRange{Max: in(200)}, lim: in(300), wantR: 300, wantL: 300, wrongField: "resourceLimits.cpu"},
		{name: "request above limit", req: in(300), lim: in(200), wantR: 300, wantL: 200, wrongField: "resourceRequests.cpu"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, l, err := namespace.ApplyLimitRange(tt.lr, cluster, tt.req, tt.lim)
			if r.CPU != tt.wantR || l.CPU != tt.wantL || r.Memory != 128 || l.Memory != 512 {
				t.Errorf("got %+v and %+v, want cpu %d and %d", r, l, tt.wantR, tt.wantL)
			}
			if (err != nil) != (tt.wrongField != "") {
				t.Fatalf("got %v", err)
			}
			if f, ok := errors.AsType[*fault.Error](err); ok {
				if _, named := f.Details[tt.wrongField]; !named || f.Code != fault.Validation {
					t.Errorf("got %+v, want %s named", f, tt.wrongField)
				}
			}
		})
	}
}
