package pod

import (
	"maps"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Spec is what a node needs to know to run a pod. The pack's metadata holds
// where the pod's does not, and so do the defaults for the environment that the
// pack keeps under metadata.env.
func Spec(p api.Pod, k api.Pack) wire.PodSpec {
	return wire.PodSpec{
		Name: p.PackName, Namespace: p.Namespace, OwnerID: p.CreatedBy, Labels: p.Labels,
		PackID: p.PackID, PackVersion: p.PackVersion, RuntimeTag: p.RuntimeTag,
		Format: k.Format, BundleSHA256: strings.TrimSpace(k.BundleSHA256), BundleSize: k.BundleSize,
		Env: merged(packEnv(k), p.Env), Metadata: merged(k.Metadata, p.Metadata),
		Limits: p.ResourceLimits, RestartPolicy: p.RestartPolicy, Isolation: p.Isolation,
		GraceSeconds: graceSeconds(p), DeadlineSeconds: p.ActiveDeadlineSeconds,
	}
}

// packEnv reads metadata.env; what is no text there is passed over.
func packEnv(k api.Pack) map[string]string {
	defaults, _ := k.Metadata["env"].(map[string]any)
	env := make(map[string]string, len(defaults))
	for name, v := range defaults {
		if text, ok := v.(string); ok {
			env[name] = text
		}
	}
	return env
}

// merged gives a map of both; over wins.
func merged[V any](under, over map[string]V) map[string]V {
	if len(under) == 0 {
		return over
	}
	all := maps.Clone(under)
	maps.Copy(all, over)
	return all
}
