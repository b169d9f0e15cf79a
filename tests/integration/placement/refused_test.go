package placement

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// What Kubernetes refuses to store is refused here too, with the field by name, before
// any node is asked.
func TestWhatKubernetesRefuses(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	term := func(term string) string {
		return `{"scheduling": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [` + term + `]}}}}`
	}
	expression := func(e string) string { return term(`{"matchExpressions": [` + e + `]}`) }
	const (
		terms   = "scheduling.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
		first   = terms + "[0].matchExpressions[0]"
		spreads = "scheduling.topologySpreadConstraints[0]"
	)
	spread := func(c string) string { return `{"scheduling": {"topologySpreadConstraints": [` + c + `]}}` }
	toleration := func(c string) string { return `{"tolerations": [` + c + `]}` }
	near := func(c string) string {
		return `{"scheduling": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [` + c + `]}}}`
	}
	const nearest = "scheduling.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
	for _, tt := range []struct{ name, body, field string }{
		{"no terms", term(``), terms},
		{"terms that are not there", `{"scheduling": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}`, terms},
		{"Gt of a word", expression(`{"key": "gpus", "operator": "Gt", "values": ["many"]}`), first + ".values[0]"},
		{"Gt of a fraction", expression(`{"key": "gpus", "operator": "Gt", "values": ["1.5"]}`), first + ".values[0]"},
		{"Gt of two values", expression(`{"key": "gpus", "operator": "Gt", "values": ["1", "2"]}`), first + ".values"},
		{"Lt of no value", expression(`{"key": "gpus", "operator": "Lt"}`), first + ".values"},
		{"In without values", expression(`{"key": "gpus", "operator": "In"}`), first + ".values"},
		{"NotIn without values", expression(`{"key": "gpus", "operator": "NotIn", "values": []}`), first + ".values"},
		{"Exists with a value", expression(`{"key": "gpus", "operator": "Exists", "values": ["1"]}`), first + ".values"},
		{"DoesNotExist with a value", expression(`{"key": "gpus", "operator": "DoesNotExist", "values": ["1"]}`), first + ".values"},
		{"an operator that is none", expression(`{"key": "gpus", "operator": "Near", "values": ["1"]}`), first + ".operator"},
		{"no key", expression(`{"operator": "Exists"}`), first + ".key"},
		{"a field that nodes do not have", term(`{"matchFields": [{"key": "metadata.namespace", "operator": "In", "values": ["a"]}]}`), terms + "[0].matchFields[0].key"},
		{"two names of one field", term(`{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]}`), terms + "[0].matchFields[0].values"},
		{"a field by Exists", term(`{"matchFields": [{"key": "metadata.name", "operator": "Exists"}]}`), terms + "[0].matchFields[0].operator"},
		{"Gt of pods", near(`{"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}`), nearest + ".labelSelector.matchExpressions[0].operator"},
		{"no topology key", near(`{"labelSelector": {"matchLabels": {"a": "b"}}}`), nearest + ".topologyKey"},
		{"Exists with a value, of a taint", toleration(`{"key": "a", "operator": "Exists", "value": "b"}`), "tolerations[0].value"},
		{"Equal without a key", toleration(`{"operator": "Equal", "value": "b"}`), "tolerations[0].operator"},
		{"neither key nor operator", toleration(`{"effect": "NoSchedule"}`), "tolerations[0].operator"},
		{"an effect that is none", toleration(`{"key": "a", "operator": "Exists", "effect": "NoAdmit"}`), "tolerations[0].effect"},
		{"seconds of another effect", toleration(`{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}`), "tolerations[0].tolerationSeconds"},
		{"no skew", spread(`{"maxSkew": 0, "topologyKey": "zone"}`), spreads + ".maxSkew"},
		{"no key to spread by", spread(`{"maxSkew": 1}`), spreads + ".topologyKey"},
		{"minDomains of a wish", spread(`{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}`), spreads + ".minDomains"},
		{"no domains", spread(`{"maxSkew": 1, "topologyKey": "zone", "minDomains": 0}`), spreads + ".minDomains"},
		{"a weight of nothing", `{"scheduling": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}`, "scheduling.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight"},
		{"a class that is not there", `{"priorityClassName": "nobody"}`, "priorityClassName"},
	} {
		t.Run(tt.name, func(t *testing.T) { //nolint:paralleltest // they share one server
			var r api.CreatePodRequest
			if err := json.Unmarshal([]byte(tt.body), &r); err != nil {
				t.Fatal(err)
			}
			r.PackName = "web"
			_, err := g.admin.CreatePod(t.Context(), r)
			invalid(t, err, tt.field)
		})
	}
	pods, err := g.admin.ListPods(t.Context(), api.PodQuery{})
	if err != nil || pods.Total != 0 {
		t.Errorf("there are %d pods, %v; want none", pods.Total, err)
	}
}

// invalid checks that a request was refused for one field, which the answer names.
func invalid(t *testing.T, err error, field string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Validation {
		t.Fatalf("got %v, want %s of %s", err, fault.Validation, field)
	}
	if _, there := f.Details[field]; !there || len(f.Details) != 1 {
		t.Errorf("got faults of %v, want of %s alone", slices.Sorted(maps.Keys(f.Details)), field)
	}
}
