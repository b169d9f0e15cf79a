package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/core/namespace"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// simCluster is the cluster that "stark sim" plays with.
type simCluster struct {
	scheduler.Snapshot
	live    bool
	drained []string                // node ids
	refused map[string]*api.Verdict // pods that their quota keeps out, by id
	names   map[string]string       // of pods, by id
}

// newSimCluster has what every new cluster has.
func newSimCluster() *simCluster {
	return &simCluster{
		refused: map[string]*api.Verdict{}, names: map[string]string{},
		Snapshot: scheduler.Snapshot{
			Config: api.ClusterConfig{
				SchedulingPolicy: api.PolicySpread, EnablePreemption: true, MaxPodsPerNode: simPods,
				DefaultResourceRequests: api.Resources{CPU: 100, Memory: 128}, DefaultResourceLimits: api.Resources{CPU: 500, Memory: 512},
			},
			Namespaces: []api.Namespace{{Name: "default", Phase: api.NamespaceActive}},
		},
	}
}

// simPods is how many pods a node of a description takes that does not say.
const simPods = 110

// readLive takes in everything of the cluster that the user may see.
func (s *simCluster) readLive(ctx context.Context, c *client.Client) error {
	var err error
	s.live = true
	if s.Config, err = c.ClusterConfig(ctx); err != nil {
		return err
	}
	if s.PriorityClasses, err = c.ListPriorityClasses(ctx); err != nil {
		return err
	}
	var p paging
	if s.Nodes, _, err = collect(p, func(q api.PageQuery) (api.Page[api.Node], error) {
		return c.ListNodes(ctx, api.NodeQuery{PageQuery: q})
	}); err != nil {
		return err
	}
	if s.Pods, _, err = collect(p, func(q api.PageQuery) (api.Page[api.Pod], error) { return c.ListPods(ctx, api.PodQuery{PageQuery: q}) }); err != nil {
		return err
	}
	if s.Namespaces, _, err = collect(p, func(q api.PageQuery) (api.Page[api.Namespace], error) {
		return c.ListNamespaces(ctx, api.NamespaceQuery{PageQuery: q})
	}); err != nil {
		return err
	}
	if s.Packs, _, err = collect(p, func(q api.PageQuery) (api.Page[api.Pack], error) {
		return c.ListPacks(ctx, api.PackQuery{PageQuery: q})
	}); err != nil {
		return err
	}
	return s.readMembers(ctx, c)
}

// readMembers asks about the namespaces that private nodes serve.
func (s *simCluster) readMembers(ctx context.Context, c *client.Client) error {
	asked := map[string]bool{}
	for _, n := range s.Nodes {
		for _, name := range n.Namespaces {
			if n.Shared || asked[name] {
				continue
			}
			asked[name] = true
			members, err := c.ListMembers(ctx, name)
			if err != nil {
				return fmt.Errorf("members of namespace %s, which node %s serves: %w", name, n.Name, err)
			}
			s.Members = append(s.Members, members...)
		}
	}
	return nil
}

// take adds an object of a description, or changes the one of that name.
func (s *simCluster) take(o manifest.Object, fallback string) error {
	if o.Name == "" && o.Kind != manifest.KindPod {
		return need(o)
	}
	switch o.Kind {
	case manifest.KindNamespace:
		ns := api.Namespace{
			Name: o.Name, Phase: api.NamespaceActive, Labels: o.Space.Labels, ResourceQuota: o.Space.ResourceQuota,
			LimitRange: o.Space.LimitRange, DisruptionBudget: o.Space.DisruptionBudget,
		}
		if at := s.space(o.Name); at != nil {
			ns.ResourceUsage = at.ResourceUsage
			*at = ns
			return nil
		}
		s.Namespaces = append(s.Namespaces, ns)
	case manifest.KindPriorityClass:
		for i := range s.PriorityClasses {
			if s.PriorityClasses[i].Name == o.Name {
				s.PriorityClasses[i] = *o.PriorityClass
				return nil
			}
		}
		s.PriorityClasses = append(s.PriorityClasses, *o.PriorityClass)
	case manifest.KindNode:
		return s.takeNode(o)
	default:
		r := *o.Pod
		r.Namespace = orDefault(r.Namespace, fallback)
		return s.takePod(r, o.Where, o.Name)
	}
	return nil
}

func (s *simCluster) space(name string) *api.Namespace {
	for i := range s.Namespaces {
		if s.Namespaces[i].Name == name {
			return &s.Namespaces[i]
		}
	}
	return nil
}

// takeNode adds a node; what its description leaves open is not there.
func (s *simCluster) takeNode(o manifest.Object) error {
	if o.Offer == nil || o.Offer.Allocatable == nil {
		return fault.New(fault.Validation, "%s: status.allocatable is needed: what node %s offers of cpu and memory", o.Where, o.Name)
	}
	n := api.Node{
		Name: o.Name, RuntimeType: api.RuntimeType(orDefault(string(o.Offer.RuntimeType), string(api.RuntimeNode))),
		Labels: o.Node.Labels, Capabilities: o.Offer.Capabilities, Allocatable: capacityOf(o.Offer.Allocatable, o.Offer.Pods),
	}
	if o.Node.Taints != nil {
		n.Taints = *o.Node.Taints
	}
	n.Unschedulable = o.Node.Unschedulable != nil && *o.Node.Unschedulable
	return s.addNode(n)
}

func capacityOf(r *api.ResourceInput, pods *int) api.Capacity {
	c := api.Capacity{Pods: simPods}
	if r.CPU != nil {
		c.CPU = *r.CPU
	}
	if r.Memory != nil {
		c.Memory = *r.Memory
	}
	if r.Storage != nil {
		c.Storage = *r.Storage
	}
	if pods != nil {
		c.Pods = *pods
	}
	return c
}

// addNode adds a node that is online and serves everybody.
func (s *simCluster) addNode(n api.Node) error {
	for _, there := range s.Nodes {
		if there.Name == n.Name {
			return fault.New(fault.Validation, "there are two nodes called %s", n.Name)
		}
	}
	n.ID, n.Status, n.Shared = n.Name, api.NodeOnline, true
	s.Nodes = append(s.Nodes, n)
	return nil
}

// takePod adds a pod as the server would store it: with the defaults of its namespace,
// its priority, and only where the quota has room.
func (s *simCluster) takePod(r api.CreatePodRequest, where, name string) error {
	ns := s.space(r.Namespace)
	if ns == nil {
		return fault.New(fault.Validation, "%s: there is no namespace %s", where, r.Namespace)
	}
	p := api.Pod{
		ID: fmt.Sprintf("sim-%06d", len(s.names)+1), PackName: orDefault(r.PackName, r.PackID), PackVersion: r.PackVersion, RuntimeTag: api.TagUniversal,
		Status: api.PodPending, Incarnation: 1, Namespace: r.Namespace, Labels: r.Labels, Tolerations: r.Tolerations,
		RestartPolicy: api.RestartPolicy(orDefault(string(r.RestartPolicy), string(api.RestartOnFailure))), PriorityClassName: r.PriorityClassName,
	}
	if r.Scheduling != nil {
		p.Scheduling = *r.Scheduling
	}
	if err := s.classify(&p, where); err != nil {
		return err
	}
	if err := s.packOf(&p, r, where); err != nil {
		return err
	}
	var err error
	if p.ResourceRequests, p.ResourceLimits, err = namespace.ApplyLimitRange(ns.LimitRange, s.Config, r.ResourceRequests, r.ResourceLimits); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	s.names[p.ID] = orDefault(name, p.ID)
	if err := namespace.CheckQuota(*ns, p.ResourceRequests); err != nil {
		s.refused[p.ID] = &api.Verdict{PodID: p.ID, Reason: api.ReasonWaitingForQuota, Message: err.Error()}
		p.Status = api.PodStopped // takes part no more
	} else {
		ns.ResourceUsage.CPU += p.ResourceRequests.CPU
		ns.ResourceUsage.Memory += p.ResourceRequests.Memory
		ns.ResourceUsage.Storage += p.ResourceRequests.Storage
		ns.ResourceUsage.Pods++
	}
	s.Pods = append(s.Pods, p)
	return nil
}

// classify gives a pod the priority of its class, or of the default one.
func (s *simCluster) classify(p *api.Pod, where string) error {
	for _, c := range s.PriorityClasses {
		if c.Name == p.PriorityClassName || p.PriorityClassName == "" && c.GlobalDefault {
			p.PriorityClassName, p.Priority = c.Name, c.Value
			return nil
		}
	}
	if p.PriorityClassName != "" {
		return fault.New(fault.Validation, "%s: there is no priority class %s", where, p.PriorityClassName)
	}
	return nil
}

// packOf takes over what the pack asks for. A description has no packs: there, all are
// thought to run everywhere.
func (s *simCluster) packOf(p *api.Pod, r api.CreatePodRequest, where string) error {
	if !s.live {
		return nil
	}
	var found *api.Pack
	for i := range s.Packs {
		k := &s.Packs[i]
		named := r.PackID == k.ID || r.PackName == k.Name && (r.PackVersion == k.Version ||
			(r.PackVersion == "" || r.PackVersion == "latest") && (found == nil || api.CompareVersions(k.Version, found.Version) > 0))
		if named {
			found = k
		}
	}
	if found == nil {
		return fault.New(fault.NotFound, "%s: there is no pack %s %s", where, orDefault(r.PackName, r.PackID), r.PackVersion)
	}
	p.PackID, p.PackName, p.PackVersion, p.RuntimeTag = found.ID, found.Name, found.Version, found.RuntimeTag
	return nil
}

// parseSimNode reads what --add-node says: cpu, memory, storage, pods, name, runtime and
// count, and everything else is a label.
func parseSimNode(text string, made int) ([]api.Node, error) {
	n := api.Node{RuntimeType: api.RuntimeNode, Labels: map[string]string{}, Allocatable: api.Capacity{Pods: simPods}}
	count := 1
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		var err error
		switch {
		case !ok || key == "" || value == "":
			err = fmt.Errorf("%q is not key=value", part)
		case key == "cpu":
			n.Allocatable.CPU, err = api.ParseMillicores(value)
		case key == "memory":
			n.Allocatable.Memory, err = api.ParseMebibytes(value)
		case key == "storage":
			n.Allocatable.Storage, err = api.ParseMebibytes(value)
		case key == "pods":
			if n.Allocatable.Pods, err = strconv.Atoi(value); err == nil && n.Allocatable.Pods < 0 {
				err = fmt.Errorf("pods %d: want 0 or more", n.Allocatable.Pods)
			}
		case key == "count":
			if count, err = strconv.Atoi(value); err == nil && (count < 1 || count > 10_000) {
				err = fmt.Errorf("count %d: want 1 to 10000", count)
			}
		case key == "name":
			n.Name = value
		case key == "runtime":
			if n.RuntimeType = api.RuntimeType(value); n.RuntimeType != api.RuntimeNode && n.RuntimeType != api.RuntimeBrowser {
				err = fmt.Errorf("runtime %q: want node or browser", value)
			}
		default:
			n.Labels[key] = value
		}
		if err != nil {
			return nil, usagef("--add-node %q: %w", text, err)
		}
	}
	if n.Allocatable.CPU == 0 || n.Allocatable.Memory == 0 {
		return nil, usagef("--add-node %q: cpu and memory are needed, such as cpu=4,memory=8Gi", text)
	}
	out := make([]api.Node, count)
	for i := range out {
		out[i] = n
		if n.Name == "" {
			out[i].Name = fmt.Sprintf("new-%d", made+i+1)
		} else if count > 1 {
			out[i].Name = fmt.Sprintf("%s-%d", n.Name, i+1)
		}
	}
	return out, nil
}
