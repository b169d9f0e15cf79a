package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestNamespaceRequests(t *testing.T) {
	t.Parallel()
	cpu := func(n api.Millicores) *api.ResourceInput { return &api.ResourceInput{CPU: &n} }
	runValidate(t, []validateCase{
		{"good", &api.CreateNamespaceRequest{
			Name: "team-a", ResourceQuota: &api.ResourceQuota{Hard: api.Quota{Pods: new(10), CPU: new(api.Millicores(4000))}},
			LimitRange: &api.LimitRange{Default: cpu(500), DefaultRequest: cpu(100), Min: cpu(50), Max: cpu(1000)},
		}, nil},
		{"empty", &api.CreateNamespaceRequest{}, map[string]string{"name": "REQUIRED"}},
		{"reserved", &api.CreateNamespaceRequest{Name: "stark-system"}, map[string]string{"name": "RESERVED"}},
		{"name of 64", &api.CreateNamespaceRequest{Name: strings.Repeat("a", 64)}, map[string]string{"name": "TOO_LONG"}},
		{"quota", &api.UpdateNamespaceRequest{ResourceQuota: &api.QuotaInput{Hard: &api.Quota{Pods: new(-1), Memory: new(api.Mebibytes(-1))}}}, map[string]string{
			"resourceQuota.hard.pods": "INVALID_VALUE", "resourceQuota.hard.memory": "INVALID_VALUE",
		}},
		{"min above max", &api.UpdateNamespaceRequest{LimitRange: &api.LimitRange{Min: cpu(2), Max: cpu(1)}}, map[string]string{"limitRange.min.cpu": "INVALID_RANGE"}},
		{"request above default", &api.UpdateNamespaceRequest{LimitRange: &api.LimitRange{DefaultRequest: cpu(2), Default: cpu(1)}}, map[string]string{"limitRange.defaultRequest.cpu": "INVALID_RANGE"}},
		{"default above max", &api.UpdateNamespaceRequest{LimitRange: &api.LimitRange{Default: cpu(2), Max: cpu(1)}}, map[string]string{"limitRange.default.cpu": "INVALID_RANGE"}},
		{"quota of classes", &api.UpdateNamespaceRequest{ResourceQuota: &api.QuotaInput{PriorityClasses: map[string]api.Quota{
			"high": {Pods: new(3)}, "High": {Pods: new(-1)},
		}}}, map[string]string{
			"resourceQuota.priorityClasses.High": "INVALID_FORMAT", "resourceQuota.priorityClasses.High.pods": "INVALID_VALUE",
		}},
		{"budget", &api.UpdateNamespaceRequest{DisruptionBudget: &api.BudgetInput{MaxUnavailable: new(-1)}}, map[string]string{"disruptionBudget.maxUnavailable": "OUT_OF_RANGE"}},
		{"take away", &api.UpdateNamespaceRequest{ResourceQuota: &api.QuotaInput{}, LimitRange: &api.LimitRange{}, DisruptionBudget: &api.BudgetInput{}}, nil},
		{"member", &api.SetMemberRequest{}, nil},
		{"wrong member", &api.SetMemberRequest{Role: "boss"}, map[string]string{"role": "INVALID_VALUE"}},
		{"phase", &api.NamespaceQuery{Phase: "gone"}, map[string]string{"phase": "INVALID_VALUE"}},
		{"class of the system", &api.PriorityClass{Name: "system-x", Value: 1_000_000_001}, map[string]string{"name": "RESERVED", "value": "OUT_OF_RANGE"}},
		{"change of a class", &api.UpdatePriorityClassRequest{Value: new(int32(1_000_000_001)), PreemptionPolicy: new(api.PreemptionPolicy("x"))}, map[string]string{
			"value": "OUT_OF_RANGE", "preemptionPolicy": "INVALID_VALUE",
		}},
		{"class", &api.PriorityClass{Name: "high", Value: 1000}, nil},
		{"wrong class", &api.PriorityClass{Name: "High", Value: 2_000_001_001, PreemptionPolicy: "Maybe", Description: strings.Repeat("x", 1001)}, map[string]string{
			"name": "INVALID_FORMAT", "value": "OUT_OF_RANGE", "preemptionPolicy": "INVALID_VALUE", "description": "TOO_LONG",
		}},
	})
	for _, name := range []string{api.NamespaceDefault, api.NamespaceSystem, api.NamespacePublic} {
		if !api.ReservedNamespace(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
}

func TestClusterConfig(t *testing.T) {
	t.Parallel()
	config := func(change func(*api.ClusterConfig)) *api.ClusterConfig {
		c := &api.ClusterConfig{
			DefaultNamespace: "default", SchedulingPolicy: api.PolicySpread, MaxPodsPerNode: 110, MaxTotalPods: 10000, MaxTotalNodes: 1000,
			HeartbeatIntervalMS: 10000, HeartbeatTimeoutMS: 30000, EvictionTimeoutMS: 60000, PodHistoryRetentionMS: 3600000,
			DefaultResourceRequests: api.Resources{CPU: 100, Memory: 128}, DefaultResourceLimits: api.Resources{CPU: 500, Memory: 512},
		}
		change(c)
		return c
	}
	runValidate(t, []validateCase{
		{"good", config(func(*api.ClusterConfig) {}), nil},
		{"empty", &api.ClusterConfig{}, map[string]string{
			"defaultNamespace": "REQUIRED", "schedulingPolicy": "INVALID_VALUE", "maxPodsPerNode": "INVALID_VALUE", "maxTotalPods": "INVALID_VALUE",
			"maxTotalNodes": "INVALID_VALUE", "heartbeatIntervalMs": "INVALID_VALUE", "heartbeatTimeoutMs": "INVALID_VALUE", "evictionTimeoutMs": "INVALID_VALUE",
			"podHistoryRetentionMs": "INVALID_VALUE",
		}},
		{"timeout within interval", config(func(c *api.ClusterConfig) { c.HeartbeatTimeoutMS = 10000 }), map[string]string{"heartbeatTimeoutMs": "INVALID_RANGE"}},
		{"negative times", config(func(c *api.ClusterConfig) { c.PodTerminationGracePeriodMS, c.TerminalPodRetentionMS = -1, -1 }), map[string]string{
			"podTerminationGracePeriodMs": "INVALID_VALUE", "terminalPodRetentionMs": "INVALID_VALUE",
		}},
		{"request above limit", config(func(c *api.ClusterConfig) { c.DefaultResourceRequests.Memory = 513 }), map[string]string{"defaultResourceRequests.memory": "INVALID_RANGE"}},
	})
}
