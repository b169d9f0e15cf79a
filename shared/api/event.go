package api

import (
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// EventKind is what an event is about.
type EventKind string

// The kinds of events.
const (
	EventPod  EventKind = "pod"
	EventNode EventKind = "node"
)

// EventType tells what deserves a look from what is the course of things.
type EventType string

// The types of events, as in Kubernetes.
const (
	EventNormal  EventType = "Normal"
	EventWarning EventType = "Warning"
)

// Event is something that happened to a pod or a node, or the newest decision about a
// pod that waits. Events are never altered; they go after podHistoryRetentionMs.
type Event struct {
	ID             string    `json:"id"`
	Time           time.Time `json:"time"`
	Type           EventType `json:"type"`
	Kind           EventKind `json:"kind"`
	ObjectID       string    `json:"objectId"`
	ObjectName     string    `json:"objectName,omitempty"` // of the node, or of the pack
	Namespace      string    `json:"namespace,omitempty"`
	Action         string    `json:"action"` // as in the history; "waiting" is a decision of the scheduler
	PreviousStatus string    `json:"previousStatus,omitempty"`
	NewStatus      string    `json:"newStatus,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	Message        string    `json:"message,omitempty"`
	NodeID         string    `json:"nodeId,omitempty"` // of a pod
	Incarnation    int       `json:"incarnation,omitempty"`
	Attempt        int       `json:"attempt,omitempty"`
	ActorID        string    `json:"actorId,omitempty"`
}

// ActionWaiting is the action of an event that tells why a pod has no node.
const ActionWaiting = "waiting"

// Judge says whether an event deserves a look.
func (e Event) Judge() EventType {
	switch e.Reason {
	case ReasonCrashLoopBackOff, ReasonRollbackFailed, ReasonStopOverdue, ReasonStopForced, ReasonUnschedulable, ReasonNeverFits:
		return EventWarning
	}
	if e.Action == "condition" {
		kind, rest, _ := strings.Cut(e.Message, " holds")
		if strings.HasSuffix(kind, "Pressure") && !strings.HasPrefix(rest, " no longer") {
			return EventWarning
		}
		return EventNormal
	}
	if e.NewStatus == e.PreviousStatus {
		return EventNormal
	}
	switch e.NewStatus {
	case string(PodFailed), string(PodEvicted), string(PodUnknown), string(NodeSuspect), string(NodeUnhealthy):
		return EventWarning
	case string(NodeOffline):
		if e.Reason == ReasonNodeLost {
			return EventWarning
		}
	}
	return EventNormal
}

// Bounds of EventQuery.
const (
	DefaultEvents = 200
	MaxEvents     = 1000
	DefaultSince  = time.Hour
)

// EventQuery selects events; the zero value selects those of the last hour.
type EventQuery struct {
	Kind      EventKind // "" for both
	ObjectID  string    // of one pod or node
	Namespace string    // of pods; leaves nodes out
	Since     time.Time
	Limit     int  // 1 to MaxEvents; default DefaultEvents
	Oldest    bool // where there are more than Limit, the oldest and not the newest
}

// Validate fills in defaults and reports every fault; now bounds what is asked.
func (q *EventQuery) Validate(now time.Time) error {
	var c checker
	if q.Kind != "" {
		oneOf(&c, "kind", q.Kind, EventPod, EventNode)
	}
	if q.ObjectID != "" {
		c.uuid("objectId", q.ObjectID)
	}
	if q.Namespace != "" {
		c.namespaceName("namespace", q.Namespace)
		if q.Kind == EventNode {
			c.add("namespace", fault.FieldInvalidValue, "nodes are in no namespace")
		}
		q.Kind = EventPod
	}
	if q.Since.IsZero() {
		q.Since = now.Add(-DefaultSince)
	}
	if q.Limit == 0 {
		q.Limit = DefaultEvents
	}
	c.intRange("limit", int64(q.Limit), 1, MaxEvents)
	return c.err()
}
