package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	// waitedAtOnce bounds the connections of one `stark wait`.
	waitedAtOnce = 32
	// longWait is what a negative --timeout means, as for kubectl.
	longWait = 7 * 24 * time.Hour
)

// waitFlags are those of `stark wait`.
type waitFlags struct {
	goal      string
	timeout   time.Duration
	selector  string
	namespace string
	all       bool
}

func (a *app) waitCommand() *cobra.Command {
	w := waitFlags{timeout: time.Minute}
	cmd := &cobra.Command{
		Use: "wait <pod/id | node/name | pods | nodes>...", Short: "Wait until pods or nodes are in a state",
		Long: `Wait until every named pod or node is in a state. A pod is named pod/<id>, as
` + "`-o name`" + ` prints it, or by the id alone; a node is named node/<name>. The words pods
and nodes stand for those that -l or --all selects when the command starts.

--for takes:
  condition=<type>[=<value>]  of pods ` + strings.Join(podConditions, ", ") + `; of nodes
                              Ready and what they report, such as DiskPressure;
                              the value is true when it is not given, or false, unknown
  delete                      it is gone
  jsonpath=<path>[=<value>]   a field of what -o json shows has that value, or any,
                              such as jsonpath='{.status}'=running
  <status>                    of pods ` + strings.Join(podGoals[:len(podGoals)-1], ", ") + `
                              (ended is any of succeeded, failed, stopped and evicted);
                              of nodes ` + strings.Join(nodeGoals[:len(nodeGoals)-1], ", ") + `

A --timeout of 0 looks once and does not wait, a negative one waits for a week.
Exit codes: 0 all are, 1 one of them cannot be any more, 3 the time is up.`,
		Example: "  stark wait --for condition=Ready pod/0199f3a2-7c1e-7d3a-9a52-3f1d2f7f0a11\n  stark wait --for=delete pods -l app=web --timeout 5m\n  stark wait --for=jsonpath='{.restarts}'=0 pods --all\n  stark wait --for condition=Ready nodes -l zone=a",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.wait(cmd.Context(), args, w) },
	}
	f := cmd.Flags()
	f.StringVar(&w.goal, "for", string(api.PodRunning), "what to wait for")
	f.DurationVar(&w.timeout, "timeout", w.timeout, "how long to wait, for all of them together")
	f.StringVarP(&w.selector, "label", "l", "", "with pods or nodes: those with these labels, such as app=web")
	f.BoolVar(&w.all, "all", false, "with pods or nodes: all that you see")
	f.StringVar(&w.namespace, "namespace", "", "with pods: only those of this namespace")
	offered := []string{"condition=" + conditionReady, forDelete, "jsonpath={.status}="}
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(slices.Concat(offered, podGoals, nodeGoals), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// errWaited ends a wait whose time is up.
var errWaited = errors.New("the time is up")

func (a *app) wait(ctx context.Context, args []string, w waitFlags) error {
	if w.timeout < 0 {
		w.timeout = longWait
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	targets, err := a.waitTargets(ctx, c, args, w)
	if err != nil {
		return err
	}
	limit := w.timeout
	if limit == 0 {
		limit = time.Minute // for the look itself
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errWaited)
	defer cancel()
	late, err := a.waitAll(ctx, targets, w.timeout == 0)
	if err != nil || len(late) == 0 {
		return err
	}
	slices.Sort(late)
	verb := "is"
	if len(late) > 1 {
		verb = "are"
	}
	return exitCodeError{exitTimeout, fmt.Errorf("waited %s: %s %s not %s", w.timeout, strings.Join(late, ", "), verb, targets[0].goal)}
}

// waitAll waits for all targets at a time, and gives the names of those for which the
// time was not enough. The first that cannot be as wanted ends it.
func (a *app) waitAll(ctx context.Context, targets []target, once bool) (late []string, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var group sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, waitedAtOnce)
	for _, t := range targets {
		slots <- struct{}{} // nobody holds one for longer than ctx lasts
		group.Go(func() {
			defer func() { <-slots }()
			said, failed := t.wait(ctx, once)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed == nil:
				fmt.Fprintln(a.stdout, said)
			case errors.Is(failed, errWaited) || errors.Is(context.Cause(ctx), errWaited):
				late = append(late, t.name)
			case err == nil:
				err = failed
				fail(failed)
			}
		})
	}
	group.Wait()
	return late, err
}

// target is one object that is waited for.
type target struct {
	name, goal string
	wait       func(ctx context.Context, once bool) (said string, err error)
}

// waitTargets resolves what the arguments name.
func (a *app) waitTargets(ctx context.Context, c *client.Client, args []string, w waitFlags) ([]target, error) {
	switch kind := args[0]; {
	case kind == "pods" || kind == "pod" || kind == "nodes" || kind == "node":
		if len(args) > 1 {
			return nil, usagef("%s %s: want %s alone, with -l or --all, or names such as %s/<id>", kind, args[1], kind, strings.TrimSuffix(kind, "s"))
		}
		if w.selector == "" && !w.all {
			return nil, usagef("%s: -l or --all is missing", kind)
		}
		return selectedTargets(ctx, c, strings.HasPrefix(kind, "pod"), w)
	case w.selector != "" || w.all || w.namespace != "":
		return nil, usagef("-l, --all and --namespace select among pods or nodes: `stark wait pods -l app=web`")
	}
	out := make([]target, len(args))
	for i, arg := range args {
		if name, ok := strings.CutPrefix(arg, nodeView().kind+"/"); ok {
			g, err := nodeGoal(w.goal)
			if err != nil {
				return nil, err
			}
			out[i] = target{name: arg, goal: g.text, wait: func(ctx context.Context, once bool) (string, error) {
				n, err := findNode(ctx, c, name)
				if err != nil {
					return gone(err, arg, g.deleted)
				}
				return reach(ctx, arg, g, once, c.WatchNode(ctx, n.ID))
			}}
			continue
		}
		g, err := podGoal(w.goal)
		if err != nil {
			return nil, err
		}
		out[i] = target{name: arg, goal: g.text, wait: func(ctx context.Context, once bool) (string, error) {
			id, err := podID(ctx, c, arg)
			if err != nil {
				return gone(err, arg, g.deleted)
			}
			return reach(ctx, arg, g, once, c.WatchPod(ctx, id))
		}}
	}
	return out, nil
}

// selectedTargets lists once; what comes later is not waited for. With nothing to wait
// for, only a deletion is as wanted.
func selectedTargets(ctx context.Context, c *client.Client, pods bool, w waitFlags) ([]target, error) {
	if pods {
		g, err := podGoal(w.goal)
		if err != nil {
			return nil, err
		}
		q := api.PodQuery{Namespace: w.namespace, LabelSelector: w.selector}
		found, err := everything(&q.PageQuery, q.Validate, func() (api.Page[api.Pod], error) { return c.ListPods(ctx, q) })
		if err != nil {
			return nil, err
		}
		return targetsOf(found, g, podView(), c.WatchPod, func(p api.Pod) string { return p.ID })
	}
	g, err := nodeGoal(w.goal)
	if err != nil {
		return nil, err
	}
	if w.namespace != "" {
		return nil, usagef("nodes are in no namespace, leave --namespace away")
	}
	q := api.NodeQuery{LabelSelector: w.selector}
	found, err := everything(&q.PageQuery, q.Validate, func() (api.Page[api.Node], error) { return c.ListNodes(ctx, q) })
	if err != nil {
		return nil, err
	}
	return targetsOf(found, g, nodeView(), c.WatchNode, func(n api.Node) string { return n.Name })
}

func targetsOf[T any](found []T, g goal[T], v view[T], watch func(context.Context, string) iter.Seq2[client.Change[T], error], name func(T) string) ([]target, error) {
	if len(found) == 0 && !g.deleted {
		return nil, fault.New(fault.NotFound, "nothing matches: there is nothing to wait for")
	}
	out := make([]target, len(found))
	for i, o := range found {
		called := v.kind + "/" + name(o)
		out[i] = target{name: called, goal: g.text, wait: func(ctx context.Context, once bool) (string, error) {
			return reach(ctx, called, g, once, watch(ctx, v.id(o)))
		}}
	}
	return out, nil
}

// everything reads all pages of a list.
func everything[T any](page *api.PageQuery, validate func() error, read func() (api.Page[T], error)) ([]T, error) {
	if err := validate(); err != nil {
		return nil, err
	}
	var all []T
	for number := 1; ; number++ {
		*page = api.PageQuery{Page: number, PageSize: api.MaxPageSize}
		got, err := read()
		if err != nil {
			return nil, err
		}
		if all = append(all, got.Items...); len(got.Items) < api.MaxPageSize || len(all) >= got.Total {
			return all, nil
		}
	}
}

// gone makes a success of what is not there where this was waited for.
func gone(err error, name string, deleted bool) (string, error) {
	if deleted && fault.CodeOf(err) == fault.NotFound {
		return name + " is " + forDeleted, nil
	}
	return "", err
}

// reach follows one object until it is as wanted, or cannot become so; once ends it
// with what exists.
func reach[T any](ctx context.Context, name string, g goal[T], once bool, changes iter.Seq2[client.Change[T], error]) (string, error) {
	for change, err := range changes {
		switch {
		case err != nil:
			return gone(err, name, g.deleted)
		case change.Synced && once:
			return "", errWaited
		case change.Synced:
			continue
		case change.Deleted && g.deleted:
			return name + " is " + forDeleted, nil
		case change.Deleted:
			return "", fmt.Errorf("%s was deleted before it was %s", name, g.text)
		case g.deleted:
			continue
		}
		is := g.judge(change.Object)
		switch {
		case is.met && g.condition:
			return name + " condition met", nil
		case is.met:
			return name + " is " + is.now, nil
		case is.never:
			return "", fmt.Errorf("%s is %s and will not be %s any more", name, is.now, g.text)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	return gone(fault.New(fault.NotFound, "%s is not there any more", name), name, g.deleted)
}
