package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// parsePairs reads key=value flags.
func parsePairs(flag string, values []string) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(values))
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, usagef("%s %q: want key=value", flag, v)
		}
		out[key] = value
	}
	return out, nil
}

// pairs writes a map as key=value, in order.
func pairs(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}

// parseTaints reads key[=value]:Effect.
func parseTaints(values []string) ([]api.Taint, error) {
	var out []api.Taint
	for _, v := range values {
		rest, effect, ok := strings.Cut(v, ":")
		key, value, _ := strings.Cut(rest, "=")
		if !ok || key == "" || effect == "" {
			return nil, usagef("--taint %q: want key[=value]:Effect, with effect NoSchedule, PreferNoSchedule or NoExecute", v)
		}
		out = append(out, api.Taint{Key: key, Value: value, Effect: api.TaintEffect(effect)})
	}
	return out, nil
}

// parseTolerations reads key[=value][:Effect]; without a value any value is
// tolerated, and "*" alone tolerates everything.
func parseTolerations(values []string) ([]api.Toleration, error) {
	var out []api.Toleration
	for _, v := range values {
		rest, effect, _ := strings.Cut(v, ":")
		key, value, hasValue := strings.Cut(rest, "=")
		if key == "" {
			return nil, usagef("--toleration %q: want key[=value][:Effect]", v)
		}
		t := api.Toleration{Key: key, Operator: api.TolerationExists, Effect: api.TaintEffect(effect)}
		if hasValue {
			t.Operator, t.Value = api.TolerationEqual, value
		}
		if key == "*" {
			t.Key = ""
		}
		out = append(out, t)
	}
	return out, nil
}

// parseResources reads quantities such as 500m and 256Mi; nil where none is given.
func parseResources(cpuFlag, cpu, memoryFlag, memory string) (*api.ResourceInput, error) {
	if cpu == "" && memory == "" {
		return nil, nil
	}
	var r api.ResourceInput
	if cpu != "" {
		v, err := api.ParseMillicores(cpu)
		if err != nil {
			return nil, usagef("%s %q: %w", cpuFlag, cpu, err)
		}
		r.CPU = &v
	}
	if memory != "" {
		v, err := api.ParseMebibytes(memory)
		if err != nil {
			return nil, usagef("%s %q: %w", memoryFlag, memory, err)
		}
		r.Memory = &v
	}
	return &r, nil
}

// parseSince reads a duration back from now, or a point of time.
func parseSince(s string) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return new(time.Now().Add(-d)), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, usagef("--since %q: want a duration such as 10m, or a time such as 2026-01-31T12:00:00Z", s)
	}
	return &t, nil
}
