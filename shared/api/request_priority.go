package api

import (
	"strings"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// UpdatePriorityClassRequest is the body of PATCH /api/priority-classes/:name; absent
// fields stay. Value and policy of a class that live pods have cannot be changed.
type UpdatePriorityClassRequest struct {
	Value            *int32            `json:"value,omitempty"`
	GlobalDefault    *bool             `json:"globalDefault,omitempty"`
	PreemptionPolicy *PreemptionPolicy `json:"preemptionPolicy,omitempty"`
	Description      *string           `json:"description,omitempty"`

	// ResourceVersion makes the change one of this version alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// The lowest and highest priority of a class.
const (
	minPriority = -2_000_000_000
	// What is above belongs to the classes of the system, as in Kubernetes.
	maxUserPriority = 1_000_000_000
)

// Validate reports every fault.
func (r *UpdatePriorityClassRequest) Validate() error {
	var c checker
	c.resourceVersion(r.ResourceVersion)
	if r.Value != nil {
		c.intRange("value", int64(*r.Value), minPriority, maxUserPriority)
	}
	if r.PreemptionPolicy != nil {
		oneOf(&c, "preemptionPolicy", *r.PreemptionPolicy, PreemptLowerPriority, PreemptNever)
	}
	if r.Description != nil {
		c.description(*r.Description)
	}
	return c.err()
}

// Validate fills in defaults and reports every fault.
func (p *PriorityClass) Validate() error {
	var c checker
	c.namespaceName("name", p.Name)
	c.intRange("value", int64(p.Value), minPriority, maxUserPriority)
	if strings.HasPrefix(p.Name, "system-") {
		c.add("name", fault.FieldReserved, "must not begin with system-, which is reserved")
	}
	if p.PreemptionPolicy == "" {
		p.PreemptionPolicy = PreemptLowerPriority
	}
	oneOf(&c, "preemptionPolicy", p.PreemptionPolicy, PreemptLowerPriority, PreemptNever)
	c.description(p.Description)
	return c.err()
}
