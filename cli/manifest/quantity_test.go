package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Whoever knows Kubernetes writes numbers without quotes.
func TestPlainNumbersAreQuantitiesOfKubernetes(t *testing.T) {
	t.Parallel()
	for cpu, want := range map[string]api.Millicores{"2": 2000, `"2"`: 2000, "0.5": 500, "2000m": 2000, "1.0": 1000} {
		file := fmt.Sprintf("kind: Pod\nmetadata: {name: a}\nspec:\n  pack: a\n  resources: {requests: {cpu: %s, memory: 1073741824}, limits: {cpu: 8}}\n", cpu)
		all, err := manifest.Parse("f.yaml", []byte(file))
		if err != nil {
			t.Errorf("cpu: %s: %v", cpu, err)
			continue
		}
		got := all[0].Pod.ResourceRequests
		if *got.CPU != want || *got.Memory != 1024 || *all[0].Pod.ResourceLimits.CPU != 8000 {
			t.Errorf("cpu: %s gives %d, memory %d, limit %d", cpu, *got.CPU, *got.Memory, *all[0].Pod.ResourceLimits.CPU)
		}
	}
	all, err := manifest.Parse("f.yaml", []byte("kind: Namespace\nmetadata: {name: a}\nspec:\n  resourceQuota: {hard: {pods: 10, cpu: 4}}\n  limitRange: {max: {cpu: 1}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if q := fmt.Sprintf("%s", all[0].Document); !strings.Contains(q, "cpu:4") {
		t.Errorf("the document is %s", q)
	}
	for _, memory := range []string{"128", "0.5"} { // bytes, as Kubernetes has it: surely not what was meant
		_, err := manifest.Parse("f.yaml", []byte("kind: Pod\nspec:\n  pack: a\n  resources:\n    requests: {memory: "+memory+"}\n"))
		if err == nil || !strings.Contains(err.Error(), "f.yaml:5:") || !strings.Contains(err.Error(), "less than 1Mi") {
			t.Errorf("memory: %s: %v", memory, err)
		}
	}
}
