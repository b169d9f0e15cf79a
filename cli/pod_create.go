package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// podFlags is everything that `pod create` takes.
type podFlags struct {
	pack, version, namespace          string
	labels, env, nodeSelector         []string
	tolerations, annotations          []string
	files                             []string
	affinity, storage, storageMax     string
	cpu, memory, cpuLimit, memoryMax  string
	restart, isolation, priorityClass string
	node                              string
	place                             placeFlags
	grace, deadline                   int
	replicas                          int
	wait, dryRun                      bool
	timeout                           time.Duration
}

func (a *app) podCreateCommand() *cobra.Command {
	var p podFlags
	cmd := &cobra.Command{
		Use: "create [pack]", Aliases: []string{"run"}, Short: "Run a pack",
		Long: `Run a pack: name, name@version, or the id of a pack version. Without --wait the
command ends as soon as the wish is stored.

Exit codes with --wait: 0 it runs or has succeeded, 1 it has failed, 2 the
scheduler says that no node can take it, 3 the time is up.`,
		Example: "  stark pod create hello --wait\n  stark pod create -f pod.yaml\n  stark pod create greeter@0.1.0 -l app=web --env NAME=World --memory 128Mi --memory-limit 256Mi",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if p.pack != "" {
					return usagef("the pack is given twice: %q and --pack %q", args[0], p.pack)
				}
				p.pack = args[0]
			}
			return a.createPods(cmd, &p)
		},
	}
	p.flags(cmd)
	return cmd
}

func (p *podFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.pack, "pack", "", "the pack, when not given as argument")
	f.StringVarP(&p.version, "ver", "V", "", "version of the pack (default: the latest)")
	f.StringVar(&p.namespace, "namespace", "", "namespace (default: that of \"stark config\", else default)")
	f.StringArrayVarP(&p.labels, "label", "l", nil, "label key=value (repeatable)")
	f.StringArrayVar(&p.annotations, "annotation", nil, "annotation key=value (repeatable)")
	f.StringArrayVarP(&p.files, "file", "f", nil, "make the pods of a file instead, or of stdin for - (repeatable)")
	f.StringVar(&p.affinity, "affinity", "", "file with nodeAffinity, podAffinity and podAntiAffinity, as below spec.affinity of a pod's file")
	f.StringArrayVar(&p.place.near, "pod-affinity", nil, "run near pods: key=value[,...]@label of nodes, such as app=cache@zone (repeatable)")
	f.StringArrayVar(&p.place.away, "anti-affinity", nil, "run away from pods: key=value[,...]@label of nodes, such as app=web@zone (repeatable)")
	f.StringArrayVar(&p.place.spread, "spread", nil, "spread pods with these labels over values of a node label: zone, or zone:2:soft for a difference of 2 as a wish (repeatable)")
	f.StringVar(&p.storage, "storage", "", "storage to reserve, such as 1Gi")
	f.StringVar(&p.storageMax, "storage-limit", "", "storage that it may use")
	f.StringArrayVar(&p.env, "env", nil, "variable NAME=value for the pack (repeatable)")
	f.StringVar(&p.cpu, "cpu", "", "CPU to reserve, such as 500m or 2")
	f.StringVar(&p.memory, "memory", "", "memory to reserve, such as 128Mi")
	f.StringVar(&p.cpuLimit, "cpu-limit", "", "CPU that it may use")
	f.StringVar(&p.memoryMax, "memory-limit", "", "memory that it may use")
	f.StringVar(&p.restart, "restart", "", "restart policy: Always, OnFailure or Never (default OnFailure)")
	f.StringVar(&p.isolation, "isolation", "", "process, or shared with other pods of yours (default process)")
	f.StringArrayVar(&p.nodeSelector, "node-selector", nil, "label key=value that the node must have (repeatable)")
	f.StringArrayVar(&p.tolerations, "toleration", nil, "taint key[=value][:Effect] that the pod tolerates (repeatable)")
	f.StringVar(&p.priorityClass, "priority-class", "", "name of a priority class")
	f.StringVarP(&p.node, "node", "n", "", "run on this node only")
	f.IntVar(&p.grace, "grace", 0, "seconds to stop in (default 30)")
	f.IntVar(&p.deadline, "deadline", 0, "seconds after which it is ended")
	f.IntVarP(&p.replicas, "replicas", "r", 1, "how many pods, 1 to 100")
	f.BoolVar(&p.wait, "wait", false, "wait until it runs")
	f.BoolVar(&p.dryRun, "dry-run", false, "show where it would run, or who would have to leave, and make nothing")
	f.DurationVar(&p.timeout, "timeout", time.Minute, "how long to wait")
}

// request makes the body of the API call and refuses what cannot be meant.
func (p *podFlags) request(cmd *cobra.Command, namespace string) (api.CreatePodRequest, error) {
	r := api.CreatePodRequest{
		Namespace: namespace, PriorityClassName: p.priorityClass,
		RestartPolicy: api.RestartPolicy(p.restart), Isolation: api.Isolation(p.isolation),
	}
	name, version, both := strings.Cut(p.pack, "@")
	switch {
	case p.pack == "":
		return r, usagef("which pack? Give its name")
	case both && p.version != "":
		return r, usagef("the version is given twice: %q and --ver %q", p.pack, p.version)
	case api.ValidID(p.pack):
		r.PackID = p.pack
	default:
		r.PackName, r.PackVersion = name, orDefault(p.version, version)
	}
	var errs [9]error
	r.Labels, errs[0] = parsePairs("--label", p.labels)
	r.Env, errs[1] = parsePairs("--env", p.env)
	r.Tolerations, errs[2] = parseTolerations(p.tolerations)
	r.ResourceRequests, errs[3] = parseResources("--cpu", p.cpu, "--memory", p.memory)
	r.ResourceLimits, errs[4] = parseResources("--cpu-limit", p.cpuLimit, "--memory-limit", p.memoryMax)
	r.Annotations, errs[6] = parsePairs("--annotation", p.annotations)
	errs[7] = addStorage(&r.ResourceRequests, "--storage", p.storage)
	errs[8] = addStorage(&r.ResourceLimits, "--storage-limit", p.storageMax)
	selector, err := parsePairs("--node-selector", p.nodeSelector)
	errs[5] = err
	if err := errors.Join(errs[:]...); err != nil {
		return r, err
	}
	if len(selector) > 0 || p.node != "" {
		r.Scheduling = &api.Scheduling{NodeSelector: selector, NodeName: p.node}
	}
	if p.affinity != "" {
		if err := readAffinity(p.affinity, &r); err != nil {
			return r, err
		}
	}
	if err := p.place.apply(&r); err != nil {
		return r, err
	}
	if cmd.Flags().Changed("grace") {
		r.TerminationGracePeriodSeconds = &p.grace
	}
	if cmd.Flags().Changed("deadline") {
		r.ActiveDeadlineSeconds = &p.deadline
	}
	if p.replicas < 1 || p.replicas > 100 {
		return r, usagef("--replicas %d: want 1 to 100", p.replicas)
	}
	return r, r.Validate()
}

func (a *app) createPods(cmd *cobra.Command, p *podFlags) error {
	requests, err := a.podRequests(cmd, p)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if p.dryRun {
		if len(requests) != 1 {
			return usagef("--dry-run is for one pod: %d are given", len(requests))
		}
		return a.dryRun(ctx, c, requests[0])
	}
	pods := make([]api.Pod, 0, len(requests))
	for _, r := range requests {
		pod, err := c.CreatePod(ctx, r)
		if err != nil {
			if fault.CodeOf(err) == fault.NotFound && strings.Contains(message(err), "pack") {
				err = withHint(fault.New(fault.NotFound, "pack %q not found", wantedPack(r)), "`stark pack list` and `stark pack versions <name>` show what there is")
			}
			if len(pods) > 0 {
				err = fmt.Errorf("%d of %d pods are made: %w", len(pods), len(requests), err)
			}
			return errors.Join(a.created(pods), err)
		}
		pods = append(pods, pod)
	}
	var waited error
	if p.wait {
		begin := time.Now()
		deadline := begin.Add(p.timeout)
		for i := range pods {
			pod, err := a.waitPlaced(ctx, c, pods[i].ID, begin, time.Until(deadline))
			if pod.ID != "" {
				pods[i] = pod
			}
			if err != nil && waited == nil {
				waited = err
			}
		}
	}
	if err := a.created(pods); err != nil {
		return err
	}
	return waited
}

// podRequests gives what is to be made: by the flags, or by files.
func (a *app) podRequests(cmd *cobra.Command, p *podFlags) ([]api.CreatePodRequest, error) {
	if len(p.files) == 0 {
		r, err := p.request(cmd, a.namespace(p.namespace))
		return slices.Repeat([]api.CreatePodRequest{r}, max(p.replicas, 0)), err
	}
	for _, flag := range []string{"pack", "ver", "label", "annotation", "env", "cpu", "memory", "node-selector", "toleration", "affinity", "pod-affinity", "anti-affinity", "spread", "replicas"} {
		if cmd.Flags().Changed(flag) || p.pack != "" {
			return nil, usagef("-f says all of a pod: give no pack and no --%s beside it", flag)
		}
	}
	objects, err := a.readManifests(cmd.Context(), p.files)
	if err != nil {
		return nil, err
	}
	var requests []api.CreatePodRequest
	for _, o := range objects {
		if o.Pod == nil {
			return nil, withHint(fault.New(fault.Validation, "%s: this makes pods alone, and not a %s", o.Where, o.Kind), "`stark apply -f` takes every kind")
		}
		if o.Pod.Namespace == "" {
			o.Pod.Namespace = a.namespace(p.namespace)
		}
		requests = append(requests, *o.Pod)
	}
	return requests, nil
}

// addStorage sets the storage of requests or limits.
func addStorage(r **api.ResourceInput, flag, text string) error {
	if text == "" {
		return nil
	}
	v, err := api.ParseMebibytes(text)
	if err != nil {
		return usagef("%s %q: %w", flag, text, err)
	}
	if *r == nil {
		*r = &api.ResourceInput{}
	}
	(*r).Storage = &v
	return nil
}

// readAffinity reads a file with what stands below spec.affinity.
func readAffinity(name string, r *api.CreatePodRequest) error {
	data, err := os.ReadFile(name) //nolint:gosec // the user names the file
	if err != nil {
		return err
	}
	node, pods, anti, err := manifest.ParseAffinity(name, data)
	if err != nil {
		return err
	}
	if r.Scheduling == nil {
		r.Scheduling = &api.Scheduling{}
	}
	r.Scheduling.NodeAffinity, r.Scheduling.PodAffinity, r.Scheduling.PodAntiAffinity = node, pods, anti
	return nil
}

func wantedPack(r api.CreatePodRequest) string {
	switch {
	case r.PackID != "":
		return r.PackID
	case r.PackVersion != "":
		return r.PackName + "@" + r.PackVersion
	default:
		return r.PackName
	}
}

// created shows new pods: one as itself, several as a list.
func (a *app) created(pods []api.Pod) error {
	switch {
	case len(pods) == 0:
		return nil
	case len(pods) > 1:
		return printList(a, podView(), pods)
	}
	p := pods[0]
	return printOne(a, podView(), p, func(w io.Writer) {
		where := ""
		if node := nodeOf(p); node != "" {
			where = " on " + node
		}
		fmt.Fprintf(w, "pod %s (%s %s) is %s%s\n", p.ID, p.PackName, p.PackVersion, podStatus(p), where)
	})
}

// unplacedGrace is how long a pod may be unschedulable before that is the answer:
// a node that registers at this moment should still count.
const unplacedGrace = 2 * time.Second

// waitPlaced waits until a pod runs or has ended; a pod that no node can take is
// told apart from one that takes long. One that is refused at the first look counts as
// refused since begin, when the caller began to wait for it and others.
func (a *app) waitPlaced(ctx context.Context, c *client.Client, id string, begin time.Time, timeout time.Duration) (api.Pod, error) {
	var refused error
	since := begin // when the scheduler was first seen to refuse it; zero while it does not
	placement := func(v *api.Verdict) error {
		return exitCodeError{exitNotPlaced, withHint(
			fmt.Errorf("pod %s is stored, but has no node: %s: %s", id, v.Reason, v.Message), "see `stark pod explain %s`", id)}
	}
	var last *api.Verdict
	p, err := waitPod(ctx, c, id, timeout, func(p api.Pod) bool {
		if p.Status != api.PodPending {
			since, last = time.Time{}, nil
			return p.Status == api.PodRunning || p.Status.Terminal()
		}
		v, err := c.ExplainPod(ctx, id)
		if err != nil || v == nil || v.Reason == api.ReasonWaitingForNode {
			since, last = time.Time{}, nil
			return false
		}
		last = v
		if since.IsZero() {
			since = time.Now()
		}
		if v.Reason == api.ReasonNeverFits || ((v.Reason == api.ReasonUnschedulable || v.Reason == api.ReasonWaitingForRoom) && time.Since(since) >= unplacedGrace) {
			refused = placement(v)
		}
		return refused != nil
	})
	switch {
	case refused != nil:
		return p, refused
	case err != nil && last != nil && ctx.Err() == nil: // the time is up, and this is why
		return p, placement(last)
	case err != nil:
		return p, err
	case p.Status == api.PodRunning || p.Status == api.PodSucceeded:
		return p, nil
	default:
		return p, withHint(fmt.Errorf("pod %s is %s%s", id, podStatus(p), because(p)), "see `stark pod status %s`", id)
	}
}

func because(p api.Pod) string {
	switch {
	case p.StatusMessage != "":
		return ": " + p.StatusMessage
	case p.LastTermination != nil && p.LastTermination.Message != "":
		return ": " + p.LastTermination.Message
	default:
		return ""
	}
}
