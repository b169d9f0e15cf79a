package api

import "github.com/stark-orchestrator/stark/shared/fault"

// CreateNamespaceRequest is the body of POST /api/namespaces.
type CreateNamespaceRequest struct {
	// ID is the id that it gets, and "" a new one. It comes from the server and never
	// from a body: asked for twice, it is made once.
	ID string `json:"-"`

	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
	ResourceQuota *ResourceQuota    `json:"resourceQuota,omitempty"`
	LimitRange    *LimitRange       `json:"limitRange,omitempty"`

	DisruptionBudget *DisruptionBudget `json:"disruptionBudget,omitempty"`
}

// UpdateNamespaceRequest is the body of PUT and PATCH /api/namespaces/:id; absent fields
// stay, and an empty object takes a quota, limit range or budget away.
type UpdateNamespaceRequest struct {
	Labels           map[string]string `json:"labels,omitzero"`
	Annotations      map[string]string `json:"annotations,omitzero"`
	ResourceQuota    *QuotaInput       `json:"resourceQuota,omitempty"`
	LimitRange       *LimitRange       `json:"limitRange,omitempty"`
	DisruptionBudget *BudgetInput      `json:"disruptionBudget,omitempty"`

	// ResourceVersion makes the change one of this version alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// QuotaInput is ResourceQuota, or nothing to take it away.
type QuotaInput struct {
	Hard            *Quota           `json:"hard,omitempty"`
	PriorityClasses map[string]Quota `json:"priorityClasses,omitempty"`
}

// Quota is what the input says, nil for nothing.
func (q *QuotaInput) Quota() *ResourceQuota {
	if q == nil || q.Hard == nil && len(q.PriorityClasses) == 0 {
		return nil
	}
	out := ResourceQuota{PriorityClasses: q.PriorityClasses}
	if q.Hard != nil {
		out.Hard = *q.Hard
	}
	return &out
}

// BudgetInput is DisruptionBudget, or nothing to take it away.
type BudgetInput struct {
	MaxUnavailable *int `json:"maxUnavailable,omitempty"` // 0 to 1,000,000
}

// NamespaceQuery selects namespaces in a list.
type NamespaceQuery struct {
	PageQuery
	Phase         NamespacePhase
	Search        string // part of the name
	LabelSelector string
}

// NamespaceQuota is the answer to how much of its quota a namespace has used.
type NamespaceQuota struct {
	Name             string              `json:"name"`
	ResourceQuota    *ResourceQuota      `json:"resourceQuota,omitempty"`
	ResourceUsage    Capacity            `json:"resourceUsage"`
	ClassUsage       map[string]Capacity `json:"classUsage"` // by the name of the priority class
	LimitRange       *LimitRange         `json:"limitRange,omitempty"`
	DisruptionBudget *DisruptionBudget   `json:"disruptionBudget,omitempty"`
}

// SetMemberRequest is the body of PUT /api/namespaces/:id/members/:userId.
type SetMemberRequest struct {
	Role Role `json:"role,omitempty"` // default developer
}

// Validate reports every fault.
func (r *CreateNamespaceRequest) Validate() error {
	var c checker
	c.namespaceName("name", r.Name)
	if ReservedNamespace(r.Name) {
		c.add("name", fault.FieldReserved, "is reserved")
	}
	c.namespaceBody(r.Labels, r.Annotations, r.ResourceQuota, r.LimitRange)
	if r.DisruptionBudget != nil {
		c.intRange("disruptionBudget.maxUnavailable", int64(r.DisruptionBudget.MaxUnavailable), 0, maxUnavailable)
	}
	return c.err()
}

// maxUnavailable bounds a disruption budget.
const maxUnavailable = 1_000_000

// Validate clamps the page and reports every fault of the filters.
func (q *NamespaceQuery) Validate() error {
	var c checker
	q.PageQuery = q.Normalize()
	if q.Phase != "" {
		oneOf(&c, "phase", q.Phase, NamespaceActive, NamespaceTerminating)
	}
	c.search(q.Search)
	c.selector("labelSelector", q.LabelSelector)
	return c.err()
}

// Validate fills in the default and reports every fault.
func (r *SetMemberRequest) Validate() error {
	var c checker
	if r.Role == "" {
		r.Role = RoleDeveloper
	}
	oneOf(&c, "role", r.Role, UserRoles...)
	return c.err()
}

// Validate reports every fault.
func (r *UpdateNamespaceRequest) Validate() error {
	var c checker
	c.resourceVersion(r.ResourceVersion)
	c.namespaceBody(r.Labels, r.Annotations, r.ResourceQuota.Quota(), r.LimitRange)
	if r.DisruptionBudget != nil && r.DisruptionBudget.MaxUnavailable != nil {
		c.intRange("disruptionBudget.maxUnavailable", int64(*r.DisruptionBudget.MaxUnavailable), 0, maxUnavailable)
	}
	return c.err()
}

func (c *checker) namespaceBody(labels, annotations map[string]string, quota *ResourceQuota, limits *LimitRange) {
	c.labels("labels", labels)
	c.annotations(annotations)
	if quota != nil {
		const at = "resourceQuota.hard"
		bounded(c, at+".pods", quota.Hard.Pods, maxPods, "")
		c.resources(at, &ResourceInput{CPU: quota.Hard.CPU, Memory: quota.Hard.Memory, Storage: quota.Hard.Storage})
	}
	if quota != nil {
		const at = "resourceQuota.priorityClasses"
		c.entries(at, len(quota.PriorityClasses), maxListEntries)
		for name, q := range quota.PriorityClasses {
			c.namespaceName(at+"."+name, name)
			bounded(c, at+"."+name+".pods", q.Pods, maxPods, "")
			c.resources(at+"."+name, &ResourceInput{CPU: q.CPU, Memory: q.Memory, Storage: q.Storage})
		}
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
