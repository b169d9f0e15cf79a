package api

import (
	"strconv"

	"github.com/stark-orchestrator/stark/shared/fault"
)

func (c *checker) scheduling(path string, s *Scheduling) {
	if s == nil {
		return
	}
	c.labels(path+".nodeSelector", s.NodeSelector)
	if s.NodeName != "" {
		c.nodeName(path+".nodeName", s.NodeName)
	}
	c.nodeAffinity(path+".nodeAffinity", s.NodeAffinity)
	c.podAffinity(path+".podAffinity", s.PodAffinity)
	c.podAffinity(path+".podAntiAffinity", s.PodAntiAffinity)
	c.spreads(path+".topologySpreadConstraints", s.TopologySpreadConstraints)
}

// Bounds of spread constraints.
const (
	maxSpreads = 10
	maxSkew    = 1_000_000
)

func (c *checker) spreads(path string, list []TopologySpreadConstraint) {
	c.entries(path, len(list), maxSpreads)
	for i, s := range list {
		at := index(path, i)
		c.intRange(at+".maxSkew", int64(s.MaxSkew), 1, maxSkew)
		if c.required(at+".topologyKey", s.TopologyKey) {
			c.labelKey(at+".topologyKey", s.TopologyKey)
		}
		if s.WhenUnsatisfiable != "" {
			oneOf(c, at+".whenUnsatisfiable", s.WhenUnsatisfiable, DoNotSchedule, ScheduleAnyway)
		}
		c.labelSelector(at+".labelSelector", s.LabelSelector)
		if s.MinDomains == nil {
			continue
		}
		c.intRange(at+".minDomains", int64(*s.MinDomains), 1, maxSkew)
		if s.WhenUnsatisfiable == ScheduleAnyway {
			c.add(at+".minDomains", fault.FieldNotAllowed, "needs whenUnsatisfiable %s", DoNotSchedule)
		}
	}
}

func (c *checker) labelSelector(path string, s *LabelSelector) {
	if s == nil {
		return
	}
	c.labels(path+".matchLabels", s.MatchLabels)
	c.requirements(path+".matchExpressions", s.MatchExpressions, false)
}

const (
	requiredTerms  = ".requiredDuringSchedulingIgnoredDuringExecution"
	preferredTerms = ".preferredDuringSchedulingIgnoredDuringExecution"
)

func (c *checker) nodeAffinity(path string, a *NodeAffinity) {
	if a == nil {
		return
	}
	if a.Required != nil {
		at := path + requiredTerms + ".nodeSelectorTerms"
		switch {
		case a.Required.NodeSelectorTerms == nil:
			c.add(at, fault.FieldRequired, "is required")
		case len(a.Required.NodeSelectorTerms) == 0:
			c.add(at, fault.FieldEmpty, "must not be empty")
		}
		c.entries(at, len(a.Required.NodeSelectorTerms), maxListEntries)
		for i, t := range a.Required.NodeSelectorTerms {
			c.nodeTerm(index(at, i), t)
		}
	}
	c.entries(path+preferredTerms, len(a.Preferred), maxListEntries)
	for i, p := range a.Preferred {
		at := index(path+preferredTerms, i)
		c.weight(at+".weight", p.Weight)
		c.nodeTerm(at+".preference", p.Preference)
	}
}

func (c *checker) weight(path string, w int) {
	const maxWeight = 100
	c.intRange(path, int64(w), 1, maxWeight)
}

// nodeTerm takes a term without conditions too, as Kubernetes does: it matches no node.
// Of fields Kubernetes compares the name alone, with one value.
func (c *checker) nodeTerm(path string, t NodeSelectorTerm) {
	c.requirements(path+".matchExpressions", t.MatchExpressions, true)
	c.requirements(path+".matchFields", t.MatchFields, true)
	for i, r := range t.MatchFields {
		at := index(path+".matchFields", i)
		if r.Key != "" && r.Key != FieldMetadataName {
			c.add(at+".key", fault.FieldInvalidValue, "must be %s", FieldMetadataName)
		}
		switch {
		case r.Operator == "": // said already
		case r.Operator != OpIn && r.Operator != OpNotIn:
			c.add(at+".operator", fault.FieldInvalidValue, "must be one of In, NotIn")
		case len(r.Values) != 1:
			c.add(at+".values", fault.FieldInvalidValue, "must be one name")
		}
	}
}

func (c *checker) podAffinity(path string, a *PodAffinity) {
	if a == nil {
		return
	}
	c.entries(path+requiredTerms, len(a.Required), maxListEntries)
	for i, t := range a.Required {
		c.podTerm(index(path+requiredTerms, i), t)
	}
	c.entries(path+preferredTerms, len(a.Preferred), maxListEntries)
	for i, t := range a.Preferred {
		at := index(path+preferredTerms, i)
		c.weight(at+".weight", t.Weight)
		c.podTerm(at+".podAffinityTerm", t.PodAffinityTerm)
	}
}

func (c *checker) podTerm(path string, t PodAffinityTerm) {
	if c.required(path+".topologyKey", t.TopologyKey) {
		c.labelKey(path+".topologyKey", t.TopologyKey)
	}
	c.namespaces(path+".namespaces", t.Namespaces)
	c.labelSelector(path+".labelSelector", t.LabelSelector)
	c.labelSelector(path+".namespaceSelector", t.NamespaceSelector)
}

func (c *checker) requirements(path string, list []Requirement, ofNode bool) {
	c.entries(path, len(list), maxListEntries)
	for i, r := range list {
		c.requirement(index(path, i), r, ofNode)
	}
}

func (c *checker) requirement(at string, r Requirement, ofNode bool) {
	if c.required(at+".key", r.Key) && !validLabelKey(r.Key) {
		c.add(at+".key", fault.FieldInvalidFormat, "must be a label key")
	}
	if !c.required(at+".operator", string(r.Operator)) {
		return
	}
	operators := []SelectorOperator{OpIn, OpNotIn, OpExists, OpDoesNotExist}
	if ofNode {
		operators = append(operators, OpGt, OpLt)
	}
	oneOf(c, at+".operator", r.Operator, operators...)
	c.entries(at+".values", len(r.Values), maxLabels)
	switch r.Operator {
	case OpIn, OpNotIn:
		if len(r.Values) == 0 {
			c.add(at+".values", fault.FieldRequired, "needs at least one value")
		}
		for i, v := range r.Values {
			c.labelValue(index(at+".values", i), v)
		}
	case OpExists, OpDoesNotExist:
		if len(r.Values) > 0 {
			c.add(at+".values", fault.FieldNotAllowed, "must be absent with operator %s", r.Operator)
		}
	case OpGt, OpLt:
		if len(r.Values) != 1 {
			c.add(at+".values", fault.FieldInvalidValue, "needs exactly one integer")
		} else if _, err := strconv.ParseInt(r.Values[0], 10, 64); err != nil {
			c.add(index(at+".values", 0), fault.FieldInvalidValue, "must be an integer")
		}
	}
}

func (c *checker) selector(path, s string) {
	if _, err := ParseSelector(s); err != nil {
		c.add(path, fault.FieldInvalidFormat, "%s", err)
	}
}
