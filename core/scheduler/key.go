package scheduler

import (
	"encoding/binary"
	"slices"

	"github.com/stark-orchestrator/stark/shared/api"
)

// key is text under which something is kept. Every part has its length before it, so
// that no two things read the same. Made in a buffer that is kept and looked up as
// string(key), it allocates nothing.
type key []byte

func (k key) number(n int) key { return binary.AppendVarint(k, int64(n)) }

func (k key) flag(on bool) key {
	if on {
		return append(k, 1)
	}
	return append(k, 0)
}

func (k key) text(s string) key { return append(k.number(len(s)), s...) }

func (k key) list(l []string) key {
	k = k.number(len(l))
	for _, s := range l {
		k = k.text(s)
	}
	return k
}

// labels puts a map down in the order of its keys.
func (k key) labels(m map[string]string) key {
	k = k.number(len(m))
	var few [8]string
	names := few[:0]
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k = k.text(name).text(m[name])
	}
	return k
}

func (k key) requirements(rs []api.Requirement) key {
	k = k.number(len(rs))
	for i := range rs {
		k = k.text(rs[i].Key).text(string(rs[i].Operator)).list(rs[i].Values)
	}
	return k
}

func (k key) selector(s *api.LabelSelector) key {
	if k = k.flag(s != nil); s == nil {
		return k
	}
	return k.labels(s.MatchLabels).requirements(s.MatchExpressions)
}

func (k key) part(p *podPart) key { return k.selector(p.Labels).list(p.Namespaces).selector(p.Of) }

func (k key) set(s *podSet) key {
	k = k.flag(s.Live).number(len(s.Parts))
	for i := range s.Parts {
		k = k.part(&s.Parts[i])
	}
	return k
}

func (k key) tolerations(ts []api.Toleration) key {
	k = k.number(len(ts))
	for i := range ts {
		k = k.text(ts[i].Key).text(string(ts[i].Operator)).text(ts[i].Value).text(string(ts[i].Effect))
	}
	return k
}

func (k key) nodeTerm(t *api.NodeSelectorTerm) key {
	return k.requirements(t.MatchExpressions).requirements(t.MatchFields)
}

func (k key) nodeAffinity(a *api.NodeAffinity) key {
	if k = k.flag(a != nil); a == nil {
		return k
	}
	if k = k.flag(a.Required != nil); a.Required != nil {
		k = k.number(len(a.Required.NodeSelectorTerms))
		for i := range a.Required.NodeSelectorTerms {
			k = k.nodeTerm(&a.Required.NodeSelectorTerms[i])
		}
	}
	k = k.number(len(a.Preferred))
	for i := range a.Preferred {
		k = k.number(a.Preferred[i].Weight).nodeTerm(&a.Preferred[i].Preference)
	}
	return k
}

// kind puts down all that a pod asks of what nodes are: equal keys get the same answer
// from every node.
func (k key) kind(q *query) key {
	p, s := q.pod, &q.pod.Scheduling
	k = k.text(string(p.RuntimeTag)).text(q.demands.minVersion).list(q.demands.capabilities)
	k = k.text(p.CreatedBy).text(p.Namespace).text(s.NodeName)
	k = k.tolerations(p.Tolerations).labels(s.NodeSelector).nodeAffinity(s.NodeAffinity)
	k = k.number(len(s.TopologySpreadConstraints))
	for i := range s.TopologySpreadConstraints {
		c := &s.TopologySpreadConstraints[i]
		k = k.text(c.TopologyKey).text(string(actionOf(c)))
	}
	return k
}
