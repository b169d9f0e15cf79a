package api

import (
	"strings"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// Bounds of pods.
const (
	maxGraceSeconds    = 3600
	maxDeadlineSeconds = 365 * 24 * 3600
	maxEnvEntries      = 100
	maxEnvName         = 256
	maxEnvBytes        = 128 << 10 // names and values together
	envReservedPrefix  = "STARK_"
)

// Validate reports every fault. What it leaves empty takes the defaults of the
// namespace and the cluster, which only the database knows.
func (r *CreatePodRequest) Validate() error {
	var c checker
	c.podPack(r)
	if r.Namespace != "" {
		c.namespaceName("namespace", r.Namespace)
	}
	c.labels("labels", r.Labels)
	c.annotations(r.Annotations)
	if r.PriorityClassName != "" {
		c.namespaceName("priorityClassName", r.PriorityClassName)
	}
	c.tolerations("tolerations", r.Tolerations)
	c.resources("resourceRequests", r.ResourceRequests)
	c.resources("resourceLimits", r.ResourceLimits)
	c.ordered("resourceRequests", fault.FieldExceedsLimit, "must not exceed the limit", r.ResourceRequests, r.ResourceLimits)
	c.scheduling("scheduling", r.Scheduling)
	if r.RestartPolicy != "" {
		oneOf(&c, "restartPolicy", r.RestartPolicy, RestartAlways, RestartOnFailure, RestartNever)
	}
	if r.Isolation != "" {
		oneOf(&c, "isolation", r.Isolation, IsolationProcess, IsolationShared)
	}
	c.env("env", r.Env)
	if r.TerminationGracePeriodSeconds != nil {
		c.intRange("terminationGracePeriodSeconds", int64(*r.TerminationGracePeriodSeconds), 0, maxGraceSeconds)
	}
	if r.ActiveDeadlineSeconds != nil {
		c.intRange("activeDeadlineSeconds", int64(*r.ActiveDeadlineSeconds), 1, maxDeadlineSeconds)
	}
	c.metadata("metadata", r.Metadata)
	return c.err()
}

// Validate clamps the page and reports every fault of the filters.
func (q *PodQuery) Validate() error {
	var c checker
	q.PageQuery = q.Normalize()
	q.PackID, q.NodeID = strings.ToLower(q.PackID), strings.ToLower(q.NodeID) // as they are kept
	if q.Namespace != "" {
		c.namespaceName("namespace", q.Namespace)
	}
	if q.PackID != "" {
		c.uuid("packId", q.PackID)
	}
	if q.PackName != "" {
		c.packName("packName", q.PackName)
	}
	if q.NodeID != "" {
		c.uuid("nodeId", q.NodeID)
	}
	if q.Status != "" {
		oneOf(&c, "status", q.Status, PodStatuses...)
	}
	c.selector("labelSelector", q.LabelSelector)
	return c.err()
}

func (c *checker) podPack(r *CreatePodRequest) {
	switch {
	case r.PackID == "" && r.PackName == "":
		c.add("packId", fault.FieldRequired, "packId or packName is required")
	case r.PackID != "" && r.PackName != "":
		c.add("packName", fault.FieldNotAllowed, "must not stand beside packId")
	case r.PackID != "":
		c.uuid("packId", r.PackID)
	default:
		c.packName("packName", r.PackName)
	}
	if r.PackVersion != "" {
		c.semver("packVersion", r.PackVersion)
	}
}

func (c *checker) env(path string, env map[string]string) {
	c.entries(path, len(env), maxEnvEntries)
	size := 0
	for k, v := range env {
		at := path + "." + k
		switch {
		case !validEnvName(k):
			c.add(at, fault.FieldInvalidKeyFormat, "the name must be letters, digits and underscores, and not start with a digit")
		case len(k) > maxEnvName:
			c.add(at, fault.FieldKeyTooLong, "the name must be at most %d characters", maxEnvName)
		case strings.HasPrefix(k, envReservedPrefix):
			c.add(at, fault.FieldReserved, "names that start with %s are Stark's own", envReservedPrefix)
		case strings.ContainsRune(v, 0):
			c.add(at, fault.FieldInvalidValue, "the value must not hold a zero byte")
		}
		size += len(k) + len(v)
	}
	if size > maxEnvBytes {
		c.add(path, fault.FieldTooLarge, "must hold at most %d bytes in all", maxEnvBytes)
	}
}

func (c *checker) tolerations(path string, list []Toleration) {
	c.entries(path, len(list), maxListEntries)
	for i, t := range list {
		c.toleration(index(path, i), t)
	}
}

func (c *checker) toleration(at string, t Toleration) {
	if t.Key != "" && !validLabelKey(t.Key) {
		c.add(at+".key", fault.FieldInvalidFormat, "must be a label key")
	}
	if t.Operator != "" {
		oneOf(c, at+".operator", t.Operator, TolerationEqual, TolerationExists)
	}
	if t.Key == "" && t.Operator != TolerationExists {
		c.add(at+".operator", fault.FieldInvalidValue, "must be Exists where no key is given")
	}
	if t.Operator == TolerationExists && t.Value != "" {
		c.add(at+".value", fault.FieldNotAllowed, "must be absent with operator Exists")
	}
	c.labelValue(at+".value", t.Value)
	if t.Effect != "" {
		oneOf(c, at+".effect", t.Effect, NoSchedule, PreferNoSchedule, NoExecute)
	}
	if t.TolerationSeconds == nil {
		return
	}
	if *t.TolerationSeconds < 0 {
		c.add(at+".tolerationSeconds", fault.FieldInvalidValue, "must not be negative")
	}
	if t.Effect != NoExecute {
		c.add(at+".tolerationSeconds", fault.FieldNotAllowed, "needs effect NoExecute")
	}
}

// RollbackRequest asks for another version of a pod's pack.
type RollbackRequest struct {
	TargetVersion string `json:"targetVersion,omitempty"` // "" is the newest other version of this pod that has run well
	Now           bool   `json:"now,omitempty"`           // stop the present version at once, without waiting for the other
	Reason        string `json:"reason,omitempty"`        // for the history, at most 1,024 characters

	// ResourceVersion makes the change one of this version of the pod alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// maxReason bounds the reason of a rollback, in characters.
const maxReason = 1024

// Validate reports every fault.
func (r *RollbackRequest) Validate() error {
	var c checker
	if r.TargetVersion != "" {
		c.semver("targetVersion", r.TargetVersion)
	}
	if n := utf8.RuneCountInString(r.Reason); n > maxReason {
		c.add("reason", fault.FieldTooLong, "has %d characters, at most %d are allowed", n, maxReason)
	}
	if strings.ContainsRune(r.Reason, 0) {
		c.add("reason", fault.FieldInvalidFormat, "must not contain NUL characters")
	}
	c.resourceVersion(r.ResourceVersion)
	return c.err()
}

// Rollback is the outcome of a RollbackRequest. Unless the pod was pending or is
// replaced at once, the new version is on its way in Pod.Rollout.
type Rollback struct {
	PodID           string `json:"podId"`
	PreviousVersion string `json:"previousVersion"`
	NewVersion      string `json:"newVersion"`
	PackID          string `json:"packId"`
	PackName        string `json:"packName"`
	Pod             Pod    `json:"pod"`
}

// UpdatePodRequest is the body of PATCH /api/pods/:id; absent fields stay. All else of a
// pod is as it was made.
type UpdatePodRequest struct {
	Labels      map[string]string `json:"labels,omitzero"`      // replaces all
	Annotations map[string]string `json:"annotations,omitzero"` // replaces all
	// ResourceVersion makes the change one of this version of the pod alone.
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Validate reports every fault.
func (r *UpdatePodRequest) Validate() error {
	var c checker
	c.labels("labels", r.Labels)
	c.annotations(r.Annotations)
	c.resourceVersion(r.ResourceVersion)
	return c.err()
}
