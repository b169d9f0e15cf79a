package api_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func pod(change func(*api.CreatePodRequest)) *api.CreatePodRequest {
	r := &api.CreatePodRequest{PackName: "hello"}
	change(r)
	return r
}

func TestPodRequests(t *testing.T) {
	t.Parallel()
	id := api.NewID()
	runValidate(t, []validateCase{
		{"good", pod(func(*api.CreatePodRequest) {}), nil},
		{"by id", &api.CreatePodRequest{PackID: id, PackVersion: "1.0.0"}, nil},
		{"no pack", &api.CreatePodRequest{}, map[string]string{"packId": "REQUIRED"}},
		{"both", pod(func(r *api.CreatePodRequest) { r.PackID = id }), map[string]string{"packName": "NOT_ALLOWED"}},
		{"bad id", &api.CreatePodRequest{PackID: "x"}, map[string]string{"packId": "INVALID_FORMAT"}},
		{"bad names", &api.CreatePodRequest{PackName: "1", PackVersion: "latest", Namespace: "Team", PriorityClassName: strings.Repeat("a", 64)}, map[string]string{
			"packName": "INVALID_FORMAT", "packVersion": "INVALID_FORMAT", "namespace": "INVALID_FORMAT", "priorityClassName": "TOO_LONG",
		}},
		{"trailing hyphen", pod(func(r *api.CreatePodRequest) { r.Namespace = "team-" }), map[string]string{"namespace": "INVALID_FORMAT"}},
		{"requests above limits", pod(func(r *api.CreatePodRequest) {
			r.ResourceRequests = &api.ResourceInput{CPU: new(api.Millicores(600)), Memory: new(api.Mebibytes(64))}
			r.ResourceLimits = &api.ResourceInput{CPU: new(api.Millicores(500)), Storage: new(api.Mebibytes(-1))}
		}), map[string]string{"resourceRequests.cpu": "EXCEEDS_LIMIT", "resourceLimits.storage": "INVALID_VALUE"}},
		{"unknown words", pod(func(r *api.CreatePodRequest) { r.RestartPolicy, r.Isolation = "Sometimes", "vm" }), map[string]string{"restartPolicy": "INVALID_VALUE", "isolation": "INVALID_VALUE"}},
		{"times", pod(func(r *api.CreatePodRequest) {
			r.TerminationGracePeriodSeconds, r.ActiveDeadlineSeconds = new(3601), new(0)
		}), map[string]string{"terminationGracePeriodSeconds": "OUT_OF_RANGE", "activeDeadlineSeconds": "OUT_OF_RANGE"}},
		{"no grace", pod(func(r *api.CreatePodRequest) {
			r.TerminationGracePeriodSeconds, r.ActiveDeadlineSeconds = new(0), new(1)
			r.RestartPolicy, r.Isolation = api.RestartNever, api.IsolationShared
		}), nil},
		{"env", pod(func(r *api.CreatePodRequest) {
			r.Env = map[string]string{"GOOD_1": "any\nvalue", "": "x", "1A": "x", "A-B": "x", "STARK_URL": "x", "ZERO": "a\x00", strings.Repeat("A", 257): "x"}
		}), map[string]string{
			"env.": "INVALID_KEY_FORMAT", "env.1A": "INVALID_KEY_FORMAT", "env.A-B": "INVALID_KEY_FORMAT", "env.STARK_URL": "RESERVED", "env.ZERO": "INVALID_VALUE",
			"env." + strings.Repeat("A", 257): "KEY_TOO_LONG",
		}},
		{"large env", pod(func(r *api.CreatePodRequest) { r.Env = map[string]string{"A": strings.Repeat("x", 128<<10)} }), map[string]string{"env": "TOO_LARGE"}},
		{"many env", pod(func(r *api.CreatePodRequest) { r.Env = many(101) }), map[string]string{"env": "TOO_MANY_ENTRIES"}},
		{"usage", &api.UsageQuery{Namespace: "a", PodID: id, NodeID: id, LabelSelector: "!a"}, nil},
		{"all usage", &api.UsageQuery{}, nil},
		{"wrong usage", &api.UsageQuery{Namespace: "A", PodID: "a", NodeID: "b", LabelSelector: "=="}, map[string]string{
			"namespace": "INVALID_FORMAT", "podId": "INVALID_FORMAT", "nodeId": "INVALID_FORMAT", "labelSelector": "INVALID_FORMAT",
		}},
		{"query", &api.PodQuery{Namespace: "a", PackID: id, NodeID: id, PackName: "a", Status: api.PodRunning, LabelSelector: "!a"}, nil},
		{"wrong query", &api.PodQuery{Namespace: "A", PackID: "a", NodeID: "a", PackName: "1", Status: "dead", LabelSelector: "=="}, map[string]string{
			"namespace": "INVALID_FORMAT", "packId": "INVALID_FORMAT", "nodeId": "INVALID_FORMAT", "packName": "INVALID_FORMAT", "status": "INVALID_VALUE", "labelSelector": "INVALID_FORMAT",
		}},
	})
}

// Who asks for 50,000 cores is told what a number of the fault counts.
func TestBoundsOfResourcesNameTheirUnits(t *testing.T) {
	t.Parallel()
	r := pod(func(r *api.CreatePodRequest) {
		r.ResourceRequests = &api.ResourceInput{CPU: new(api.Millicores(50_000_000)), Memory: new(api.Mebibytes(1 << 30))}
	})
	f, _ := errors.AsType[*fault.Error](r.Validate())
	for path, want := range map[string]string{"cpu": "1000000 millicores", "memory": "16777216 MiB"} {
		if got, _ := f.Details["resourceRequests."+path].(fault.Field); !strings.Contains(got.Message, want) {
			t.Errorf("%s: %q, want %q in it", path, got.Message, want)
		}
	}
}

func TestTolerationRules(t *testing.T) {
	t.Parallel()
	tolerating := func(list ...api.Toleration) *api.CreatePodRequest {
		return pod(func(r *api.CreatePodRequest) { r.Tolerations = list })
	}
	runValidate(t, []validateCase{
		{"good", tolerating(
			api.Toleration{Operator: api.TolerationExists}, api.Toleration{Key: "a", Value: "b"},
			api.Toleration{Key: "a", Operator: api.TolerationExists, Effect: api.NoExecute, TolerationSeconds: new(int64(0))},
		), nil},
		{"no key", tolerating(api.Toleration{Value: "x"}), map[string]string{"tolerations[0].operator": "INVALID_VALUE"}},
		{"exists with value", tolerating(api.Toleration{Key: "a", Operator: api.TolerationExists, Value: "x"}), map[string]string{"tolerations[0].value": "NOT_ALLOWED"}},
		{"words", tolerating(api.Toleration{Key: "/", Operator: "Like", Effect: "x", Value: "!"}), map[string]string{
			"tolerations[0].key": "INVALID_FORMAT", "tolerations[0].operator": "INVALID_VALUE", "tolerations[0].effect": "INVALID_VALUE", "tolerations[0].value": "INVALID_VALUE",
		}},
		{"seconds without NoExecute", tolerating(api.Toleration{Key: "a", TolerationSeconds: new(int64(1))}), map[string]string{"tolerations[0].tolerationSeconds": "NOT_ALLOWED"}},
		{"negative seconds", tolerating(api.Toleration{Key: "a", Effect: api.NoExecute, TolerationSeconds: new(int64(-1))}), map[string]string{"tolerations[0].tolerationSeconds": "INVALID_VALUE"}},
		{"many", tolerating(slicesOf(api.Toleration{Key: "a"}, 51)...), map[string]string{"tolerations": "TOO_MANY_ENTRIES"}},
	})
}

func slicesOf[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestSchedulingRules(t *testing.T) {
	t.Parallel()
	scheduling := func(s api.Scheduling) *api.CreatePodRequest {
		return pod(func(r *api.CreatePodRequest) { r.Scheduling = &s })
	}
	nodes := func(rs ...api.Requirement) api.Scheduling {
		return api.Scheduling{NodeAffinity: &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{{MatchExpressions: rs}}}}}
	}
	const (
		required  = "requiredDuringSchedulingIgnoredDuringExecution"
		preferred = "preferredDuringSchedulingIgnoredDuringExecution"
		terms     = "scheduling.nodeAffinity." + required + ".nodeSelectorTerms"
		first     = terms + "[0].matchExpressions"
	)
	runValidate(t, []validateCase{
		{"empty", scheduling(api.Scheduling{}), nil},
		{"good", scheduling(nodes(
			api.Requirement{Key: "a", Operator: api.OpIn, Values: []string{"x", ""}}, api.Requirement{Key: "a", Operator: api.OpExists},
			api.Requirement{Key: "n", Operator: api.OpGt, Values: []string{"-5"}},
		)), nil},
		{"names", scheduling(api.Scheduling{NodeName: "1", NodeSelector: map[string]string{"a": "!"}}), map[string]string{"scheduling.nodeName": "INVALID_FORMAT", "scheduling.nodeSelector.a": "INVALID_VALUE"}},
		{"no terms", scheduling(api.Scheduling{NodeAffinity: &api.NodeAffinity{Required: &api.NodeSelector{}}}), map[string]string{terms: "REQUIRED"}},
		{"empty terms", scheduling(api.Scheduling{NodeAffinity: &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{}}}}), map[string]string{terms: "EMPTY"}},
		{"empty term, which matches no node", scheduling(nodes()), nil},
		{"fields", scheduling(api.Scheduling{NodeAffinity: &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{{MatchFields: []api.Requirement{
			{Key: "metadata.name", Operator: api.OpNotIn, Values: []string{"n"}},
			{Key: "metadata.name", Operator: api.OpExists},
			{Key: "metadata.name", Operator: api.OpIn, Values: []string{"n", "m"}},
		}}}}}}), map[string]string{terms + "[0].matchFields[1].operator": "INVALID_VALUE", terms + "[0].matchFields[2].values": "INVALID_VALUE"}},
		{"requirements", scheduling(nodes(
			api.Requirement{}, api.Requirement{Key: "-", Operator: "Near"}, api.Requirement{Key: "a", Operator: api.OpIn},
			api.Requirement{Key: "a", Operator: api.OpExists, Values: []string{"x"}}, api.Requirement{Key: "a", Operator: api.OpLt, Values: []string{"1", "2"}},
			api.Requirement{Key: "a", Operator: api.OpGt, Values: []string{"1.5"}}, api.Requirement{Key: "a", Operator: api.OpNotIn, Values: []string{"!"}},
		)), map[string]string{
			first + "[0].key": "REQUIRED", first + "[0].operator": "REQUIRED", first + "[1].key": "INVALID_FORMAT", first + "[1].operator": "INVALID_VALUE",
			first + "[2].values": "REQUIRED", first + "[3].values": "NOT_ALLOWED", first + "[4].values": "INVALID_VALUE", first + "[5].values[0]": "INVALID_VALUE", first + "[6].values[0]": "INVALID_VALUE",
		}},
		{"preferences", scheduling(api.Scheduling{NodeAffinity: &api.NodeAffinity{Preferred: []api.PreferredNode{
			{Weight: 101, Preference: api.NodeSelectorTerm{MatchFields: []api.Requirement{{Key: "spec.x", Operator: api.OpExists}}}},
			{Weight: 1, Preference: api.NodeSelectorTerm{MatchFields: []api.Requirement{{Key: "metadata.name", Operator: api.OpIn, Values: []string{"n"}}}}},
		}}}), map[string]string{
			"scheduling.nodeAffinity." + preferred + "[0].weight":                             "OUT_OF_RANGE",
			"scheduling.nodeAffinity." + preferred + "[0].preference.matchFields[0].key":      "INVALID_VALUE",
			"scheduling.nodeAffinity." + preferred + "[0].preference.matchFields[0].operator": "INVALID_VALUE",
		}},
		{"pods", scheduling(api.Scheduling{
			PodAffinity: &api.PodAffinity{Required: []api.PodAffinityTerm{{Namespaces: []string{"A"}, LabelSelector: &api.LabelSelector{
				MatchLabels: map[string]string{"a": "!"}, MatchExpressions: []api.Requirement{{Key: "a", Operator: api.OpGt, Values: []string{"1"}}},
			}}}},
			PodAntiAffinity: &api.PodAffinity{Preferred: []api.WeightedPodAffinityTerm{{PodAffinityTerm: api.PodAffinityTerm{TopologyKey: "-"}}}},
		}), map[string]string{
			"scheduling.podAffinity." + required + "[0].topologyKey":                                "REQUIRED",
			"scheduling.podAffinity." + required + "[0].namespaces[0]":                              "INVALID_FORMAT",
			"scheduling.podAffinity." + required + "[0].labelSelector.matchLabels.a":                "INVALID_VALUE",
			"scheduling.podAffinity." + required + "[0].labelSelector.matchExpressions[0].operator": "INVALID_VALUE",
			"scheduling.podAntiAffinity." + preferred + "[0].weight":                                "OUT_OF_RANGE",
			"scheduling.podAntiAffinity." + preferred + "[0].podAffinityTerm.topologyKey":           "INVALID_KEY_FORMAT",
		}},
		{"good spread", scheduling(api.Scheduling{TopologySpreadConstraints: []api.TopologySpreadConstraint{
			{MaxSkew: 1, TopologyKey: "zone", LabelSelector: &api.LabelSelector{}, MinDomains: new(3)},
			{MaxSkew: 2, TopologyKey: "zone", WhenUnsatisfiable: api.ScheduleAnyway},
		}}), nil},
		{"spread", scheduling(api.Scheduling{
			TopologySpreadConstraints: []api.TopologySpreadConstraint{
				{TopologyKey: "-", WhenUnsatisfiable: "Perhaps"},
				{MaxSkew: 1, WhenUnsatisfiable: api.ScheduleAnyway, MinDomains: new(1), LabelSelector: &api.LabelSelector{MatchLabels: map[string]string{"a": "!"}}},
			},
			PodAffinity: &api.PodAffinity{Required: []api.PodAffinityTerm{{TopologyKey: "zone", NamespaceSelector: &api.LabelSelector{
				MatchExpressions: []api.Requirement{{Key: "a", Operator: api.OpGt, Values: []string{"1"}}},
			}}}},
		}), map[string]string{
			"scheduling.topologySpreadConstraints[0].maxSkew":                                           "OUT_OF_RANGE",
			"scheduling.topologySpreadConstraints[0].topologyKey":                                       "INVALID_KEY_FORMAT",
			"scheduling.topologySpreadConstraints[0].whenUnsatisfiable":                                 "INVALID_VALUE",
			"scheduling.topologySpreadConstraints[1].topologyKey":                                       "REQUIRED",
			"scheduling.topologySpreadConstraints[1].labelSelector.matchLabels.a":                       "INVALID_VALUE",
			"scheduling.topologySpreadConstraints[1].minDomains":                                        "NOT_ALLOWED",
			"scheduling.podAffinity." + required + "[0].namespaceSelector.matchExpressions[0].operator": "INVALID_VALUE",
		}},
	})
}

func TestStatusIsTerminal(t *testing.T) {
	t.Parallel()
	terminal := 0
	for _, s := range api.PodStatuses {
		if s.Terminal() {
			terminal++
		}
	}
	if terminal != 4 || api.PodUnknown.Terminal() {
		t.Errorf("%d statuses are terminal, want 4 without unknown", terminal)
	}
}
