// Package namespace holds the arithmetic of quotas and limit ranges. The same
// rules stand as triggers in supabase/migrations; here they serve for clear
// answers before a write and for plans. It keeps no counters.
package namespace

import (
	"fmt"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// figure is one bounded quantity of a namespace.
type figure struct {
	name            string
	hard            *int64
	used, requested int64
}

func figures(q api.Quota, used api.Capacity, r api.Resources) []figure {
	return []figure{
		{"pods", amount(q.Pods), int64(used.Pods), 1},
		{"cpu", amount(q.CPU), int64(used.CPU), int64(r.CPU)},
		{"memory", amount(q.Memory), int64(used.Memory), int64(r.Memory)},
		{"storage", amount(q.Storage), int64(used.Storage), int64(r.Storage)},
	}
}

func amount[T ~int | ~int64](v *T) *int64 {
	if v == nil {
		return nil
	}
	return new(int64(*v))
}

// CheckQuota reports whether one more pod with these requests fits into a
// namespace. It fails with NAMESPACE_TERMINATING or QUOTA_EXCEEDED; the details
// name what was asked, what remains, and each figure that does not suffice.
func CheckQuota(n api.Namespace, r api.Resources) error {
	if n.Phase == api.NamespaceTerminating {
		return fault.New(fault.NamespaceTerminating, "namespace %s is terminating and takes no new pods", n.Name)
	}
	if n.ResourceQuota == nil {
		return nil
	}
	requested, remaining := map[string]any{}, map[string]any{}
	var exceeded []string
	for _, f := range figures(n.ResourceQuota.Hard, n.ResourceUsage, r) {
		requested[f.name] = f.requested
		if f.hard == nil {
			continue
		}
		left := max(*f.hard-f.used, 0)
		remaining[f.name] = left
		if f.requested > left {
			exceeded = append(exceeded, fmt.Sprintf("%s (requested: %d, remaining: %d)", f.name, f.requested, left))
		}
	}
	if len(exceeded) == 0 {
		return nil
	}
	e := fault.New(fault.QuotaExceeded, "namespace %s has no quota left for %s", n.Name, strings.Join(exceeded, ", "))
	e.Details = map[string]any{
		"namespace": n.Name, "requested": requested, "remaining": remaining, "exceeded": exceeded,
	}
	return e
}

// ApplyLimitRange fills in what a pod leaves open: from the namespace's limit
// range, then from the cluster's configuration. A limit alone also sets the
// request, and a limit that the cluster gave is raised to the request. It fails
// with VALIDATION_ERROR where a figure lies outside the range, or a request is above
// its own limit or the namespace's default one.
func ApplyLimitRange(lr *api.LimitRange, c api.ClusterConfig, requests, limits *api.ResourceInput) (api.Resources, api.Resources, error) {
	if lr == nil {
		lr = &api.LimitRange{}
	}
	req, lim := deref(requests), deref(limits)
	details := map[string]any{}
	var r, l api.Resources
	r.CPU, l.CPU = fill(req.CPU, lim.CPU, deref(lr.DefaultRequest).CPU, deref(lr.Default).CPU,
		c.DefaultResourceRequests.CPU, c.DefaultResourceLimits.CPU)
	r.Memory, l.Memory = fill(req.Memory, lim.Memory, deref(lr.DefaultRequest).Memory, deref(lr.Default).Memory,
		c.DefaultResourceRequests.Memory, c.DefaultResourceLimits.Memory)
	r.Storage, l.Storage = fill(req.Storage, lim.Storage, deref(lr.DefaultRequest).Storage, deref(lr.Default).Storage,
		c.DefaultResourceRequests.Storage, c.DefaultResourceLimits.Storage)
	within(details, "cpu", r.CPU, l.CPU, deref(lr.Min).CPU, deref(lr.Max).CPU)
	within(details, "memory", r.Memory, l.Memory, deref(lr.Min).Memory, deref(lr.Max).Memory)
	within(details, "storage", r.Storage, l.Storage, deref(lr.Min).Storage, deref(lr.Max).Storage)
	if len(details) == 0 {
		return r, l, nil
	}
	e := fault.New(fault.Validation, "the pod's resources do not fit the namespace's limit range")
	e.Details = details
	return r, l, e
}

func deref(r *api.ResourceInput) api.ResourceInput {
	if r == nil {
		return api.ResourceInput{}
	}
	return *r
}

// fill gives request and limit of one resource; a limit of zero means none.
func fill[T ~int64](req, lim, nsReq, nsLim *T, clusterReq, clusterLim T) (T, T) {
	limit := first(clusterLim, lim, nsLim)
	request := first(clusterReq, req, nsReq, lim)
	if limit > 0 && request > limit {
		if req == nil {
			request = limit
		} else if lim == nil && nsLim == nil {
			limit = request
		}
	}
	return request, limit
}

func first[T ~int64](otherwise T, choices ...*T) T {
	for _, c := range choices {
		if c != nil {
			return *c
		}
	}
	return otherwise
}

func within[T ~int64](details map[string]any, name string, request, limit T, low, high *T) {
	if low != nil && request < *low {
		details["resourceRequests."+name] = fault.Field{
			Code: "BELOW_MINIMUM", Message: fmt.Sprintf("must be at least %d, is %d", *low, request),
		}
	}
	if high != nil && (limit > *high || limit == 0) {
		details["resourceLimits."+name] = fault.Field{
			Code: "ABOVE_MAXIMUM", Message: fmt.Sprintf("must be at most %d, is %d", *high, limit),
		}
	}
	if limit > 0 && request > limit {
		details["resourceRequests."+name] = fault.Field{
			Code: "ABOVE_LIMIT", Message: fmt.Sprintf("must not exceed its limit of %d, is %d", limit, request),
		}
	}
}
