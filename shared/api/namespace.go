package api

import "time"

// NamespacePhase is where a namespace stands.
type NamespacePhase string

// The namespace phases.
const (
	NamespaceActive      NamespacePhase = "active"
	NamespaceTerminating NamespacePhase = "terminating"
)

// The reserved namespaces.
const (
	NamespaceDefault = "default"
	NamespaceSystem  = "stark-system"
	NamespacePublic  = "stark-public"
)

// Quota bounds what the pods of a namespace ask for together; nil means no bound.
type Quota struct {
	Pods    *int        `json:"pods,omitempty"`
	CPU     *Millicores `json:"cpu,omitempty"`
	Memory  *Mebibytes  `json:"memory,omitempty"`
	Storage *Mebibytes  `json:"storage,omitempty"`
}

// ResourceQuota wraps Quota as Kubernetes does. PriorityClasses bounds the pods of
// single classes besides, by name; pods that name no class are of the default one.
type ResourceQuota struct {
	Hard            Quota            `json:"hard"`
	PriorityClasses map[string]Quota `json:"priorityClasses,omitempty"`
}

// LimitRange gives defaults and bounds to single pods of a namespace.
type LimitRange struct {
	Default        *ResourceInput `json:"default,omitempty"`        // of limits
	DefaultRequest *ResourceInput `json:"defaultRequest,omitempty"` // of requests
	Max            *ResourceInput `json:"max,omitempty"`            // limits may not exceed it
	Min            *ResourceInput `json:"min,omitempty"`            // requests may not go below it
}

// DisruptionBudget bounds what preemption and drain may do to a namespace.
type DisruptionBudget struct {
	MaxUnavailable int `json:"maxUnavailable"` // pods that are not running although they have a node; 0 forbids every disruption
}

// Namespace separates pods, their quotas and their members.
type Namespace struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	Phase         NamespacePhase    `json:"phase"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
	ResourceQuota *ResourceQuota    `json:"resourceQuota,omitempty"`
	LimitRange    *LimitRange       `json:"limitRange,omitempty"`
	ResourceUsage Capacity          `json:"resourceUsage"`
	// DisruptionBudget bounds how many pods the cluster takes away at the same time;
	// nil means no bound.
	DisruptionBudget *DisruptionBudget `json:"disruptionBudget,omitempty"`
	CreatedBy        string            `json:"createdBy,omitempty"`
	CreatedAt        time.Time         `json:"createdAt"`
	UpdatedAt        time.Time         `json:"updatedAt"`

	// ResourceVersion changes with every change but that of the usage; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// NamespaceMember gives a user a role within one namespace.
type NamespaceMember struct {
	Namespace string `json:"namespace"`
	UserID    string `json:"userId"`
	Role      Role   `json:"role"`
}

// PreemptionPolicy says whether pods of a class may displace others.
type PreemptionPolicy string

// The preemption policies.
const (
	PreemptLowerPriority PreemptionPolicy = "PreemptLowerPriority"
	PreemptNever         PreemptionPolicy = "Never"
)

// PriorityClass names a priority.
type PriorityClass struct {
	ID               string           `json:"id"`
	Name             string           `json:"name"`
	Value            int32            `json:"value"`
	GlobalDefault    bool             `json:"globalDefault"`
	PreemptionPolicy PreemptionPolicy `json:"preemptionPolicy"`
	Description      string           `json:"description,omitempty"`

	// ResourceVersion changes with every change of the row; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// SchedulingPolicy is how the scheduler chooses among nodes that fit.
type SchedulingPolicy string

// The scheduling policies.
const (
	PolicySpread      SchedulingPolicy = "spread"
	PolicyBinpack     SchedulingPolicy = "binpack"
	PolicyRandom      SchedulingPolicy = "random"
	PolicyAffinity    SchedulingPolicy = "affinity"
	PolicyLeastLoaded SchedulingPolicy = "least_loaded"
)

// ClusterConfig holds the settings of the whole cluster; there is one, named "default".
type ClusterConfig struct {
	Name                        string           `json:"name"`
	MaxPodsPerNode              int              `json:"maxPodsPerNode"`
	DefaultNamespace            string           `json:"defaultNamespace"`
	SchedulingPolicy            SchedulingPolicy `json:"schedulingPolicy"`
	DefaultResourceRequests     Resources        `json:"defaultResourceRequests"`
	DefaultResourceLimits       Resources        `json:"defaultResourceLimits"`
	MaxTotalPods                int              `json:"maxTotalPods"`
	MaxTotalNodes               int              `json:"maxTotalNodes"`
	HeartbeatIntervalMS         int              `json:"heartbeatIntervalMs"`
	HeartbeatTimeoutMS          int              `json:"heartbeatTimeoutMs"`
	EvictionTimeoutMS           int              `json:"evictionTimeoutMs"` // from unhealthy to NodeLost
	PodTerminationGracePeriodMS int              `json:"podTerminationGracePeriodMs"`
	TerminalPodRetentionMS      int64            `json:"terminalPodRetentionMs"`
	PodHistoryRetentionMS       int64            `json:"podHistoryRetentionMs"` // also of events
	EnablePreemption            bool             `json:"enablePreemption"`
	OpenRegistration            bool             `json:"openRegistration"` // whether people may make accounts for themselves
	ScoreWeights                ScoreWeights     `json:"scoreWeights"`

	// ResourceVersion changes with every change of the row; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// ScoreWeights says how much each scorer counts when the scheduler chooses among
// nodes that fit, 0 to 1,000; nil takes the default.
type ScoreWeights struct {
	Policy         *int `json:"policy,omitempty"`         // the scheduling policy; default 10
	Taints         *int `json:"taints,omitempty"`         // PreferNoSchedule; default 30
	NodeAffinity   *int `json:"nodeAffinity,omitempty"`   // default 20
	PodAffinity    *int `json:"podAffinity,omitempty"`    // default 20
	TopologySpread *int `json:"topologySpread,omitempty"` // ScheduleAnyway; default 20
	Bundle         *int `json:"bundle,omitempty"`         // the node has run the pack before; default 1
}

// PageQuery is the paging part of every list; numbers out of range are clamped.
type PageQuery struct {
	Page     int // from 1; default 1
	PageSize int // 1 to 100; default 20
}

// Page is one page of a list.
type Page[T any] struct {
	Items    []T
	Total    int
	Page     int
	PageSize int
	Cursor   string // where a watch goes on from this list; "" when it is not known
}
