package api

import "github.com/stark-orchestrator/stark/shared/fault"

// Bounds and defaults of join tokens.
const (
	minTokenTTL     = 60
	maxTokenTTL     = 7 * 24 * 3600
	defaultTokenTTL = 3600
	maxTokenUses    = 1000
)

// Validate reports every fault.
func (r *RegisterNodeRequest) Validate() error {
	var c checker
	c.nodeName("name", r.Name)
	if c.required("runtimeType", string(r.RuntimeType)) {
		oneOf(&c, "runtimeType", r.RuntimeType, RuntimeNode, RuntimeBrowser)
	}
	c.capabilities("capabilities", r.Capabilities)
	c.capacity("allocatable", r.Allocatable)
	c.labels("labels", r.Labels)
	c.annotations(r.Annotations)
	c.taints("taints", r.Taints)
	c.namespaces("namespaces", r.Namespaces)
	return c.err()
}

// Validate reports every fault.
func (r *UpdateNodeRequest) Validate() error {
	var c checker
	c.labels("labels", r.Labels)
	c.annotations(r.Annotations)
	if r.Taints != nil {
		c.taints("taints", *r.Taints)
	}
	c.capacity("allocatable", r.Allocatable)
	if r.Namespaces != nil {
		c.namespaces("namespaces", *r.Namespaces)
	}
	c.resourceVersion(r.ResourceVersion)
	return c.err()
}

// Validate reports every fault.
func (r *DrainNodeRequest) Validate() error {
	const maxGrace, maxTimeout = 3600, 7 * 24 * 3600
	var c checker
	if r.GraceSeconds != nil {
		c.intRange("graceSeconds", int64(*r.GraceSeconds), 0, maxGrace)
	}
	c.intRange("timeoutSeconds", int64(r.TimeoutSeconds), 0, maxTimeout)
	c.selector("ignoreLabels", r.IgnoreLabels)
	return c.err()
}

// Validate fills in defaults and reports every fault.
func (r *CreateJoinTokenRequest) Validate() error {
	var c checker
	if r.TTLSeconds == 0 {
		r.TTLSeconds = defaultTokenTTL
	}
	if r.Uses == 0 {
		r.Uses = 1
	}
	c.intRange("ttlSeconds", int64(r.TTLSeconds), minTokenTTL, maxTokenTTL)
	c.intRange("uses", int64(r.Uses), 1, maxTokenUses)
	c.labels("labels", r.Labels)
	c.taints("taints", r.Taints)
	return c.err()
}

// Validate clamps the page and reports every fault of the filters.
func (q *NodeQuery) Validate() error {
	var c checker
	q.PageQuery = q.Normalize()
	if q.RuntimeType != "" {
		oneOf(&c, "runtimeType", q.RuntimeType, RuntimeNode, RuntimeBrowser)
	}
	if q.Status != "" {
		oneOf(&c, "status", q.Status, NodeStatuses...)
	}
	c.search(q.Search)
	c.selector("labelSelector", q.LabelSelector)
	return c.err()
}

func (c *checker) capabilities(path string, v Capabilities) {
	const maxText, maxFeatures = 128, 100
	c.tooLong(path+".version", v.Version, maxText)
	c.tooLong(path+".arch", v.Arch, maxText)
	c.tooLong(path+".os", v.OS, maxText)
	c.tooLong(path+".agent", v.Agent, maxText)
	c.entries(path+".features", len(v.Features), maxFeatures)
	for i, f := range v.Features {
		c.tooLong(index(path+".features", i), f, maxText)
	}
}

func (c *checker) capacity(path string, v *Capacity) {
	if v == nil {
		return
	}
	cpuBounded(c, path+".cpu", &v.CPU)
	bytesBounded(c, path+".memory", &v.Memory)
	bytesBounded(c, path+".storage", &v.Storage)
	bounded(c, path+".pods", &v.Pods, maxPods, "")
}

func (c *checker) taints(path string, taints []Taint) {
	type identity struct {
		key    string
		effect TaintEffect
	}
	c.entries(path, len(taints), maxListEntries)
	seen := map[identity]bool{}
	for i, t := range taints {
		at := index(path, i)
		if c.required(at+".key", t.Key) && !validLabelKey(t.Key) {
			c.add(at+".key", fault.FieldInvalidFormat, "must be a label key")
		}
		if c.required(at+".effect", string(t.Effect)) {
			oneOf(c, at+".effect", t.Effect, NoSchedule, PreferNoSchedule, NoExecute)
		}
		c.labelValue(at+".value", t.Value)
		if seen[identity{t.Key, t.Effect}] {
			c.add(at, fault.FieldDuplicate, "key and effect must be unique among the taints")
		}
		seen[identity{t.Key, t.Effect}] = true
	}
}

func (c *checker) namespaces(path string, names []string) {
	c.entries(path, len(names), maxListEntries)
	for i, n := range names {
		c.namespaceName(index(path, i), n)
	}
}

// Validate reports every fault.
func (r *LeaveNodeRequest) Validate() error {
	var c checker
	if !ValidID(r.ConnectionID) {
		c.add("connectionId", fault.FieldInvalidFormat, "must be the id of the connection, as the server gave it")
	}
	return c.err()
}
