// Package manifest reads what users write in files: pods, namespaces, priority classes
// and nodes in the shape that Kubernetes has, several in one file. It knows where in the
// file everything stands, so that every fault names line and column. It does no I/O and
// asks no server.
package manifest

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/stark-orchestrator/stark/shared/api"
)

// The kinds of objects, in the order in which they are applied.
const (
	KindNamespace     = "Namespace"
	KindPriorityClass = "PriorityClass"
	KindNode          = "Node"
	KindPod           = "Pod"
)

// Kinds lists the kinds in the order in which they are applied.
var Kinds = []string{KindNamespace, KindPriorityClass, KindNode, KindPod}

// Labels and annotations by which applied objects are known again.
const (
	NameLabel   = "stark.io/name"         // metadata.name of a pod
	LastApplied = "stark.io/last-applied" // the document as it was applied, as JSON
)

// Object is one document of a file; the field of its kind is set.
type Object struct {
	Kind      string
	Name      string
	Namespace string // of a pod; "" when the document names none
	Where     string // file:line
	Document  map[string]any

	Pod           *api.CreatePodRequest
	Space         *api.CreateNamespaceRequest
	PriorityClass *api.PriorityClass
	Node          *api.UpdateNodeRequest
	Offer         *NodeOffer // what a node of ParseCluster offers
}

// NodeOffer is what a node says of itself when it registers. Only a description of a
// whole cluster gives it.
type NodeOffer struct {
	Allocatable  *api.ResourceInput `json:"allocatable,omitempty"`
	Pods         *int               `json:"pods,omitempty"` // how many it takes; default 110
	RuntimeType  api.RuntimeType    `json:"runtimeType,omitempty"`
	Capabilities api.Capabilities   `json:"capabilities,omitzero"`
}

// String names the object as kubectl does.
func (o Object) String() string { return strings.ToLower(o.Kind) + "/" + o.Name }

// Applied is the document as it is kept in the annotation.
func (o Object) Applied() string {
	data, err := json.Marshal(o.Document)
	if err != nil {
		return "{}" // never: it was made from JSON
	}
	return string(data)
}

type meta struct {
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type header struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	Metadata   meta   `json:"metadata"`
}

type podDocument struct {
	header
	Spec podSpec `json:"spec"`
}

type podSpec struct {
	Pack                          string                         `json:"pack"` // name, name@version, or id
	Version                       string                         `json:"version,omitempty"`
	Env                           environment                    `json:"env,omitempty"`
	Resources                     resources                      `json:"resources,omitzero"`
	RestartPolicy                 api.RestartPolicy              `json:"restartPolicy,omitempty"`
	Isolation                     api.Isolation                  `json:"isolation,omitempty"`
	PriorityClassName             string                         `json:"priorityClassName,omitempty"`
	TerminationGracePeriodSeconds *int                           `json:"terminationGracePeriodSeconds,omitempty"`
	ActiveDeadlineSeconds         *int                           `json:"activeDeadlineSeconds,omitempty"`
	NodeSelector                  map[string]string              `json:"nodeSelector,omitempty"`
	NodeName                      string                         `json:"nodeName,omitempty"`
	Tolerations                   []api.Toleration               `json:"tolerations,omitempty"`
	Affinity                      affinity                       `json:"affinity,omitzero"`
	TopologySpreadConstraints     []api.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	Metadata                      map[string]any                 `json:"metadata,omitempty"`
}

type resources struct {
	Requests *api.ResourceInput `json:"requests,omitempty"`
	Limits   *api.ResourceInput `json:"limits,omitempty"`
}

type affinity struct {
	NodeAffinity    *api.NodeAffinity `json:"nodeAffinity,omitempty"`
	PodAffinity     *api.PodAffinity  `json:"podAffinity,omitempty"`
	PodAntiAffinity *api.PodAffinity  `json:"podAntiAffinity,omitempty"`
}

// environment is a map, or a list of names and values as in Kubernetes.
type environment map[string]string

// UnmarshalJSON reads both shapes.
func (e *environment) UnmarshalJSON(data []byte) error {
	if !strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
		return json.Unmarshal(data, (*map[string]string)(e))
	}
	var list []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	*e = environment{}
	for _, v := range list {
		(*e)[v.Name] = v.Value
	}
	return nil
}

func (d *podDocument) object(o *Object) error {
	r := &api.CreatePodRequest{
		Namespace: d.Metadata.Namespace, Labels: maps.Clone(d.Metadata.Labels), Annotations: maps.Clone(d.Metadata.Annotations),
		PackVersion: d.Spec.Version, Env: d.Spec.Env, ResourceRequests: d.Spec.Resources.Requests, ResourceLimits: d.Spec.Resources.Limits,
		RestartPolicy: d.Spec.RestartPolicy, Isolation: d.Spec.Isolation, PriorityClassName: d.Spec.PriorityClassName,
		TerminationGracePeriodSeconds: d.Spec.TerminationGracePeriodSeconds, ActiveDeadlineSeconds: d.Spec.ActiveDeadlineSeconds,
		Tolerations: d.Spec.Tolerations, Metadata: d.Spec.Metadata,
		Scheduling: &api.Scheduling{
			NodeSelector: d.Spec.NodeSelector, NodeName: d.Spec.NodeName, NodeAffinity: d.Spec.Affinity.NodeAffinity,
			PodAffinity: d.Spec.Affinity.PodAffinity, PodAntiAffinity: d.Spec.Affinity.PodAntiAffinity,
			TopologySpreadConstraints: d.Spec.TopologySpreadConstraints,
		},
	}
	name, version, both := strings.Cut(d.Spec.Pack, "@")
	switch {
	case d.Spec.Pack == "":
		return api.InvalidField("spec.pack", "REQUIRED", "is required: the name of a pack, name@version, or an id")
	case both && d.Spec.Version != "":
		return api.InvalidField("spec.version", "NOT_ALLOWED", "is given twice: spec.pack names a version too")
	case api.ValidID(d.Spec.Pack):
		r.PackID = d.Spec.Pack
	default:
		r.PackName = name
		if both {
			r.PackVersion = version
		}
	}
	if d.Metadata.Name != "" {
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[NameLabel] = d.Metadata.Name
	}
	o.Pod = r
	return r.Validate()
}

type namespaceDocument struct {
	header
	Spec struct {
		ResourceQuota    *api.ResourceQuota    `json:"resourceQuota,omitempty"`
		LimitRange       *api.LimitRange       `json:"limitRange,omitempty"`
		DisruptionBudget *api.DisruptionBudget `json:"disruptionBudget,omitempty"`
	} `json:"spec,omitzero"`
}

func (d *namespaceDocument) object(o *Object) error {
	o.Space = &api.CreateNamespaceRequest{
		Name: d.Metadata.Name, Labels: d.Metadata.Labels, Annotations: d.Metadata.Annotations,
		ResourceQuota: d.Spec.ResourceQuota, LimitRange: d.Spec.LimitRange, DisruptionBudget: d.Spec.DisruptionBudget,
	}
	if api.ReservedNamespace(d.Metadata.Name) { // it is there, and may be changed
		r := api.UpdateNamespaceRequest{Labels: d.Metadata.Labels, Annotations: d.Metadata.Annotations, LimitRange: d.Spec.LimitRange}
		return r.Validate()
	}
	return o.Space.Validate()
}

type classDocument struct {
	header
	Value            int32                `json:"value"`
	GlobalDefault    bool                 `json:"globalDefault,omitempty"`
	PreemptionPolicy api.PreemptionPolicy `json:"preemptionPolicy,omitempty"`
	Description      string               `json:"description,omitempty"`
}

func (d *classDocument) object(o *Object) error {
	o.PriorityClass = &api.PriorityClass{
		Name: d.Metadata.Name, Value: d.Value, GlobalDefault: d.GlobalDefault, PreemptionPolicy: d.PreemptionPolicy, Description: d.Description,
	}
	return o.PriorityClass.Validate()
}

type nodeDocument struct {
	header
	Spec struct {
		Taints        *[]api.Taint `json:"taints,omitempty"`
		Unschedulable *bool        `json:"unschedulable,omitempty"`
		Maintenance   *bool        `json:"maintenance,omitempty"`
	} `json:"spec,omitzero"`
	Status *NodeOffer `json:"status,omitempty"`
}

func (d *nodeDocument) object(o *Object) error {
	o.Offer = d.Status
	o.Node = &api.UpdateNodeRequest{
		Labels: d.Metadata.Labels, Annotations: d.Metadata.Annotations,
		Taints: d.Spec.Taints, Unschedulable: d.Spec.Unschedulable, Maintenance: d.Spec.Maintenance,
	}
	return o.Node.Validate()
}

// document is what a file holds of one kind.
type document interface {
	object(o *Object) error
}

// documents makes an empty document of each kind.
var documents = map[string]func() document{
	KindPod:           func() document { return &podDocument{} },
	KindNamespace:     func() document { return &namespaceDocument{} },
	KindPriorityClass: func() document { return &classDocument{} },
	KindNode:          func() document { return &nodeDocument{} },
}

// inFile gives the path in a document of a field of the API's request.
func inFile(kind, field string) string {
	moved := [][2]string{
		{"labels", "metadata.labels"}, {"annotations", "metadata.annotations"}, {"name", "metadata.name"}, {"namespace", "metadata.namespace"},
	}
	if kind == KindPod {
		moved = append(moved, [][2]string{
			{"packName", "spec.pack"},
			{"packId", "spec.pack"},
			{"packVersion", "spec.version"},
			{"resourceRequests", "spec.resources.requests"},
			{"resourceLimits", "spec.resources.limits"},
			{"scheduling.nodeAffinity", "spec.affinity.nodeAffinity"},
			{"scheduling.podAffinity", "spec.affinity.podAffinity"},
			{"scheduling.podAntiAffinity", "spec.affinity.podAntiAffinity"},
			{"scheduling", "spec"},
		}...)
	}
	for _, m := range moved {
		if rest, ok := strings.CutPrefix(field, m[0]); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return m[1] + rest
		}
	}
	if kind == KindPriorityClass || strings.HasPrefix(field, "spec.") || strings.HasPrefix(field, "metadata.") {
		return field
	}
	return "spec." + field
}
