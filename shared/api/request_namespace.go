package api

import "github.com/stark-orchestrator/stark/shared/fault"

// CreateNamespaceRequest is the body of POST /api/namespaces.
type CreateNamespaceRequest struct {
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
	ResourceQuota *ResourceQuota    `json:"resourceQuota,omitempty"`
	LimitRange    *LimitRange       `json:"limitRange,omitempty"`
}

// UpdateNamespaceRequest is the body of PUT /api/namespaces/:id; absent fields stay.
type UpdateNamespaceRequest struct {
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
	ResourceQuota *ResourceQuota    `json:"resourceQuota,omitempty"`
	LimitRange    *LimitRange       `json:"limitRange,omitempty"`
}

// The lowest and highest priority of a class.
const (
	minPriority = -2_000_000_000
	maxPriority = 2_000_001_000
)

// Validate reports every fault.
func (r *CreateNamespaceRequest) Validate() error {
	var c checker
	c.namespaceName("name", r.Name)
	if ReservedNamespace(r.Name) {
		c.add("name", fault.FieldReserved, "is reserved")
	}
	c.namespaceBody(r.Labels, r.Annotations, r.ResourceQuota, r.LimitRange)
	return c.err()
}

// Validate reports every fault.
func (r *UpdateNamespaceRequest) Validate() error {
	var c checker
	c.namespaceBody(r.Labels, r.Annotations, r.ResourceQuota, r.LimitRange)
	return c.err()
}

// Validate fills in defaults and reports every fault.
func (p *PriorityClass) Validate() error {
	var c checker
	c.namespaceName("name", p.Name)
	c.intRange("value", int64(p.Value), minPriority, maxPriority)
	if p.PreemptionPolicy == "" {
		p.PreemptionPolicy = PreemptLowerPriority
	}
	oneOf(&c, "preemptionPolicy", p.PreemptionPolicy, PreemptLowerPriority, PreemptNever)
	c.description("description", p.Description)
	return c.err()
}

// Validate reports every fault.
func (g *ClusterConfig) Validate() error {
	var c checker
	c.namespaceName("defaultNamespace", g.DefaultNamespace)
	oneOf(&c, "schedulingPolicy", g.SchedulingPolicy, PolicySpread, PolicyBinpack, PolicyRandom, PolicyAffinity, PolicyLeastLoaded)
	positive := map[string]int{
		"maxPodsPerNode": g.MaxPodsPerNode, "maxTotalPods": g.MaxTotalPods, "maxTotalNodes": g.MaxTotalNodes,
		"heartbeatIntervalMs": g.HeartbeatIntervalMS, "heartbeatTimeoutMs": g.HeartbeatTimeoutMS,
		"evictionTimeoutMs": g.EvictionTimeoutMS,
	}
	for path, v := range positive {
		if v <= 0 {
			c.add(path, fault.FieldInvalidValue, "must be a positive integer")
		}
	}
	if g.HeartbeatTimeoutMS > 0 && g.HeartbeatTimeoutMS <= g.HeartbeatIntervalMS {
		c.add("heartbeatTimeoutMs", fault.FieldInvalidRange, "must be greater than heartbeatIntervalMs")
	}
	if g.PodTerminationGracePeriodMS < 0 {
		c.add("podTerminationGracePeriodMs", fault.FieldInvalidValue, "must not be negative")
	}
	if g.TerminalPodRetentionMS < 0 {
		c.add("terminalPodRetentionMs", fault.FieldInvalidValue, "must not be negative")
	}
	requests, limits := g.DefaultResourceRequests.input(), g.DefaultResourceLimits.input()
	c.resources("defaultResourceRequests", requests)
	c.resources("defaultResourceLimits", limits)
	c.ordered("defaultResourceRequests", fault.FieldInvalidRange, "must not exceed the limit", requests, limits)
	return c.err()
}

func (r Resources) input() *ResourceInput {
	return &ResourceInput{CPU: &r.CPU, Memory: &r.Memory, Storage: &r.Storage}
}

func (c *checker) namespaceBody(labels, annotations map[string]string, quota *ResourceQuota, limits *LimitRange) {
	c.labels("labels", labels)
	c.annotations(annotations)
	if quota != nil {
		const at = "resourceQuota.hard"
		bounded(c, at+".pods", quota.Hard.Pods, maxPods)
		c.resources(at, &ResourceInput{CPU: quota.Hard.CPU, Memory: quota.Hard.Memory, Storage: quota.Hard.Storage})
	}
	if limits == nil {
		return
	}
	const at = "limitRange"
	c.resources(at+".default", limits.Default)
	c.resources(at+".defaultRequest", limits.DefaultRequest)
	c.resources(at+".max", limits.Max)
	c.resources(at+".min", limits.Min)
	c.ordered(at+".min", fault.FieldInvalidRange, "must not exceed max", limits.Min, limits.Max)
	c.ordered(at+".defaultRequest", fault.FieldInvalidRange, "must not exceed default", limits.DefaultRequest, limits.Default)
	c.ordered(at+".default", fault.FieldInvalidRange, "must not exceed max", limits.Default, limits.Max)
	c.ordered(at+".min", fault.FieldInvalidRange, "must not exceed defaultRequest", limits.Min, limits.DefaultRequest)
}
