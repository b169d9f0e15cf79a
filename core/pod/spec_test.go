package pod_test

import (
	"maps"
	"testing"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestSpecTakesThePacksDefaultsWhereThePodSaysNothing(t *testing.T) {
	t.Parallel()
	k := api.Pack{BundleSHA256: "abc ", Metadata: map[string]any{
		"timeout": 5.0, "kept": true,
		"env": map[string]any{"A": "pack", "B": "pack", "N": 1.0},
	}}
	p := api.Pod{Env: map[string]string{"B": "pod"}, Metadata: map[string]any{"timeout": 7.0}}
	s := pod.Spec(p, k)
	if want := map[string]string{"A": "pack", "B": "pod"}; !maps.Equal(s.Env, want) {
		t.Errorf("env %v, want %v", s.Env, want)
	}
	if s.Metadata["timeout"] != 7.0 || s.Metadata["kept"] != true || s.BundleSHA256 != "abc" {
		t.Errorf("spec %+v", s)
	}
	if _, touched := p.Metadata["kept"]; touched || len(p.Env) != 1 {
		t.Error("the pod was changed")
	}
	if s := pod.Spec(api.Pod{Env: p.Env}, api.Pack{}); !maps.Equal(s.Env, p.Env) {
		t.Errorf("env %v without defaults", s.Env)
	}
}
