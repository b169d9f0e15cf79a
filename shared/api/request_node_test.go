package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestNodeRequests(t *testing.T) {
	t.Parallel()
	node := func(change func(*api.RegisterNodeRequest)) *api.RegisterNodeRequest {
		r := &api.RegisterNodeRequest{Name: "node-1", RuntimeType: api.RuntimeNode}
		change(r)
		return r
	}
	named := func(name string) *api.RegisterNodeRequest {
		return node(func(r *api.RegisterNodeRequest) { r.Name = name })
	}
	labelled := func(k, v string) *api.RegisterNodeRequest {
		return node(func(r *api.RegisterNodeRequest) { r.Labels = map[string]string{k: v} })
	}
	long := strings.Repeat("x", 129)
	runValidate(t, []validateCase{
		{"good", node(func(r *api.RegisterNodeRequest) {
			r.Labels = map[string]string{"stark.dev/zone": "eu-1", "empty": ""}
			r.Annotations = map[string]string{"note": "any text, even ünïcode"}
			r.Taints = []api.Taint{{Key: "gpu", Value: "yes", Effect: api.NoSchedule}, {Key: "gpu", Effect: api.NoExecute}}
			r.Allocatable = &api.Capacity{CPU: 4000, Memory: 8192, Storage: 1 << 20, Pods: 110}
			r.Namespaces = []string{"team-a"}
		}), nil},
		{"empty", &api.RegisterNodeRequest{}, map[string]string{"name": "REQUIRED", "runtimeType": "REQUIRED"}},
		{"one letter", named("a"), nil},
		{"hyphen last", named("a-"), map[string]string{"name": "INVALID_FORMAT"}},
		{"digit first", named("1a"), map[string]string{"name": "INVALID_FORMAT"}},
		{"253", named(strings.Repeat("a", 253)), nil},
		{"254", named(strings.Repeat("a", 254)), map[string]string{"name": "TOO_LONG"}},
		{"runtime", node(func(r *api.RegisterNodeRequest) { r.RuntimeType = "deno" }), map[string]string{"runtimeType": "INVALID_VALUE"}},
		{"label key", labelled("-a", "v"), map[string]string{"labels.-a": "INVALID_KEY_FORMAT"}},
		{"label key with two slashes", labelled("a/b/c", "v"), map[string]string{"labels.a/b/c": "INVALID_KEY_FORMAT"}},
		{"long label key", labelled(strings.Repeat("a", 254), "v"), map[string]string{"labels." + strings.Repeat("a", 254): "KEY_TOO_LONG"}},
		{"label value", labelled("a", "b c"), map[string]string{"labels.a": "INVALID_VALUE"}},
		{"long label value", labelled("a", strings.Repeat("v", 64)), map[string]string{"labels.a": "VALUE_TOO_LONG"}},
		{"many labels", node(func(r *api.RegisterNodeRequest) { r.Labels = many(101) }), map[string]string{"labels": "TOO_MANY_ENTRIES"}},
		{"much annotation", node(func(r *api.RegisterNodeRequest) { r.Annotations = map[string]string{"a": strings.Repeat("x", 300<<10)} }), map[string]string{"annotations": "TOO_LARGE"}},
		{"taints", node(func(r *api.RegisterNodeRequest) {
			r.Taints = []api.Taint{{}, {Key: "/", Effect: "Never"}, {Key: "a", Effect: api.NoSchedule}, {Key: "a", Effect: api.NoSchedule, Value: "!"}}
		}), map[string]string{
			"taints[0].key": "REQUIRED", "taints[0].effect": "REQUIRED", "taints[1].key": "INVALID_FORMAT", "taints[1].effect": "INVALID_VALUE",
			"taints[3]": "DUPLICATE", "taints[3].value": "INVALID_VALUE",
		}},
		{"room", node(func(r *api.RegisterNodeRequest) {
			r.Allocatable = &api.Capacity{CPU: -1, Memory: 1 << 40, Storage: -1, Pods: -1}
		}), map[string]string{"allocatable.cpu": "INVALID_VALUE", "allocatable.memory": "INVALID_VALUE", "allocatable.storage": "INVALID_VALUE", "allocatable.pods": "INVALID_VALUE"}},
		{"capabilities", node(func(r *api.RegisterNodeRequest) {
			r.Capabilities = api.Capabilities{Version: long, Arch: long, OS: long, Agent: long, Features: []string{"ok", long}}
		}), map[string]string{
			"capabilities.version": "TOO_LONG", "capabilities.arch": "TOO_LONG", "capabilities.os": "TOO_LONG", "capabilities.agent": "TOO_LONG", "capabilities.features[1]": "TOO_LONG",
		}},
		{"namespaces", node(func(r *api.RegisterNodeRequest) { r.Namespaces = []string{"Team"} }), map[string]string{"namespaces[0]": "INVALID_FORMAT"}},
		{"update", &api.UpdateNodeRequest{Taints: &[]api.Taint{}, Namespaces: &[]string{}, Unschedulable: new(true)}, nil},
		{
			"wrong update", &api.UpdateNodeRequest{Taints: &[]api.Taint{{Key: "a"}}, Namespaces: &[]string{""}, Allocatable: &api.Capacity{Pods: 1 << 30}},
			map[string]string{"taints[0].effect": "REQUIRED", "namespaces[0]": "REQUIRED", "allocatable.pods": "INVALID_VALUE"},
		},
		{"token", &api.CreateJoinTokenRequest{TTLSeconds: 59, Uses: 1001}, map[string]string{"ttlSeconds": "OUT_OF_RANGE", "uses": "OUT_OF_RANGE"}},
		{"query", &api.NodeQuery{RuntimeType: api.RuntimeBrowser, Status: api.NodeOnline, LabelSelector: "a in (b)"}, nil},
		{
			"wrong query", &api.NodeQuery{RuntimeType: "x", Status: "x", LabelSelector: "a in"},
			map[string]string{"runtimeType": "INVALID_VALUE", "status": "INVALID_VALUE", "labelSelector": "INVALID_FORMAT"},
		},
	})
}

func TestJoinTokenDefaults(t *testing.T) {
	t.Parallel()
	r := api.CreateJoinTokenRequest{}
	wantFields(t, r.Validate(), nil)
	if r.TTLSeconds != 3600 || r.Uses != 1 {
		t.Errorf("got %d s, %d uses, want 3600 and 1", r.TTLSeconds, r.Uses)
	}
}
