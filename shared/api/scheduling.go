package api

import "time"

// TaintEffect is what a taint does to pods that do not tolerate it.
type TaintEffect string

// The taint effects, with Kubernetes' meaning.
const (
	NoSchedule       TaintEffect = "NoSchedule"
	PreferNoSchedule TaintEffect = "PreferNoSchedule"
	NoExecute        TaintEffect = "NoExecute"
)

// Taint keeps pods away from a node.
type Taint struct {
	Key       string      `json:"key"`
	Value     string      `json:"value,omitempty"`
	Effect    TaintEffect `json:"effect"`
	TimeAdded *time.Time  `json:"timeAdded,omitempty"`
}

// TolerationOperator relates a toleration to a taint's value.
type TolerationOperator string

// The toleration operators; the empty one means Equal.
const (
	TolerationEqual  TolerationOperator = "Equal"
	TolerationExists TolerationOperator = "Exists"
)

// Toleration lets a pod onto a tainted node.
type Toleration struct {
	Key               string             `json:"key,omitempty"`
	Operator          TolerationOperator `json:"operator,omitempty"`
	Value             string             `json:"value,omitempty"`
	Effect            TaintEffect        `json:"effect,omitempty"`
	TolerationSeconds *int64             `json:"tolerationSeconds,omitempty"`
}

// SelectorOperator relates a label to values.
type SelectorOperator string

// The selector operators; Gt and Lt only for nodes.
const (
	OpIn           SelectorOperator = "In"
	OpNotIn        SelectorOperator = "NotIn"
	OpExists       SelectorOperator = "Exists"
	OpDoesNotExist SelectorOperator = "DoesNotExist"
	OpGt           SelectorOperator = "Gt"
	OpLt           SelectorOperator = "Lt"
)

// Requirement is one condition on labels or fields.
type Requirement struct {
	Key      string           `json:"key"`
	Operator SelectorOperator `json:"operator"`
	Values   []string         `json:"values,omitempty"`
}

// LabelSelector selects by labels; all conditions must hold, none selects all.
type LabelSelector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitempty"`
	MatchExpressions []Requirement     `json:"matchExpressions,omitempty"`
}

// NodeSelectorTerm holds conditions that must all be met by one node.
type NodeSelectorTerm struct {
	MatchExpressions []Requirement `json:"matchExpressions,omitempty"`
	MatchFields      []Requirement `json:"matchFields,omitempty"`
}

// NodeSelector is met by a node that meets any of its terms.
type NodeSelector struct {
	NodeSelectorTerms []NodeSelectorTerm `json:"nodeSelectorTerms"`
}

// PreferredNode raises the score of nodes that meet a term.
type PreferredNode struct {
	Weight     int              `json:"weight"` // 1 to 100
	Preference NodeSelectorTerm `json:"preference"`
}

// NodeAffinity binds a pod to kinds of nodes.
type NodeAffinity struct {
	Required  *NodeSelector   `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
	Preferred []PreferredNode `json:"preferredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// PodAffinityTerm names pods, and the topology within which they are near.
type PodAffinityTerm struct {
	LabelSelector     *LabelSelector `json:"labelSelector,omitempty"`     // absent: no pods, as in Kubernetes; empty: all
	Namespaces        []string       `json:"namespaces,omitempty"`        // with no NamespaceSelector and empty: the pod's own
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"` // namespaces by label, besides Namespaces; empty: all
	TopologyKey       string         `json:"topologyKey"`
}

// WeightedPodAffinityTerm is a wish with a weight of 1 to 100.
type WeightedPodAffinityTerm struct {
	Weight          int             `json:"weight"`
	PodAffinityTerm PodAffinityTerm `json:"podAffinityTerm"`
}

// PodAffinity draws a pod to others, or keeps it away from them.
type PodAffinity struct {
	Required  []PodAffinityTerm         `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
	Preferred []WeightedPodAffinityTerm `json:"preferredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// UnsatisfiableAction says what a spread constraint does where it cannot be met.
type UnsatisfiableAction string

// The actions; the empty one means DoNotSchedule.
const (
	DoNotSchedule  UnsatisfiableAction = "DoNotSchedule"
	ScheduleAnyway UnsatisfiableAction = "ScheduleAnyway" // a wish, for the score
)

// TopologySpreadConstraint spreads the pods that it selects over the values of a
// node label. Only nodes that meet the pod's node selector and affinity count as
// places to spread over.
type TopologySpreadConstraint struct {
	MaxSkew           int                 `json:"maxSkew"` // from 1: how many more pods than the emptiest value may hold
	TopologyKey       string              `json:"topologyKey"`
	WhenUnsatisfiable UnsatisfiableAction `json:"whenUnsatisfiable,omitempty"`
	LabelSelector     *LabelSelector      `json:"labelSelector,omitempty"` // absent: no pods
	MinDomains        *int                `json:"minDomains,omitempty"`    // with fewer values the emptiest counts as holding none
}

// Scheduling is what a pod demands of its node.
type Scheduling struct {
	NodeSelector    map[string]string `json:"nodeSelector,omitempty"`
	NodeName        string            `json:"nodeName,omitempty"` // only this node; taints, room and access still count
	NodeAffinity    *NodeAffinity     `json:"nodeAffinity,omitempty"`
	PodAffinity     *PodAffinity      `json:"podAffinity,omitempty"`
	PodAntiAffinity *PodAffinity      `json:"podAntiAffinity,omitempty"`

	TopologySpreadConstraints []TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
}
