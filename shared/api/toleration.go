package api

import "slices"

// String is the taint as commands take it: key[=value]:Effect.
func (t Taint) String() string {
	text := t.Key
	if t.Value != "" {
		text += "=" + t.Value
	}
	return text + ":" + string(t.Effect)
}

// Tolerates reports whether t lets a pod live with the taint, by Kubernetes'
// rules: an empty effect matches every effect, an empty key with Exists every
// key, and Exists every value.
func (t Toleration) Tolerates(taint Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect {
		return false
	}
	if t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case TolerationExists:
		return true
	case "", TolerationEqual:
		return t.Key != "" && t.Value == taint.Value
	default:
		return false
	}
}

// Untolerated gives the first taint with one of the effects that no toleration
// covers.
func Untolerated(taints []Taint, tolerations []Toleration, effects ...TaintEffect) (Taint, bool) {
	for _, taint := range taints {
		if !slices.Contains(effects, taint.Effect) {
			continue
		}
		if !slices.ContainsFunc(tolerations, func(t Toleration) bool { return t.Tolerates(taint) }) {
			return taint, true
		}
	}
	return Taint{}, false
}
