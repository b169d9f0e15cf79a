// Package node holds the rules of a node's health and of what its pods take from
// it. It reads no clock: ages come from the caller, who asks the database.
package node

import (
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Default times of liveness, used where the cluster's configuration has none.
const (
	DefaultHeartbeatInterval = 10 * time.Second
	DefaultHeartbeatTimeout  = 30 * time.Second
	DefaultEvictionTimeout   = 60 * time.Second
)

// Timeouts are the cluster's times of liveness.
type Timeouts struct {
	Interval  time.Duration // between heartbeats
	Heartbeat time.Duration // silence after which a node is unhealthy
	Eviction  time.Duration // further silence after which its pods are given up
}

// TimeoutsOf reads the times from the configuration and fills in the defaults.
func TimeoutsOf(c api.ClusterConfig) Timeouts {
	return Timeouts{
		Interval:  millis(c.HeartbeatIntervalMS, DefaultHeartbeatInterval),
		Heartbeat: millis(c.HeartbeatTimeoutMS, DefaultHeartbeatTimeout),
		Eviction:  millis(c.EvictionTimeoutMS, DefaultEvictionTimeout),
	}
}

func millis(ms int, otherwise time.Duration) time.Duration {
	if ms <= 0 {
		return otherwise
	}
	return time.Duration(ms) * time.Millisecond
}

// Transition is what silence does to a node.
type Transition struct {
	Status      api.NodeStatus // as it should be now
	PodsUnknown bool           // its live pods become unknown
	GiveUp      bool           // its runs are lost and its pods go back or fail
}

// Classify says where a node stands after a silence of the given length.
// Draining and maintenance are an operator's word and survive a lost socket, but
// not the node's death: its pods need somebody to give them up.
func Classify(status api.NodeStatus, silence time.Duration, t Timeouts) Transition {
	switch {
	case status == api.NodeOffline:
		return Transition{Status: api.NodeOffline}
	case silence > t.Heartbeat+t.Eviction:
		return Transition{Status: api.NodeOffline, PodsUnknown: true, GiveUp: true}
	case silence > t.Heartbeat:
		return Transition{Status: api.NodeUnhealthy, PodsUnknown: true}
	default:
		return Transition{Status: status}
	}
}

// OnConnect gives the status of a node that has registered again.
func OnConnect(status api.NodeStatus) api.NodeStatus {
	if status == api.NodeDraining || status == api.NodeMaintenance {
		return status
	}
	return api.NodeOnline
}

// OnDisconnect gives the status of a node whose socket has closed.
func OnDisconnect(status api.NodeStatus) api.NodeStatus {
	if status == api.NodeOnline {
		return api.NodeSuspect
	}
	return status
}

// Ready reports whether a node in this status takes new pods.
func Ready(status api.NodeStatus) bool { return status == api.NodeOnline }
