package api

import "github.com/stark-orchestrator/stark/shared/fault"

// Bounds of the cluster's times, in milliseconds, and of its counts.
const (
	minHeartbeatMS = 100
	maxHeartbeatMS = 5 * 60 * 1000
	maxTimeoutMS   = 24 * 3600 * 1000
	maxEvictionMS  = 7 * maxTimeoutMS
	maxGraceMS     = 3600 * 1000
	maxRetentionMS = 365 * int64(maxTimeoutMS)
	maxTotalPods   = 1_000_000
	maxTotalNodes  = 100_000
	maxWeight      = 1000
	minHistoryMS   = 3600 * 1000
	maxHistoryMS   = 10 * 365 * 24 * minHistoryMS
)

// Validate reports every fault.
func (g *ClusterConfig) Validate() error {
	var c checker
	c.namespaceName("defaultNamespace", g.DefaultNamespace)
	oneOf(&c, "schedulingPolicy", g.SchedulingPolicy, PolicySpread, PolicyBinpack, PolicyRandom, PolicyAffinity, PolicyLeastLoaded)
	c.amount("maxPodsPerNode", int64(g.MaxPodsPerNode), 1, maxPods)
	c.amount("maxTotalPods", int64(g.MaxTotalPods), 1, maxTotalPods)
	c.amount("maxTotalNodes", int64(g.MaxTotalNodes), 1, maxTotalNodes)
	c.amount("heartbeatIntervalMs", int64(g.HeartbeatIntervalMS), minHeartbeatMS, maxHeartbeatMS)
	c.amount("heartbeatTimeoutMs", int64(g.HeartbeatTimeoutMS), minHeartbeatMS, maxTimeoutMS)
	c.amount("evictionTimeoutMs", int64(g.EvictionTimeoutMS), 1, maxEvictionMS)
	if g.HeartbeatTimeoutMS > 0 && g.HeartbeatTimeoutMS <= g.HeartbeatIntervalMS {
		c.add("heartbeatTimeoutMs", fault.FieldInvalidRange, "must be greater than heartbeatIntervalMs")
	}
	c.amount("podTerminationGracePeriodMs", int64(g.PodTerminationGracePeriodMS), 0, maxGraceMS)
	c.amount("terminalPodRetentionMs", g.TerminalPodRetentionMS, 0, maxRetentionMS)
	c.amount("podHistoryRetentionMs", g.PodHistoryRetentionMS, minHistoryMS, maxHistoryMS)
	requests, limits := g.DefaultResourceRequests.input(), g.DefaultResourceLimits.input()
	c.resources("defaultResourceRequests", requests)
	c.resources("defaultResourceLimits", limits)
	c.ordered("defaultResourceRequests", fault.FieldInvalidRange, "must not exceed the limit", requests, limits)
	w := g.ScoreWeights
	for name, v := range map[string]*int{
		"policy": w.Policy, "taints": w.Taints, "nodeAffinity": w.NodeAffinity, "podAffinity": w.PodAffinity,
		"topologySpread": w.TopologySpread, "bundle": w.Bundle,
	} {
		if v != nil {
			c.intRange("scoreWeights."+name, int64(*v), 0, maxWeight)
		}
	}
	return c.err()
}

// amount is intRange with the code that settings of the cluster have.
func (c *checker) amount(path string, n, low, high int64) {
	if n < low || n > high {
		c.add(path, fault.FieldInvalidValue, "must be between %d and %d", low, high)
	}
}

// UpdateClusterConfigRequest is the body of PATCH /api/cluster/config; absent fields stay.
type UpdateClusterConfigRequest struct {
	MaxPodsPerNode              *int              `json:"maxPodsPerNode,omitempty"`
	DefaultNamespace            *string           `json:"defaultNamespace,omitempty"`
	SchedulingPolicy            *SchedulingPolicy `json:"schedulingPolicy,omitempty"`
	DefaultResourceRequests     *Resources        `json:"defaultResourceRequests,omitempty"`
	DefaultResourceLimits       *Resources        `json:"defaultResourceLimits,omitempty"`
	MaxTotalPods                *int              `json:"maxTotalPods,omitempty"`
	MaxTotalNodes               *int              `json:"maxTotalNodes,omitempty"`
	HeartbeatIntervalMS         *int              `json:"heartbeatIntervalMs,omitempty"`
	HeartbeatTimeoutMS          *int              `json:"heartbeatTimeoutMs,omitempty"`
	EvictionTimeoutMS           *int              `json:"evictionTimeoutMs,omitempty"`
	PodTerminationGracePeriodMS *int              `json:"podTerminationGracePeriodMs,omitempty"`
	TerminalPodRetentionMS      *int64            `json:"terminalPodRetentionMs,omitempty"`
	PodHistoryRetentionMS       *int64            `json:"podHistoryRetentionMs,omitempty"`
	EnablePreemption            *bool             `json:"enablePreemption,omitempty"`
	OpenRegistration            *bool             `json:"openRegistration,omitempty"`
	ScoreWeights                *ScoreWeights     `json:"scoreWeights,omitempty"` // replaces all weights

	// ResourceVersion makes the change one of this version alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Validate reports faults of the request alone: what it makes of the whole is checked after Apply.
func (r *UpdateClusterConfigRequest) Validate() error {
	var c checker
	c.resourceVersion(r.ResourceVersion)
	return c.err()
}

// Apply gives the configuration with the changes of the request.
func (r *UpdateClusterConfigRequest) Apply(g ClusterConfig) ClusterConfig {
	set(&g.MaxPodsPerNode, r.MaxPodsPerNode)
	set(&g.DefaultNamespace, r.DefaultNamespace)
	set(&g.SchedulingPolicy, r.SchedulingPolicy)
	set(&g.DefaultResourceRequests, r.DefaultResourceRequests)
	set(&g.DefaultResourceLimits, r.DefaultResourceLimits)
	set(&g.MaxTotalPods, r.MaxTotalPods)
	set(&g.MaxTotalNodes, r.MaxTotalNodes)
	set(&g.HeartbeatIntervalMS, r.HeartbeatIntervalMS)
	set(&g.HeartbeatTimeoutMS, r.HeartbeatTimeoutMS)
	set(&g.EvictionTimeoutMS, r.EvictionTimeoutMS)
	set(&g.PodTerminationGracePeriodMS, r.PodTerminationGracePeriodMS)
	set(&g.TerminalPodRetentionMS, r.TerminalPodRetentionMS)
	set(&g.PodHistoryRetentionMS, r.PodHistoryRetentionMS)
	set(&g.EnablePreemption, r.EnablePreemption)
	set(&g.OpenRegistration, r.OpenRegistration)
	set(&g.ScoreWeights, r.ScoreWeights)
	return g
}

// set changes what is given.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (r Resources) input() *ResourceInput {
	return &ResourceInput{CPU: &r.CPU, Memory: &r.Memory, Storage: &r.Storage}
}
