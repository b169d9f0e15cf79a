package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// simFlags is everything that `sim` takes.
type simFlags struct {
	files, addPods, addNodes   []string
	drain, cordon, removeNodes []string
	policy                     string
	live                       bool
}

var simPolicies = []api.SchedulingPolicy{api.PolicySpread, api.PolicyBinpack, api.PolicyLeastLoaded, api.PolicyAffinity, api.PolicyRandom}

// simPod is what becomes of one pod.
type simPod struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Namespace string       `json:"namespace"`
	Priority  int32        `json:"priority"`
	Outcome   string       `json:"outcome"` // placed, moved, ended or waiting
	From      string       `json:"from,omitempty"`
	Node      string       `json:"node,omitempty"`
	Score     int          `json:"score,omitempty"`
	Preemptor string       `json:"preemptor,omitempty"` // the pod for which it had to leave
	Reason    string       `json:"reason,omitempty"`
	Message   string       `json:"message,omitempty"`
	Change    string       `json:"change,omitempty"` // the smallest that would let it fit
	Explain   []simRefusal `json:"explain,omitempty"`
}

// simRefusal is why one node does not take a pod.
type simRefusal struct {
	Node    string `json:"node"`
	Filter  string `json:"filter"`
	Message string `json:"message"`
}

// simResult is the answer of `sim`.
type simResult struct {
	Nodes   int      `json:"nodes"`
	Pods    []simPod `json:"pods"`
	Waiting int      `json:"waiting"`
}

func (a *app) simCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use: "sim", Short: "Play through where pods would run",
		Long: `Play through where pods would run, with the scheduler's own planner: on a cluster
that files describe, on the live one, or on the live one with changes. Nothing is
changed anywhere.

A file holds nodes, pods, namespaces and priority classes as "stark apply" takes
them; a node also has a status with what it offers:

  kind: Node
  metadata: {name: a, labels: {zone: west}}
  status: {allocatable: {cpu: "4", memory: 8Gi}, pods: 20}

--add-node takes cpu, memory, storage, pods, name, runtime and count; every other
key is a label. Pods of a drained or removed node look for another. Victims of
preemption are planned again themselves. Shown are the pods that waited, came, or
had to leave; those that stay where they are are not.

With --live it needs a role that reads the settings of the cluster, as operators and
admins do; for one pod of your own, stark pod create --dry-run says where it would go.
Quotas count, those of single priority classes do not; budgets do for preemption, and
not for drains.

Exit codes: 0 every pod has a place, 1 error, 2 a pod has to wait.`,
		Example: "  stark sim -f cluster.yaml\n  stark sim --live --drain worker-3\n  stark sim --live --add-pod big.yaml --add-node cpu=8,memory=16Gi,zone=east,count=2\n  stark sim -f cluster.yaml --policy binpack -o json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.simulate(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "description of the cluster, or - for stdin (repeatable)")
	flags.BoolVar(&f.live, "live", false, "begin with the cluster as it is")
	flags.StringArrayVar(&f.addPods, "add-pod", nil, "file with pods that come (repeatable)")
	flags.StringArrayVar(&f.addNodes, "add-node", nil, "node that comes, such as cpu=4,memory=8Gi,zone=west (repeatable)")
	flags.StringArrayVar(&f.drain, "drain", nil, "node that is drained, by name or id (repeatable)")
	flags.StringArrayVar(&f.cordon, "cordon", nil, "node that takes no new pods, by name or id (repeatable)")
	flags.StringArrayVar(&f.removeNodes, "remove-node", nil, "node that is gone, by name or id (repeatable)")
	flags.StringVar(&f.policy, "policy", "", "scheduling policy: spread, binpack, least_loaded, affinity or random (default: the cluster's, else spread)")
	cmd.AddCommand(a.simAgentsCommand())
	return cmd
}

func (a *app) simulate(ctx context.Context, f simFlags) error {
	if !f.live && len(f.files) == 0 {
		return usagef("what cluster? Give --live, or a description with -f")
	}
	s := newSimCluster()
	if f.live {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := s.readLive(ctx, c); err != nil {
			return err
		}
	}
	if err := a.changeSim(ctx, s, f); err != nil {
		return err
	}
	r := s.play(time.Now())
	err := printOne(a, view[simResult]{kind: "sim", id: func(simResult) string { return "result" }}, r, func(w io.Writer) { describeSim(w, r) })
	if err == nil && r.Waiting > 0 {
		err = exitCodeError{exitNotPlaced, fmt.Errorf("%d of %d pods have no place", r.Waiting, len(r.Pods))}
	}
	return err
}

// changeSim makes the changes, in the order in which they depend on one another.
func (a *app) changeSim(ctx context.Context, s *simCluster, f simFlags) error {
	if f.policy != "" {
		if !slices.Contains(simPolicies, api.SchedulingPolicy(f.policy)) {
			return usagef("--policy %q: want one of %v", f.policy, simPolicies)
		}
		s.Config.SchedulingPolicy = api.SchedulingPolicy(f.policy)
	}
	objects, err := a.readSim(ctx, append(append([]string{}, f.files...), f.addPods...))
	if err != nil {
		return err
	}
	for _, kind := range manifest.Kinds { // pods come last: they ask about the others
		for _, o := range objects {
			if o.Kind != kind {
				continue
			}
			if err := s.take(o, orDefault(a.namespace(""), orDefault(s.Config.DefaultNamespace, "default"))); err != nil {
				return err
			}
		}
	}
	made := 0
	for _, text := range f.addNodes {
		nodes, err := parseSimNode(text, made)
		if err != nil {
			return err
		}
		made += len(nodes)
		for _, n := range nodes {
			if err := s.addNode(n); err != nil {
				return err
			}
		}
	}
	return s.changeNodes(f)
}

func (a *app) readSim(ctx context.Context, files []string) ([]manifest.Object, error) {
	var all []manifest.Object
	var faults []error
	for _, name := range files {
		data, err := a.readFile(ctx, name)
		if err != nil {
			return nil, err
		}
		objects, err := manifest.ParseCluster(orDefault(map[bool]string{true: "stdin"}[name == "-"], name), data)
		all, faults = append(all, objects...), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fault.Wrap(err, fault.Validation, "%s", err)
	}
	return all, nil
}

// changeNodes drains, cordons and removes. A node that is removed is one that is drained
// and seen by nobody.
func (s *simCluster) changeNodes(f simFlags) error {
	for _, change := range []struct {
		names []string
		do    func(n *api.Node)
	}{
		{f.cordon, func(n *api.Node) { n.Unschedulable = true }},
		{f.drain, func(n *api.Node) { s.drained = append(s.drained, n.ID) }},
		{f.removeNodes, func(n *api.Node) {
			s.drained = append(s.drained, n.ID)
			n.Status = api.NodeOffline
		}},
	} {
		for _, name := range change.names {
			n, err := s.node(name)
			if err != nil {
				return err
			}
			change.do(n)
		}
	}
	return nil
}

func (s *simCluster) node(key string) (*api.Node, error) {
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Name == key || n.ID == key {
			return n, nil
		}
	}
	return nil, fault.New(fault.NotFound, "there is no node %s", key)
}

// play asks the planner and words the answer.
func (s *simCluster) play(now time.Time) simResult {
	r := simResult{Nodes: len(s.Nodes), Pods: []simPod{}}
	for i := range s.Pods { // who comes has not waited yet, and comes behind those that do
		if p := &s.Pods[i]; p.CreatedAt.IsZero() {
			p.CreatedAt = now
		}
	}
	for _, f := range scheduler.Simulate(s.Snapshot, s.drained, now) {
		p := simPod{
			ID: f.Pod.ID, Name: s.name(f.Pod), Namespace: f.Pod.Namespace, Priority: f.Pod.Priority,
			From: f.From, Node: f.Node, Score: f.Score, Preemptor: f.Preemptor, Outcome: outcomeOf(f),
		}
		p.verdict(f.Verdict)
		r.add(p)
	}
	for _, p := range s.Pods {
		if v := s.refused[p.ID]; v != nil {
			q := simPod{ID: p.ID, Name: s.name(p), Namespace: p.Namespace, Priority: p.Priority, Outcome: "waiting"}
			q.verdict(v)
			r.add(q)
		}
	}
	return r
}

func (r *simResult) add(p simPod) {
	if p.Outcome == "waiting" {
		r.Waiting++
	}
	r.Pods = append(r.Pods, p)
}

func outcomeOf(f scheduler.Fate) string {
	switch {
	case f.Ends:
		return "ended"
	case f.Node == "":
		return "waiting"
	case f.From != "":
		return "moved"
	default:
		return "placed"
	}
}

func (p *simPod) verdict(v *api.Verdict) {
	if v == nil {
		return
	}
	p.Reason, p.Message, p.Change = v.Reason, v.Message, v.Change
	for _, n := range v.Nodes {
		p.Explain = append(p.Explain, simRefusal{n.NodeName, n.Filter, n.Message})
	}
}

// name is what people call a pod: as its file does, else by its id.
func (s *simCluster) name(p api.Pod) string {
	if n, ok := s.names[p.ID]; ok {
		return n
	}
	return orDefault(p.Labels[manifest.NameLabel], p.ID)
}

func describeSim(w io.Writer, r simResult) {
	if len(r.Pods) == 0 {
		fmt.Fprintln(w, "No pod waits, comes or has to leave.")
		return
	}
	names := map[string]string{}
	for _, p := range r.Pods {
		names[p.ID] = p.Name
	}
	fmt.Fprintln(w, "POD\tNAMESPACE\tPRIORITY\tOUTCOME\tFROM\tNODE\tSCORE\tWHY")
	for _, p := range r.Pods {
		why, score := clean(p.Message), "-"
		if p.Change != "" {
			why += " To fit: " + clean(p.Change) + "."
		}
		if p.Node != "" {
			score = strconv.Itoa(p.Score)
		}
		if p.Preemptor != "" {
			why = "left for " + clean(orDefault(names[p.Preemptor], p.Preemptor)) + map[bool]string{true: ". " + why}[why != ""]
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", clean(p.Name), clean(p.Namespace), p.Priority, p.Outcome,
			orDefault(clean(p.From), "-"), orDefault(clean(p.Node), "-"), score, orDefault(why, "-"))
	}
}
