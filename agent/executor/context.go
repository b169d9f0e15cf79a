package executor

import (
	"maps"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Environment is what the pack finds in context.env: the pod's own and who it is.
func (t Task) Environment() map[string]string {
	env := orEmpty(maps.Clone(t.Spec.Env))
	env["STARK_POD_ID"], env["STARK_PACK_ID"], env["STARK_PACK_VERSION"] = t.Key.PodID, t.Spec.PackID, t.Spec.PackVersion
	env["STARK_NAMESPACE"], env["STARK_NODE_ID"] = t.Spec.Namespace, t.NodeID
	return env
}

// Pod is what the pack finds in context.pod.
func (t Task) Pod(runtime api.RuntimeType) map[string]any {
	s := t.Spec
	return map[string]any{
		"id": t.Key.PodID, "name": s.Name, "version": s.PackVersion, "namespace": s.Namespace,
		"labels": orEmpty(s.Labels), "metadata": orEmpty(s.Metadata), "incarnation": t.Key.Incarnation,
		"attempt": t.Key.Attempt, "nodeId": t.NodeID, "runtime": string(runtime),
	}
}

// UnresponsiveAfter is how long the pack's event loop may stand still: what its
// metadata says as livenessSeconds, or by its older name unresponsiveAfterSeconds, else
// the given time; 0 is for ever.
func (t Task) UnresponsiveAfter(d time.Duration) time.Duration {
	for _, name := range []string{"livenessSeconds", "unresponsiveAfterSeconds"} {
		if s, ok := t.Spec.Metadata[name].(float64); ok && s >= 0 && s < 1e6 {
			return time.Duration(s * float64(time.Second))
		}
	}
	return max(d, 0)
}

func orEmpty[M ~map[string]V, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}
