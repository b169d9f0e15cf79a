package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Difference is one field that is not as a document wants it; "" stands for absent.
type Difference struct {
	Field    string
	Old, New string
}

// String writes the difference on one line.
func (d Difference) String() string {
	switch {
	case d.Old == "":
		return fmt.Sprintf("+ %s: %s", d.Field, d.New)
	case d.New == "":
		return fmt.Sprintf("- %s: %s", d.Field, d.Old)
	default:
		return fmt.Sprintf("~ %s: %s -> %s", d.Field, d.Old, d.New)
	}
}

// Compare lists what differs between two values, by the JSON of each, in order of the fields.
func Compare(old, wanted any) []Difference {
	before, after := map[string]string{}, map[string]string{}
	flatten("", plain(old), before)
	flatten("", plain(wanted), after)
	var out []Difference
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != after[name] {
			out = append(out, Difference{Field: name, Old: before[name], New: after[name]})
		}
	}
	return out
}

// plain gives a value as JSON would have it.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(data, &out) != nil {
		return nil
	}
	return out
}

// flatten writes leaves under their paths. Empty objects and lists are as absent.
func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			flatten(strings.TrimPrefix(path+"."+k, "."), inner, out)
		}
	case []any:
		for i, inner := range v {
			flatten(fmt.Sprintf("%s[%d]", path, i), inner, out)
		}
	case nil:
	default:
		data, err := json.Marshal(v)
		if err == nil {
			out[path] = string(data)
		}
	}
}

// Merge makes labels or annotations of a live object what a document wants: what it sets
// is set, what the document set that was applied last and this one does not is removed,
// and what others have set stays.
func Merge(live, last, wanted map[string]string) map[string]string {
	out := maps.Clone(live)
	if out == nil {
		out = map[string]string{}
	}
	for key := range last {
		if _, still := wanted[key]; !still {
			delete(out, key)
		}
	}
	maps.Copy(out, wanted)
	return out
}

// Last reads the document that was applied last from an object's annotations: its labels
// and annotations, and the rest of it. Without one everything is empty.
func Last(annotations map[string]string) (labels, notes map[string]string, rest map[string]any) {
	var d struct {
		Metadata meta `json:"metadata"`
	}
	text := annotations[LastApplied]
	if text == "" || json.Unmarshal([]byte(text), &d) != nil || json.Unmarshal([]byte(text), &rest) != nil {
		return nil, nil, nil
	}
	return d.Metadata.Labels, d.Metadata.Annotations, rest
}

// SameSpec reports whether two documents of a pod want the same but for labels,
// annotations and the version of the pack, and lists what differs.
func SameSpec(last, wanted map[string]any) (differences []Difference) {
	spec := func(d map[string]any) map[string]any {
		s, _ := plain(d["spec"]).(map[string]any)
		s = maps.Clone(s)
		delete(s, "version")
		if pack, ok := s["pack"].(string); ok {
			s["pack"], _, _ = strings.Cut(pack, "@")
		}
		return map[string]any{"spec": s}
	}
	if reflect.DeepEqual(spec(last), spec(wanted)) {
		return nil
	}
	return Compare(spec(last), spec(wanted))
}
