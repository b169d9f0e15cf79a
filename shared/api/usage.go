package api

import "time"

// Figures are what a pod or a node uses at a moment.
type Figures struct {
	CPU    *Millicores `json:"cpu,omitempty"`    // since the sample before; absent where the runtime tells none, as in tabs
	Memory *Mebibytes  `json:"memory,omitempty"` // resident; absent where the runtime tells none, as in tabs
	// LoopDelayMS is the longest delay of the event loop since the sample before,
	// milliseconds; of a node the longest of its pods.
	LoopDelayMS int64     `json:"loopDelayMs"`
	At          time.Time `json:"at"` // when the server got them
}

// PodFigures is one row of `stark pod top`: what a pod uses beside what it asked for.
type PodFigures struct {
	PodID            string    `json:"podId"`
	PackName         string    `json:"packName"`
	PackVersion      string    `json:"packVersion"`
	Namespace        string    `json:"namespace"`
	Status           PodStatus `json:"status"`
	NodeID           string    `json:"nodeId"`
	NodeName         string    `json:"nodeName"`
	Incarnation      int       `json:"incarnation"`
	ResourceRequests Resources `json:"resourceRequests"`
	ResourceLimits   Resources `json:"resourceLimits"`
	Usage            *Figures  `json:"usage,omitempty"` // absent: its node has told none lately
}

// NodeFigures is one row of `stark node top`: what a whole machine uses beside what
// it gives to pods.
type NodeFigures struct {
	NodeID      string      `json:"nodeId"`
	NodeName    string      `json:"nodeName"`
	Status      NodeStatus  `json:"status"`
	RuntimeType RuntimeType `json:"runtimeType"`
	Allocatable Capacity    `json:"allocatable"`
	Usage       *Figures    `json:"usage,omitempty"` // absent: it has told none lately
}

// MaxFigures bounds the rows of one answer about figures.
const MaxFigures = 1000

// UsageQuery selects the pods or nodes whose figures are asked for; the zero value
// selects all that run and the caller may see, at most MaxFigures of them.
type UsageQuery struct {
	Namespace     string // of pods
	PodID         string
	NodeID        string
	LabelSelector string // as in Kubernetes
}

// Validate reports every fault.
func (q *UsageQuery) Validate() error {
	var c checker
	if q.Namespace != "" {
		c.namespaceName("namespace", q.Namespace)
	}
	if q.PodID != "" {
		c.uuid("podId", q.PodID)
	}
	if q.NodeID != "" {
		c.uuid("nodeId", q.NodeID)
	}
	c.selector("labelSelector", q.LabelSelector)
	return c.err()
}
