package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
)

// class is what nodes have in common that differ only in name, labels and room. A
// pod is compared with each class once, however many nodes are of it.
type class struct {
	node   api.Node // one of them; only what makes the class is looked at
	hard   []api.Taint
	soft   []api.Taint
	serves []string // namespaces of others that a private node serves
	nodes  int      // how many are of this class; at 0 the place is free

	// what the pod at hand finds
	refusal filterID
	dislike int32 // PreferNoSchedule taints that it does not tolerate
}

// classOf gives the number of a node's class.
func (x *index) classOf(n *api.Node) int32 {
	key := x.classKey(n)
	if id, ok := x.classIDs[key]; ok {
		x.classes[id].nodes++
		return id
	}
	c := class{node: *n, nodes: 1}
	for _, t := range n.Taints {
		if t.Effect == api.PreferNoSchedule {
			c.soft = append(c.soft, t)
		} else {
			c.hard = append(c.hard, t)
		}
	}
	c.serves = x.served(n)
	id := int32(len(x.classes))
	if free := slices.IndexFunc(x.classes, func(c class) bool { return c.nodes == 0 }); free >= 0 {
		id = int32(free)
		x.classes[id] = c
	} else {
		x.classes = append(x.classes, c)
	}
	x.classIDs[key] = id
	return id
}

func (x *index) leaveClass(id int32, n *api.Node) {
	x.classes[id].nodes--
	if x.classes[id].nodes == 0 {
		delete(x.classIDs, x.classKey(n))
	}
}

// served gives the namespaces that a private node serves: those that it lists and in
// which its owner is more than a viewer.
func (x *index) served(n *api.Node) []string {
	var serves []string
	for _, ns := range n.Namespaces {
		if _, ok := x.members[[2]string{ns, n.RegisteredBy}]; ok && !n.Shared {
			serves = append(serves, ns)
		}
	}
	return serves
}

// classKey tells classes apart.
func (x *index) classKey(n *api.Node) string {
	owner := n.RegisteredBy
	if n.Shared {
		owner = ""
	}
	key := make([]byte, 0, 128)
	text := func(s string) { key = strconv.AppendQuote(key, s) } // quoted, so that no two lists read the same
	list := func(l []string) {
		for _, s := range l {
			text(s)
		}
		key = append(key, ';')
	}
	list([]string{string(n.RuntimeType), n.Capabilities.Version, string(n.Status), owner})
	key = strconv.AppendBool(strconv.AppendBool(key, n.Unschedulable), n.Shared)
	list(n.Capabilities.Features)
	list(x.served(n))
	for _, t := range n.Taints {
		list([]string{t.Key, t.Value, string(t.Effect)})
	}
	return string(key)
}

// judge compares the pod with every class.
func (x *index) judge(q *query) {
	for i := range x.classes {
		c := &x.classes[i]
		if c.nodes == 0 {
			continue
		}
		c.refusal, c.dislike = refusalByKind(q, c), 0
		for _, t := range c.soft {
			if !toleratedBy(q.pod.Tolerations, t) {
				c.dislike++
			}
		}
	}
}

// cordon is the taint as which a cordoned node counts, whether or not it has it.
var cordon = api.Taint{Key: node.TaintUnschedulable, Effect: api.NoSchedule}

// refusalByKind gives the first filter of classes that refuses the pod.
func refusalByKind(q *query, c *class) filterID {
	for f := filterRuntime; f <= filterTaints; f++ {
		if refusedBy(q, c, f) {
			return f
		}
	}
	return noFilter
}

// refusedBy asks one filter of classes.
func refusedBy(q *query, c *class, f filterID) bool {
	n := &c.node
	switch f {
	case filterRuntime:
		return !q.pod.RuntimeTag.Fits(n.RuntimeType)
	case filterRuntimeVersion:
		return !q.demands.recentEnough(n)
	case filterCapabilities:
		return len(q.demands.lacking(n)) > 0
	case filterNodeAccess:
		return !c.admits(q.pod)
	case filterNodeReady:
		return !node.Ready(n.Status)
	case filterUnschedulable:
		return n.Unschedulable && !toleratedBy(q.pod.Tolerations, cordon)
	case filterTaints:
		return slices.ContainsFunc(c.hard, func(t api.Taint) bool { return !toleratedBy(q.pod.Tolerations, t) })
	default: // the node's name is none of a class
		return false
	}
}

func (c *class) admits(p *api.Pod) bool {
	if c.node.Shared || c.node.RegisteredBy != "" && c.node.RegisteredBy == p.CreatedBy {
		return true
	}
	return slices.Contains(c.serves, p.Namespace)
}

// toleratedBy reports whether any toleration lets a pod onto a taint.
func toleratedBy(tolerations []api.Toleration, t api.Taint) bool {
	for i := range tolerations {
		if tolerations[i].Tolerates(t) {
			return true
		}
	}
	return false
}

// whyKind words the refusal of a class.
func whyKind(q *query, c *class, f filterID) string {
	n := &c.node
	switch f {
	case filterRuntimeVersion:
		return fmt.Sprintf("node(s) had an older runtime than %s", q.demands.minVersion)
	case filterCapabilities:
		return fmt.Sprintf("node(s) lacked the capability %s", q.demands.lacking(n)[0])
	case filterNodeReady:
		return notReady(n.Status)
	case filterTaints:
		for _, t := range c.hard {
			if !toleratedBy(q.pod.Tolerations, t) {
				return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)
			}
		}
	default:
	}
	return f.message()
}

func notReady(s api.NodeStatus) string {
	switch s {
	case api.NodeDraining:
		return "node(s) were draining"
	case api.NodeMaintenance:
		return "node(s) were in maintenance"
	case api.NodeOffline:
		return "node(s) were offline"
	default:
		return "node(s) were not ready"
	}
}

// demands is what a pack asks of the runtime, in its metadata.
type demands struct {
	minVersion   string // of Node.js; other runtimes have versions of another kind
	capabilities []string
}

func demandsOf(metadata map[string]any) demands {
	var d demands
	d.minVersion, _ = metadata[api.MetadataMinNodeVersion].(string)
	list, _ := metadata[api.MetadataRequiredCapabilities].([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			d.capabilities = append(d.capabilities, s)
		}
	}
	return d
}

func (d demands) recentEnough(n *api.Node) bool {
	return d.minVersion == "" || n.RuntimeType != api.RuntimeNode ||
		api.CompareVersions(strings.TrimPrefix(n.Capabilities.Version, "v"), strings.TrimPrefix(d.minVersion, "v")) >= 0
}

// lacking gives the capabilities that the node does not have.
func (d demands) lacking(n *api.Node) []string {
	var all []string
	for _, want := range d.capabilities {
		if !slices.Contains(n.Capabilities.Features, want) {
			all = append(all, want)
		}
	}
	return all
}
