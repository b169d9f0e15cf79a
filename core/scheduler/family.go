package scheduler

import (
	"maps"

	"github.com/stark-orchestrator/stark/shared/api"
)

// family is the pods of a namespace that have the same labels. A selector selects all of
// them or none, so that a set of pods is counted family by family: there are a few hundred
// where there are a hundred thousand pods.
type family struct {
	key       string
	namespace string
	labels    map[string]string
	pods      int      // how many the index knows
	placed    []*entry // those that hold room on a node, each at its entry.at
}

// joinFamily gives a pod its family. Most that become something else keep the one they had.
func (x *index) joinFamily(p *api.Pod, before *entry) *family {
	if before != nil && before.family.namespace == p.Namespace && maps.Equal(before.family.labels, p.Labels) {
		before.family.pods++
		return before.family
	}
	x.scratch.key = x.scratch.key[:0].text(p.Namespace).labels(p.Labels)
	f := x.families[string(x.scratch.key)]
	if f == nil {
		f = &family{key: string(x.scratch.key), namespace: p.Namespace, labels: p.Labels}
		x.families[f.key] = f
	}
	f.pods++
	return f
}

func (x *index) leaveFamily(e *entry) {
	if e.family.pods--; e.family.pods == 0 {
		delete(x.families, e.family.key)
	}
}

func (f *family) place(e *entry) {
	e.at = int32(len(f.placed)) // pods are bounded by maxTotalPods
	f.placed = append(f.placed, e)
}

func (f *family) displace(e *entry) {
	last := len(f.placed) - 1
	moved := f.placed[last]
	f.placed[e.at], moved.at = moved, e.at
	f.placed[last] = nil
	f.placed = f.placed[:last]
}
