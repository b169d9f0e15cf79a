package api

import "time"

// RuntimeType is what kind of host a node is.
type RuntimeType string

// The runtime types.
const (
	RuntimeNode    RuntimeType = "node"
	RuntimeBrowser RuntimeType = "browser"
)

// NodeStatus is how the control plane sees a node.
type NodeStatus string

// The node statuses.
const (
	NodeOnline      NodeStatus = "online"
	NodeSuspect     NodeStatus = "suspect"   // its socket closed; its lease still runs
	NodeUnhealthy   NodeStatus = "unhealthy" // no heartbeat within the timeout
	NodeOffline     NodeStatus = "offline"   // left cleanly or given up
	NodeDraining    NodeStatus = "draining"
	NodeMaintenance NodeStatus = "maintenance"
)

// NodeStatuses lists every status, best first.
var NodeStatuses = []NodeStatus{NodeOnline, NodeDraining, NodeMaintenance, NodeSuspect, NodeUnhealthy, NodeOffline}

// Capacity is what a node offers or has given away.
type Capacity struct {
	CPU     Millicores `json:"cpu"`
	Memory  Mebibytes  `json:"memory"`
	Storage Mebibytes  `json:"storage"`
	Pods    int        `json:"pods"`
}

// NodeCondition is one aspect of a node's health, after Kubernetes' conditions.
type NodeCondition struct {
	Type               string    `json:"type"`
	Status             bool      `json:"status"`
	Reason             string    `json:"reason,omitempty"`
	Message            string    `json:"message,omitempty"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

// Capabilities tells what a node can do.
type Capabilities struct {
	Version  string   `json:"version,omitempty"` // of the JavaScript runtime, e.g. "22.3.0"
	Arch     string   `json:"arch,omitempty"`
	OS       string   `json:"os,omitempty"`
	Agent    string   `json:"agent,omitempty"` // version of the agent
	Features []string `json:"features,omitempty"`
}

// Node is a Node.js host or a browser tab that runs pods.
type Node struct {
	ID            string            `json:"id"`
	Name          string            `json:"name"`
	RuntimeType   RuntimeType       `json:"runtimeType"`
	Status        NodeStatus        `json:"status"`
	LastHeartbeat *time.Time        `json:"lastHeartbeat,omitempty"`
	Capabilities  Capabilities      `json:"capabilities"`
	Conditions    []NodeCondition   `json:"conditions"`
	RegisteredBy  string            `json:"registeredBy,omitempty"`
	Shared        bool              `json:"shared"`               // registered by an admin or operator: serves everybody
	Namespaces    []string          `json:"namespaces,omitempty"` // further namespaces that a private node serves
	IPAddress     string            `json:"ipAddress,omitempty"`
	UserAgent     string            `json:"userAgent,omitempty"`
	Allocatable   Capacity          `json:"allocatable"`
	Allocated     Capacity          `json:"allocated"` // folded from the pods on it; never stored
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
	Taints        []Taint           `json:"taints"`
	Unschedulable bool              `json:"unschedulable"`
	Maintenance   bool              `json:"maintenance"`     // kept empty by its operator, whatever its status
	Drain         *NodeDrain        `json:"drain,omitempty"` // under way, or the last one
	CreatedAt     time.Time         `json:"createdAt"`
	UpdatedAt     time.Time         `json:"updatedAt"`

	// ResourceVersion changes with every change of the row, not with heartbeats; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// DrainPhase is where a drain stands.
type DrainPhase string

// The phases of a drain. The last two are final; the node stays cordoned.
const (
	Draining      DrainPhase = "draining"
	Drained       DrainPhase = "drained"  // every run has ended
	DrainTimedOut DrainPhase = "timedOut" // pods that could not leave in time are still there
)

// NodeDrain is how far a node has been emptied.
type NodeDrain struct {
	Phase        DrainPhase `json:"phase"`
	By           string     `json:"by,omitempty"` // id of who asked for it
	Since        time.Time  `json:"since"`
	Deadline     *time.Time `json:"deadline,omitempty"`
	FinishedAt   *time.Time `json:"finishedAt,omitempty"`
	GraceSeconds *int       `json:"graceSeconds,omitempty"` // instead of each pod's own
	Force        bool       `json:"force"`                  // also pods that will not run again
	IgnoreBudget bool       `json:"ignoreBudget"`
	IgnoreLabels string     `json:"ignoreLabels,omitempty"` // selects pods that may stay
	Total        int        `json:"total"`                  // pods that were to leave, at most at one time
	Remaining    int        `json:"remaining"`              // pods that have not left yet
	Blocked      int        `json:"blocked"`                // of those, pods that were not told to
}

// DrainNodeRequest is the body of POST /api/nodes/:id/drain.
type DrainNodeRequest struct {
	GraceSeconds   *int   `json:"graceSeconds,omitempty"`   // 0 to 3600; default: each pod's own
	TimeoutSeconds int    `json:"timeoutSeconds,omitempty"` // 0 to 604800; 0 waits for ever
	Force          bool   `json:"force,omitempty"`          // also pods that will not run again
	IgnoreBudget   bool   `json:"ignoreBudget,omitempty"`   // past the disruption budgets of namespaces
	IgnoreLabels   string `json:"ignoreLabels,omitempty"`   // pods that this selects stay
}

// DrainBlock is a pod that a drain has not told to leave, and why.
type DrainBlock struct {
	PodID     string    `json:"podId"`
	PackName  string    `json:"packName"`
	Namespace string    `json:"namespace"`
	Reason    string    `json:"reason"` // BlockedByBudget or BlockedByPolicy
	Message   string    `json:"message"`
	Since     time.Time `json:"since"`
}

// What keeps a drain from telling a pod to leave.
const (
	BlockedByBudget = "DisruptionBudget" // of its namespace
	BlockedByPolicy = "RestartPolicy"    // Never: it would not run again
)

// RegisterNodeRequest is the payload of node:register and the body of POST /api/nodes.
type RegisterNodeRequest struct {
	// ID is the id that it gets, and "" a new one. It comes from the server and never
	// from a body: asked for twice, it is made once.
	ID string `json:"-"`

	Name         string            `json:"name"`
	RuntimeType  RuntimeType       `json:"runtimeType"`
	Capabilities Capabilities      `json:"capabilities,omitzero"`
	Allocatable  *Capacity         `json:"allocatable,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Taints       []Taint           `json:"taints,omitempty"`
	Namespaces   []string          `json:"namespaces,omitempty"`
}

// UpdateNodeRequest is the body of PATCH /api/nodes/:id; absent fields stay.
type UpdateNodeRequest struct {
	Labels        map[string]string `json:"labels,omitzero"`
	Annotations   map[string]string `json:"annotations,omitzero"`
	Taints        *[]Taint          `json:"taints,omitempty"`
	Unschedulable *bool             `json:"unschedulable,omitempty"` // false also cancels a drain
	Maintenance   *bool             `json:"maintenance,omitempty"`
	Allocatable   *Capacity         `json:"allocatable,omitempty"`
	Namespaces    *[]string         `json:"namespaces,omitempty"`

	// ResourceVersion makes the change one of this version alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// LeaveNodeRequest is the body of POST /api/nodes/leave.
type LeaveNodeRequest struct {
	ConnectionID string `json:"connectionId"` // on which the node has registered; an older one is none of the node's any more
}

// NodeQuery selects nodes in a list.
type NodeQuery struct {
	PageQuery
	RuntimeType   RuntimeType
	Status        NodeStatus
	Search        string // part of the name
	LabelSelector string
}

// TokenState says whether a join token may still be used, and else why not.
type TokenState string

// The states of a join token.
const (
	TokenActive  TokenState = "active"
	TokenUsed    TokenState = "used" // as often as it may be
	TokenExpired TokenState = "expired"
	TokenRevoked TokenState = "revoked"
)

// JoinToken lets a machine register as a node without a user's session.
type JoinToken struct {
	ID        string            `json:"id"`
	State     TokenState        `json:"state"`
	Token     string            `json:"token,omitempty"` // shown once, when made
	Uses      int               `json:"uses"`            // registrations still allowed
	Labels    map[string]string `json:"labels"`
	Taints    []Taint           `json:"taints"`
	CreatedBy string            `json:"createdBy"`
	CreatedAt time.Time         `json:"createdAt"`
	ExpiresAt time.Time         `json:"expiresAt"`
	RevokedAt *time.Time        `json:"revokedAt,omitempty"`

	// ResourceVersion changes with every change of the row; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// CreateJoinTokenRequest is the body of POST /api/node-tokens.
type CreateJoinTokenRequest struct {
	// ID is the id that it gets, and "" a new one. It comes from the server and never
	// from a body: asked for twice, it is made once.
	ID string `json:"-"`

	TTLSeconds int               `json:"ttlSeconds,omitempty"` // 60 to 604800; default 3600
	Uses       int               `json:"uses,omitempty"`       // 1 to 1000; default 1
	Labels     map[string]string `json:"labels,omitempty"`
	Taints     []Taint           `json:"taints,omitempty"`
}

// Prefixes of the secrets that Stark itself issues.
const (
	JoinTokenPrefix      = "stark_join_"
	NodeCredentialPrefix = "stark_node_"
	TicketPrefix         = "stark_ticket_"
)
