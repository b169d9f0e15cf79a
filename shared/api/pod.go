package api

import "time"

// PodStatus is where a pod stands. The allowed moves are in core/pod.
type PodStatus string

// The pod statuses. Terminal ones never change again.
const (
	PodPending   PodStatus = "pending"   // stored, no node chosen
	PodScheduled PodStatus = "scheduled" // bound to a node, not yet acknowledged as starting
	PodStarting  PodStatus = "starting"  // the node fetches, starts, or waits out a restart back-off
	PodRunning   PodStatus = "running"   // the pack has said that it is ready
	PodStopping  PodStatus = "stopping"  // asked to stop, the node has not yet confirmed
	PodUnknown   PodStatus = "unknown"   // its node is lost for now
	PodSucceeded PodStatus = "succeeded" // terminal: the pack returned
	PodStopped   PodStatus = "stopped"   // terminal: stopped on request
	PodFailed    PodStatus = "failed"    // terminal: ended in error and is not restarted
	PodEvicted   PodStatus = "evicted"   // terminal: removed by the cluster
)

// PodStatuses lists every status in the order of a pod's life.
var PodStatuses = []PodStatus{
	PodPending, PodScheduled, PodStarting, PodRunning, PodStopping, PodUnknown,
	PodSucceeded, PodStopped, PodFailed, PodEvicted,
}

// Terminal reports whether a pod in this status has ended for good.
func (s PodStatus) Terminal() bool {
	switch s {
	case PodSucceeded, PodStopped, PodFailed, PodEvicted:
		return true
	default:
		return false
	}
}

// RestartPolicy says when a node starts an ended run again.
type RestartPolicy string

// The restart policies, with Kubernetes' meaning.
const (
	RestartAlways    RestartPolicy = "Always"
	RestartOnFailure RestartPolicy = "OnFailure" // the default
	RestartNever     RestartPolicy = "Never"
)

// Isolation says what a pod shares with other pods on a Node.js node.
type Isolation string

// The isolations.
const (
	IsolationProcess Isolation = "process" // a host process of its own; the default
	IsolationShared  Isolation = "shared"  // a worker among pods of the same owner and namespace
)

// Reasons that a pod or a run can carry. They are CamelCase words for machines;
// the message beside them is for people.
const (
	ReasonCompleted         = "Completed"
	ReasonError             = "Error"
	ReasonOOMKilled         = "OOMKilled"
	ReasonDeadlineExceeded  = "DeadlineExceeded"
	ReasonEvicted           = "Evicted"
	ReasonPreempted         = "Preempted"
	ReasonNodeLost          = "NodeLost"
	ReasonStopped           = "Stopped"
	ReasonStopOverdue       = "StopOverdue" // its node lives, and has not told the end in time
	ReasonStopForced        = "StopForced"  // a user has ended the pod without its node's word
	ReasonPackLoadError     = "PackLoadError"
	ReasonBundleUnavailable = "BundleUnavailable"
	ReasonCrashLoopBackOff  = "CrashLoopBackOff"
	ReasonRollbackFailed    = "RollbackFailed" // the pod runs on in the version that it had
	ReasonHostCrashed       = "HostCrashed"    // the Node.js process of the pod died from outside or by its own signal
	ReasonAgentRestarted    = "AgentRestarted" // the agent died while the run was alive
	ReasonUnresponsive      = "Unresponsive"   // the event loop stood still for too long
	ReasonUnschedulable     = "Unschedulable"  // no node fits now
	ReasonNeverFits         = "NeverFits"      // no node would fit even if it were empty
	ReasonWaitingForNode    = "WaitingForNode"
	ReasonWaitingForRoom    = "WaitingForRoom"  // a node would take it if others left
	ReasonWaitingForQuota   = "WaitingForQuota" // its namespace's quota is used up; for dry runs, since a real create is refused
)

// Resources is what a pod asks for or may use.
type Resources struct {
	CPU     Millicores `json:"cpu"`
	Memory  Mebibytes  `json:"memory"`
	Storage Mebibytes  `json:"storage,omitempty"`
}

// Pod is the wish that one version of a pack runs in a namespace, and its state.
type Pod struct {
	ID          string     `json:"id"`
	PackID      string     `json:"packId"`
	PackName    string     `json:"packName"`
	PackVersion string     `json:"packVersion"`
	RuntimeTag  RuntimeTag `json:"runtimeTag"`
	NodeID      *string    `json:"nodeId"`
	NodeName    string     `json:"nodeName,omitempty"`

	Status        PodStatus `json:"status"`
	Reason        string    `json:"reason,omitempty"`
	StatusMessage string    `json:"statusMessage,omitempty"`

	Namespace         string            `json:"namespace"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	PriorityClassName string            `json:"priorityClassName,omitempty"`
	Priority          int32             `json:"priority"`
	Tolerations       []Toleration      `json:"tolerations"`
	ResourceRequests  Resources         `json:"resourceRequests"`
	ResourceLimits    Resources         `json:"resourceLimits"`
	Scheduling        Scheduling        `json:"scheduling"`

	RestartPolicy                 RestartPolicy     `json:"restartPolicy"`
	Isolation                     Isolation         `json:"isolation"`
	Env                           map[string]string `json:"env,omitempty"`
	TerminationGracePeriodSeconds int               `json:"terminationGracePeriodSeconds"`
	ActiveDeadlineSeconds         *int              `json:"activeDeadlineSeconds,omitempty"`
	Metadata                      map[string]any    `json:"metadata"`

	Incarnation     int          `json:"incarnation"`               // raised by every move to another node or version
	Restarts        int          `json:"restarts"`                  // attempts of this incarnation, less one
	LastTermination *Termination `json:"lastTermination,omitempty"` // how the newest ended run ended
	StopRequestedAt *time.Time   `json:"stopRequestedAt,omitempty"`
	NominatedNodeID string       `json:"nominatedNodeId,omitempty"` // holds room for this pending pod
	Rollout         *Rollout     `json:"rollout,omitempty"`         // another version on its way
	Eviction        *Eviction    `json:"eviction,omitempty"`        // the order to leave its node

	CreatedBy   string     `json:"createdBy"`
	CreatedAt   time.Time  `json:"createdAt"`
	ScheduledAt *time.Time `json:"scheduledAt,omitempty"`
	StartedAt   *time.Time `json:"startedAt,omitempty"`
	StoppedAt   *time.Time `json:"stoppedAt,omitempty"`
	UpdatedAt   time.Time  `json:"updatedAt"`

	// ResourceVersion changes with every change of the row; it is opaque.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Rollout is the next incarnation of a pod, with another version: it runs beside the
// present one, on the same node, and takes its place when it is ready.
type Rollout struct {
	PackID      string    `json:"packId"`
	PackVersion string    `json:"packVersion"`
	Incarnation int       `json:"incarnation"`
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason,omitempty"` // what the user gave
}

// Eviction is the order to leave its node that a pod was given. The pod stops there
// within its grace; then it is pending again in its next incarnation, and the order is
// gone, or it ends as evicted when its restart policy is Never.
type Eviction struct {
	Reason       string    `json:"reason"` // ReasonEvicted or ReasonPreempted
	Message      string    `json:"message"`
	By           string    `json:"by,omitempty"`           // id of the user behind it
	Preemptor    string    `json:"preemptor,omitempty"`    // id of the pod that gets the room
	GraceSeconds *int      `json:"graceSeconds,omitempty"` // instead of the pod's own
	Since        time.Time `json:"since"`
}

// Termination is how a run ended.
type Termination struct {
	Reason     string    `json:"reason"`
	Message    string    `json:"message,omitempty"`
	ExitCode   *int      `json:"exitCode,omitempty"`
	Signal     string    `json:"signal,omitempty"`
	LastOutput string    `json:"lastOutput,omitempty"` // the end of stdout and stderr, at most MaxLastOutput bytes
	Usage      Usage     `json:"usage"`
	Attempt    int       `json:"attempt"`
	FinishedAt time.Time `json:"finishedAt"`
	// RestartsAt is when the next attempt starts on the same node, by its clock; nil when
	// there is none. While it is ahead the pod waits out its back-off.
	RestartsAt *time.Time `json:"restartsAt,omitempty"`
}

// MaxLastOutput bounds Termination.LastOutput, in bytes.
const MaxLastOutput = 16 << 10

// Usage is what a run has used.
type Usage struct {
	CPUMillis   int64 `json:"cpuMillis"`   // CPU time, milliseconds
	MemoryMiB   int64 `json:"memoryMiB"`   // highest resident memory seen, MiB
	LoopDelayMS int64 `json:"loopDelayMs"` // highest event-loop delay seen, milliseconds
}

// RunKey names one attempt to fulfil a pod. Each key starts at most once.
type RunKey struct {
	PodID       string `json:"podId"`
	Incarnation int    `json:"incarnation"`
	Attempt     int    `json:"attempt"`
}

// RunStatus is where a run stands; it only moves forward.
type RunStatus string

// The run statuses, in order. RunExited and RunLost are terminal.
const (
	RunAssigned RunStatus = "assigned"
	RunStarting RunStatus = "starting"
	RunRunning  RunStatus = "running"
	RunStopping RunStatus = "stopping"
	RunExited   RunStatus = "exited"
	RunLost     RunStatus = "lost" // the node is gone and will not say how the run ended
)

// Run is one attempt to fulfil a pod on a node.
type Run struct {
	RunKey
	NodeID      string       `json:"nodeId"`
	PackID      string       `json:"packId"`
	Status      RunStatus    `json:"status"`
	Termination *Termination `json:"termination,omitempty"`
	CreatedAt   time.Time    `json:"createdAt"`
	StartedAt   *time.Time   `json:"startedAt,omitempty"`
	ReadyAt     *time.Time   `json:"readyAt,omitempty"`
	FinishedAt  *time.Time   `json:"finishedAt,omitempty"`
}

// PodAction is what a history entry records.
type PodAction string

// The pod actions.
const (
	ActionCreated    PodAction = "created"
	ActionScheduled  PodAction = "scheduled"
	ActionStarted    PodAction = "started"
	ActionReady      PodAction = "ready"
	ActionStopped    PodAction = "stopped"
	ActionSucceeded  PodAction = "succeeded"
	ActionFailed     PodAction = "failed"
	ActionRestarted  PodAction = "restarted"
	ActionRolledBack PodAction = "rolled_back"
	ActionEvicted    PodAction = "evicted"
	ActionUpdated    PodAction = "updated"
	ActionDeleted    PodAction = "deleted"
)

// PodHistoryEntry records one change of a pod; entries are never altered.
type PodHistoryEntry struct {
	ID              string         `json:"id"`
	PodID           string         `json:"podId"`
	Action          PodAction      `json:"action"`
	ActorID         string         `json:"actorId,omitempty"`
	PreviousStatus  PodStatus      `json:"previousStatus,omitempty"`
	NewStatus       PodStatus      `json:"newStatus,omitempty"`
	PreviousVersion string         `json:"previousVersion,omitempty"`
	NewVersion      string         `json:"newVersion,omitempty"`
	PreviousNodeID  string         `json:"previousNodeId,omitempty"`
	NewNodeID       string         `json:"newNodeId,omitempty"`
	Incarnation     int            `json:"incarnation"`
	Attempt         int            `json:"attempt,omitempty"`
	Reason          string         `json:"reason,omitempty"`
	Message         string         `json:"message,omitempty"`
	Metadata        map[string]any `json:"metadata"`
	Timestamp       time.Time      `json:"timestamp"`
}

// CreatePodRequest is the body of POST /api/pods. Exactly one of PackID and
// PackName must be set; an absent version means the latest by semver.
type CreatePodRequest struct {
	// ID is the id that the pod gets, and "" a new one. It comes from the server and
	// never from a body: asked for twice, the pod is made once.
	ID                            string            `json:"-"`
	PackID                        string            `json:"packId,omitempty"`
	PackName                      string            `json:"packName,omitempty"`
	PackVersion                   string            `json:"packVersion,omitempty"`
	Namespace                     string            `json:"namespace,omitempty"`
	Labels                        map[string]string `json:"labels,omitempty"`
	Annotations                   map[string]string `json:"annotations,omitempty"`
	PriorityClassName             string            `json:"priorityClassName,omitempty"`
	Tolerations                   []Toleration      `json:"tolerations,omitempty"`
	ResourceRequests              *ResourceInput    `json:"resourceRequests,omitempty"`
	ResourceLimits                *ResourceInput    `json:"resourceLimits,omitempty"`
	Scheduling                    *Scheduling       `json:"scheduling,omitempty"`
	RestartPolicy                 RestartPolicy     `json:"restartPolicy,omitempty"`
	Isolation                     Isolation         `json:"isolation,omitempty"`
	Env                           map[string]string `json:"env,omitempty"`
	TerminationGracePeriodSeconds *int              `json:"terminationGracePeriodSeconds,omitempty"`
	ActiveDeadlineSeconds         *int              `json:"activeDeadlineSeconds,omitempty"`
	Metadata                      map[string]any    `json:"metadata,omitempty"`
}

// ResourceInput is Resources as a caller gives them: an absent figure takes the
// namespace's or the cluster's default.
type ResourceInput struct {
	CPU     *Millicores `json:"cpu,omitempty"`
	Memory  *Mebibytes  `json:"memory,omitempty"`
	Storage *Mebibytes  `json:"storage,omitempty"`
}

// PodQuery selects pods in a list; the zero value selects all.
type PodQuery struct {
	PageQuery
	Namespace     string
	PackID        string
	PackName      string
	NodeID        string
	Status        PodStatus
	LabelSelector string // Kubernetes syntax: equality and set-based
}

// Verdict says why a pod has no node.
type Verdict struct {
	PodID    string        `json:"podId"`
	Reason   string        `json:"reason"` // one of the reasons Unschedulable, NeverFits and WaitingFor...
	Message  string        `json:"message"`
	Nodes    []NodeRefusal `json:"nodes,omitempty"` // nearest miss first, at most 50
	PlanTime time.Time     `json:"planTime"`
	// Change is the smallest change that would let the pod fit, as far as one is known.
	Change string `json:"change,omitempty"`
}

// Explanation is what the scheduler thinks of a pod: why it has no node, or how the
// nodes compare that could take it.
type Explanation struct {
	PodID      string      `json:"podId"`
	NodeID     string      `json:"nodeId,omitempty"` // where it is, or would be placed now
	NodeName   string      `json:"nodeName,omitempty"`
	Verdict    *Verdict    `json:"verdict,omitempty"`    // nil when a node takes it
	Candidates []Candidate `json:"candidates,omitempty"` // nodes that fit, best first, at most 50
	Victims    []Victim    `json:"victims,omitempty"`    // pods that would have to go
}

// Candidate is a node that fits a pod, with its score of 0 to 100.
type Candidate struct {
	NodeID   string      `json:"nodeId"`
	NodeName string      `json:"nodeName"`
	Score    int         `json:"score"`
	Parts    []ScorePart `json:"parts"`
}

// ScorePart is what one scorer gives to a node.
type ScorePart struct {
	Name   string `json:"name"`
	Score  int    `json:"score"` // 0 to 100
	Weight int    `json:"weight"`
}

// Victim is a pod that makes room for one of higher priority.
type Victim struct {
	PodID     string `json:"podId"`
	Namespace string `json:"namespace"`
	Priority  int32  `json:"priority"`
}

// NodeRefusal is the first filter that refused a node, with its numbers.
type NodeRefusal struct {
	NodeID   string `json:"nodeId"`
	NodeName string `json:"nodeName"`
	Filter   string `json:"filter"`
	Message  string `json:"message"`
	Asked    int64  `json:"asked,omitempty"`
	Free     int64  `json:"free,omitempty"`
}
