package scheduler

import (
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
)

// maxTerms bounds the sets of pods that are counted at a time.
const maxTerms = 4096

// podSet selects pods: those that every part selects.
type podSet struct {
	Parts []podPart
	Live  bool // without those that are stopping
}

// podPart selects pods by label, within namespaces.
type podPart struct {
	Labels     *api.LabelSelector // nil selects none
	Namespaces []string
	Of         *api.LabelSelector // namespaces by label, besides Namespaces

	plain  bool // wanted says what Labels.MatchLabels does
	wanted []label
}

// label is one that a pod must have.
type label struct{ key, value string }

// term counts the pods of a set on each node. It is made when a pod first asks, and
// kept up to date from then on.
type term struct {
	set    podSet
	counts []int32 // by slot
	where  bitset  // the slots that count more than nothing: few, as a rule
	total  int
}

// partOf reads an affinity term of a pod of a namespace, as Kubernetes does: with
// neither namespaces nor a selector of them it means the pod's own.
func partOf(t api.PodAffinityTerm, namespace string) podPart {
	part := podPart{Labels: t.LabelSelector, Namespaces: t.Namespaces, Of: t.NamespaceSelector}
	if len(part.Namespaces) == 0 && part.Of == nil {
		part.Namespaces = []string{namespace}
	}
	return part
}

// listed gives the part with the wanted labels in a list. What is kept is asked of every
// pod that comes to a node, and it takes longer to begin to range over a map than to
// compare a label.
func (s podPart) listed() podPart {
	if s.Labels == nil {
		return s
	}
	s.plain, s.wanted = true, make([]label, 0, len(s.Labels.MatchLabels))
	for key, value := range s.Labels.MatchLabels {
		s.wanted = append(s.wanted, label{key, value})
	}
	return s
}

func (s *podPart) selectsLabels(labels map[string]string) bool {
	switch {
	case s.Labels == nil:
		return false
	case !s.plain:
		return s.Labels.Matches(labels)
	}
	for _, want := range s.wanted {
		if have, ok := labels[want.key]; !ok || have != want.value {
			return false
		}
	}
	return api.Selector(s.Labels.MatchExpressions).Matches(labels)
}

func (s *podPart) selects(x *index, p *api.Pod) bool { return s.selectsIn(x, p.Namespace, p.Labels) }

// selectsIn is selects for a pod of a namespace with these labels.
func (s *podPart) selectsIn(x *index, namespace string, labels map[string]string) bool {
	if !s.selectsLabels(labels) {
		return false
	}
	return slices.Contains(s.Namespaces, namespace) || s.Of != nil && s.Of.Matches(x.namespaces[namespace].Labels)
}

func (s *podSet) selects(x *index, p *api.Pod) bool {
	return !s.leavesOut(p) && s.selectsIn(x, p.Namespace, p.Labels)
}

// leavesOut reports whether a pod is not in the set whatever its labels are.
func (s *podSet) leavesOut(p *api.Pod) bool {
	return s.Live && (p.Status == api.PodStopping || p.Eviction != nil)
}

func (s *podSet) selectsIn(x *index, namespace string, labels map[string]string) bool {
	for i := range s.Parts {
		if !s.Parts[i].selectsIn(x, namespace, labels) {
			return false
		}
	}
	return true
}

// term gives the counts of a set of pods, counted anew where nobody has asked for it.
func (x *index) term(set podSet) *term {
	x.scratch.key = x.scratch.key[:0].set(&set)
	if t := x.terms[string(x.scratch.key)]; t != nil {
		return t
	}
	if len(x.terms) >= maxTerms {
		clear(x.terms)
		x.termsOf = selectors[*term]{}
	}
	for i, part := range set.Parts {
		set.Parts[i] = part.listed()
	}
	t := &term{set: set, counts: make([]int32, len(x.nodes)), where: make(bitset, len(x.alive))}
	for _, f := range x.families {
		if len(f.placed) == 0 || !t.set.selectsIn(x, f.namespace, f.labels) {
			continue
		}
		for _, e := range f.placed {
			if !t.set.leavesOut(e.pod) {
				t.add(e.slot, 1)
			}
		}
	}
	x.terms[string(x.scratch.key)] = t
	var by podPart // of a set without parts, which counts every pod
	if len(set.Parts) > 0 {
		by = set.Parts[0]
	}
	x.termsOf.add(&by, t)
	return t
}

func (t *term) count(x *index, e *entry, sign int) {
	if t.set.selects(x, e.pod) {
		t.add(e.slot, sign)
	}
}

func (t *term) add(slot int32, n int) {
	t.counts[slot] += int32(n)
	t.total += n
	t.where.put(slot, t.counts[slot] != 0)
}

// countPod counts a pod in every set that selects it.
func (x *index) countPod(e *entry, sign int) {
	for t := range x.termsOf.about(e.pod.Labels) {
		t.count(x, e, sign)
	}
}

// ownedTerm is an affinity term that pods on nodes have themselves: it works on
// pods that come later. Anti counts those that refuse them, weight adds up how much
// the others want them near.
type ownedTerm struct {
	key       string
	part      podPart
	topology  string
	anti      []int32 // by slot
	weight    []int32
	where     bitset // the slots with anti or weight
	antiTotal int
	owners    int
}

// requiredWeight is how much a required affinity of a pod that runs draws others to
// it: Kubernetes' hardPodAffinityWeight.
const requiredWeight = 1

// own notes the affinity terms of a pod that has got a node.
func (x *index) own(e *entry) { x.eachOwned(e, 1) }

func (x *index) disown(e *entry) { x.eachOwned(e, -1) }

func (x *index) eachOwned(e *entry, sign int32) {
	s := &e.pod.Scheduling
	if a := s.PodAntiAffinity; a != nil {
		for _, t := range a.Required {
			o := x.ownedTerm(t, e.pod.Namespace)
			o.anti[e.slot] += sign
			o.antiTotal += int(sign)
			o.mark(e.slot)
			x.ownedBy(o, int(sign))
		}
		for _, t := range a.Preferred {
			x.draw(t.PodAffinityTerm, e, -int32(t.Weight)*sign, int(sign))
		}
	}
	if a := s.PodAffinity; a != nil {
		for _, t := range a.Required {
			x.draw(t, e, requiredWeight*sign, int(sign))
		}
		for _, t := range a.Preferred {
			x.draw(t.PodAffinityTerm, e, int32(t.Weight)*sign, int(sign))
		}
	}
}

func (x *index) draw(t api.PodAffinityTerm, e *entry, weight int32, owners int) {
	o := x.ownedTerm(t, e.pod.Namespace)
	o.weight[e.slot] += weight
	o.mark(e.slot)
	x.ownedBy(o, owners)
}

func (o *ownedTerm) mark(slot int32) { o.where.put(slot, o.anti[slot] != 0 || o.weight[slot] != 0) }

func (x *index) ownedBy(o *ownedTerm, owners int) {
	if o.owners += owners; o.owners == 0 {
		delete(x.owned, o.key)
		x.ownedOf.remove(&o.part, o)
	}
}

func ownedKey(part podPart, topology string) string {
	return string(key(nil).part(&part).text(topology))
}

func (x *index) ownedTerm(t api.PodAffinityTerm, namespace string) *ownedTerm {
	part := partOf(t, namespace)
	x.scratch.key = x.scratch.key[:0].part(&part).text(t.TopologyKey)
	o := x.owned[string(x.scratch.key)]
	if o == nil {
		o = &ownedTerm{
			key: string(x.scratch.key), part: part.listed(), topology: t.TopologyKey,
			anti: make([]int32, len(x.nodes)), weight: make([]int32, len(x.nodes)), where: make(bitset, len(x.alive)),
		}
		x.owned[o.key] = o
		x.ownedOf.add(&o.part, o)
	}
	return o
}
