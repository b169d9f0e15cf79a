package scheduler_test

import (
	"cmp"
	"slices"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// reference plans slowly and plainly, from label maps, what Plan plans from its
// index: which nodes fit each pod, in the same order, placing pods where Plan did.
type reference struct {
	s    scheduler.Snapshot
	pods []api.Pod
}

func (r *reference) node(id *string) *api.Node {
	if id == nil {
		return nil
	}
	for i := range r.s.Nodes {
		if r.s.Nodes[i].ID == *id {
			return &r.s.Nodes[i]
		}
	}
	return nil
}

func holds(p api.Pod) bool {
	return p.NodeID != nil && p.Status != api.PodPending && !p.Status.Terminal()
}

// fits gives the names of the nodes that take p.
func (r *reference) fits(p api.Pod) []string {
	var names []string
	for i := range r.s.Nodes {
		if n := &r.s.Nodes[i]; r.kind(p, n) && r.room(p, n) && r.affinity(p, n) && r.anti(p, n) && r.spread(p, n) {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// toleratesCordon is the rule of Kubernetes' NodeUnschedulable.
func toleratesCordon(p api.Pod) bool {
	_, bad := api.Untolerated([]api.Taint{{Key: "node.stark.io/unschedulable", Effect: api.NoSchedule}}, p.Tolerations, api.NoSchedule)
	return !bad
}

func (r *reference) kind(p api.Pod, n *api.Node) bool {
	_, bad := api.Untolerated(n.Taints, p.Tolerations, api.NoSchedule, api.NoExecute)
	return n.Status == api.NodeOnline && (!n.Unschedulable || toleratesCordon(p)) && p.RuntimeTag.Fits(n.RuntimeType) && !bad &&
		(n.Shared || n.RegisteredBy == p.CreatedBy) && near(p, n)
}

func near(p api.Pod, n *api.Node) bool {
	a := p.Scheduling.NodeAffinity
	return api.MatchesLabels(p.Scheduling.NodeSelector, n.Labels) && (a == nil || a.Required == nil || a.Required.Matches(n.Name, n.Labels))
}

func (r *reference) room(p api.Pod, n *api.Node) bool {
	used := usage(r.pods)[n.ID]
	most := n.Allocatable.Pods
	if r.s.Config.MaxPodsPerNode > 0 {
		most = min(most, r.s.Config.MaxPodsPerNode)
	}
	a := p.ResourceRequests
	return (a.CPU == 0 || used.CPU+a.CPU <= n.Allocatable.CPU) && (a.Memory == 0 || used.Memory+a.Memory <= n.Allocatable.Memory) && used.Pods < most
}

func (r *reference) selects(t api.PodAffinityTerm, owner, p api.Pod) bool {
	if t.LabelSelector == nil || !t.LabelSelector.Matches(p.Labels) {
		return false
	}
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		return p.Namespace == owner.Namespace
	}
	if slices.Contains(t.Namespaces, p.Namespace) {
		return true
	}
	at := slices.IndexFunc(r.s.Namespaces, func(ns api.Namespace) bool { return ns.Name == p.Namespace })
	var labels map[string]string
	if at >= 0 {
		labels = r.s.Namespaces[at].Labels
	}
	return t.NamespaceSelector != nil && t.NamespaceSelector.Matches(labels)
}

func (r *reference) together(key string, a, b *api.Node) bool {
	if a == nil || b == nil {
		return false
	}
	x, okX := a.Labels[key]
	y, okY := b.Labels[key]
	return okX && okY && x == y
}

func (r *reference) affinity(p api.Pod, n *api.Node) bool {
	if p.Scheduling.PodAffinity == nil {
		return true
	}
	terms := p.Scheduling.PodAffinity.Required
	all := func(other api.Pod) bool {
		return !slices.ContainsFunc(terms, func(t api.PodAffinityTerm) bool { return !r.selects(t, p, other) })
	}
	some, met := false, true
	for _, t := range terms {
		ok := false
		for _, other := range r.pods {
			at := r.node(other.NodeID)
			if !holds(other) || !all(other) || at == nil {
				continue
			}
			if _, has := at.Labels[t.TopologyKey]; has {
				some = true
			}
			ok = ok || r.together(t.TopologyKey, at, n)
		}
		met = met && ok
	}
	if !some && all(p) {
		return !slices.ContainsFunc(terms, func(t api.PodAffinityTerm) bool { _, has := n.Labels[t.TopologyKey]; return !has })
	}
	return met
}

func (r *reference) anti(p api.Pod, n *api.Node) bool {
	for _, other := range r.pods {
		if !holds(other) {
			continue
		}
		at := r.node(other.NodeID)
		for _, pair := range [][2]api.Pod{{p, other}, {other, p}} {
			if pair[0].Scheduling.PodAntiAffinity == nil {
				continue
			}
			for _, t := range pair[0].Scheduling.PodAntiAffinity.Required {
				if r.selects(t, pair[0], pair[1]) && r.together(t.TopologyKey, at, n) {
					return false
				}
			}
		}
	}
	return true
}

func (r *reference) spread(p api.Pod, n *api.Node) bool {
	var hard []api.TopologySpreadConstraint
	for _, c := range p.Scheduling.TopologySpreadConstraints {
		if c.WhenUnsatisfiable != api.ScheduleAnyway {
			hard = append(hard, c)
		}
	}
	for _, c := range hard {
		value, ok := n.Labels[c.TopologyKey]
		if !ok || !r.even(p, hard, c, value) {
			return false
		}
	}
	return true
}

// even reports whether the value may take p under one constraint.
func (r *reference) even(p api.Pod, hard []api.TopologySpreadConstraint, c api.TopologySpreadConstraint, value string) bool {
	term := api.PodAffinityTerm{LabelSelector: c.LabelSelector}
	counts := map[string]int{}
	for i := range r.s.Nodes {
		at := &r.s.Nodes[i]
		if !near(p, at) || slices.ContainsFunc(hard, func(c api.TopologySpreadConstraint) bool { _, has := at.Labels[c.TopologyKey]; return !has }) {
			continue
		}
		counts[at.Labels[c.TopologyKey]] += 0
		for _, other := range r.pods {
			if holds(other) && *other.NodeID == at.ID && other.Status != api.PodStopping && r.selects(term, p, other) {
				counts[at.Labels[c.TopologyKey]]++
			}
		}
	}
	least := -1
	for _, n := range counts {
		if least < 0 || n < least {
			least = n
		}
	}
	if c.MinDomains != nil && len(counts) < *c.MinDomains {
		least = 0
	}
	have := counts[value]
	if r.selects(term, p, p) {
		have++
	}
	return have-max(least, 0) <= c.MaxSkew
}

// order is the order in which pods are planned.
func order(pods []api.Pod) []api.Pod {
	var pending []api.Pod
	for _, p := range pods {
		if p.Status == api.PodPending && p.StopRequestedAt == nil {
			pending = append(pending, p)
		}
	}
	slices.SortFunc(pending, func(a, b api.Pod) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return pending
}
