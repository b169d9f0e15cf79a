package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// quotaFlags set what a namespace may use. "none" takes a bound away.
type quotaFlags struct {
	pods, cpu, memory, storage, unavailable string
	classes                                 []string
}

const noBound = "none"

func (q *quotaFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&q.pods, "max-pods", "", "most pods at once, or none for no bound")
	f.StringVar(&q.cpu, "max-cpu", "", "most CPU that pods ask for together, such as 4 or 500m")
	f.StringVar(&q.memory, "max-memory", "", "most memory, such as 8Gi")
	f.StringVar(&q.storage, "max-storage", "", "most storage, such as 50Gi")
	f.StringArrayVar(&q.classes, "class", nil, "bound of a priority class, such as high-priority:pods=5,cpu=2, or high-priority:none (repeatable)")
	f.StringVar(&q.unavailable, "max-unavailable", "", "disruption budget: pods that drains and preemption may take away at once")
}

// given reports whether any flag was.
func (q *quotaFlags) given(cmd *cobra.Command) bool {
	return slices.ContainsFunc([]string{"max-pods", "max-cpu", "max-memory", "max-storage", "class", "max-unavailable"}, cmd.Flags().Changed)
}

// parse reads the flags for a namespace without a quota.
func (q *quotaFlags) parse(cmd *cobra.Command) (*api.QuotaInput, *api.BudgetInput, error) {
	return q.change(cmd, nil)
}

// change gives the quota after the flags; nil where none is about it.
func (q *quotaFlags) change(cmd *cobra.Command, have *api.ResourceQuota) (*api.QuotaInput, *api.BudgetInput, error) {
	in := api.QuotaInput{Hard: &api.Quota{}, PriorityClasses: map[string]api.Quota{}}
	if have != nil {
		*in.Hard = have.Hard
		maps.Copy(in.PriorityClasses, have.PriorityClasses)
	}
	touched := false
	for _, b := range []struct{ flag, key, value string }{
		{"max-pods", "pods", q.pods}, {"max-cpu", "cpu", q.cpu}, {"max-memory", "memory", q.memory}, {"max-storage", "storage", q.storage},
	} {
		if !cmd.Flags().Changed(b.flag) {
			continue
		}
		touched = true
		if err := setBound(in.Hard, b.key, b.value); err != nil {
			return nil, nil, usagef("--%s %q: %w", b.flag, b.value, err)
		}
	}
	for _, text := range q.classes {
		touched = true
		if err := setClass(in.PriorityClasses, text); err != nil {
			return nil, nil, err
		}
	}
	if *in.Hard == (api.Quota{}) && len(in.PriorityClasses) == 0 {
		in = api.QuotaInput{}
	}
	budget, err := q.budget(cmd)
	if !touched {
		return nil, budget, err
	}
	return &in, budget, err
}

func (q *quotaFlags) budget(cmd *cobra.Command) (*api.BudgetInput, error) {
	switch {
	case !cmd.Flags().Changed("max-unavailable"):
		return nil, nil //nolint:nilnil // nothing is said of the budget
	case q.unavailable == noBound:
		return &api.BudgetInput{}, nil
	}
	n, err := strconv.Atoi(q.unavailable)
	if err != nil {
		return nil, usagef("--max-unavailable %q: want a number of pods, or none", q.unavailable)
	}
	return &api.BudgetInput{MaxUnavailable: &n}, nil
}

// setBound sets one bound of a quota.
func setBound(q *api.Quota, key, text string) error {
	if text == noBound {
		switch key {
		case "pods":
			q.Pods = nil
		case "cpu":
			q.CPU = nil
		case "memory":
			q.Memory = nil
		case "storage":
			q.Storage = nil
		}
		return nil
	}
	switch key {
	case "pods":
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number, or none")
		}
		q.Pods = &n
	case "cpu":
		v, err := api.ParseMillicores(text)
		q.CPU = &v
		return err
	case "memory":
		v, err := api.ParseMebibytes(text)
		q.Memory = &v
		return err
	case "storage":
		v, err := api.ParseMebibytes(text)
		q.Storage = &v
		return err
	default:
		return fmt.Errorf("%q is none of pods, cpu, memory and storage", key)
	}
	return nil
}

// setClass reads name:key=value,... or name:none.
func setClass(classes map[string]api.Quota, text string) error {
	name, bounds, ok := strings.Cut(text, ":")
	if !ok || name == "" || bounds == "" {
		return usagef("--class %q: want name:pods=5,cpu=2,memory=1Gi or name:none", text)
	}
	if bounds == noBound {
		delete(classes, name)
		return nil
	}
	q := api.Quota{}
	for bound := range strings.SplitSeq(bounds, ",") {
		key, value, _ := strings.Cut(bound, "=")
		if err := setBound(&q, key, value); err != nil {
			return usagef("--class %q: %s: %w", text, key, err)
		}
	}
	classes[name] = q
	return nil
}

func (a *app) namespaceQuotaCommand() *cobra.Command {
	var q quotaFlags
	cmd := &cobra.Command{
		Use: "quota <name>", Short: "Show what a namespace may use and uses; with flags, change it",
		Example: "  stark namespace quota team-a\n  stark namespace quota team-a --max-pods 30 --class high-priority:pods=5\n  stark namespace quota team-a --max-cpu none",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if q.given(cmd) {
				if err := again(func() error { return changeQuota(cmd, c, args[0], q) }); err != nil {
					return err
				}
			}
			got, err := c.NamespaceQuota(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			return printOne(a, quotaView(), got, func(w io.Writer) {
				line(w, "Name", got.Name)
				writeQuota(w, got)
			})
		},
	}
	q.flags(cmd)
	return cmd
}

func quotaView() view[api.NamespaceQuota] {
	return view[api.NamespaceQuota]{kind: "namespace", id: func(q api.NamespaceQuota) string { return q.Name }}
}

func changeQuota(cmd *cobra.Command, c *client.Client, name string, q quotaFlags) error {
	n, err := c.GetNamespace(cmd.Context(), name)
	if err != nil {
		return named(err, "namespace", name)
	}
	r := api.UpdateNamespaceRequest{ResourceVersion: n.ResourceVersion}
	if r.ResourceQuota, r.DisruptionBudget, err = q.change(cmd, n.ResourceQuota); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	_, err = c.UpdateNamespace(cmd.Context(), n.ID, r)
	return err
}

// writeQuota writes what is used, what is allowed, and the limits of single pods.
func writeQuota(w io.Writer, q api.NamespaceQuota) {
	bounds := api.Quota{}
	if q.ResourceQuota != nil {
		bounds = q.ResourceQuota.Hard
	}
	used := q.ResourceUsage
	cells := [][]string{{"RESOURCE", "USED", "HARD"}}
	cells = append(cells, []string{"pods", fmt.Sprint(used.Pods), boundText(bounds.Pods, func(n int) string { return fmt.Sprint(n) })})
	cells = append(cells, []string{"cpu", used.CPU.String(), boundText(bounds.CPU, api.Millicores.String)})
	cells = append(cells, []string{"memory", used.Memory.String(), boundText(bounds.Memory, api.Mebibytes.String)})
	cells = append(cells, []string{"storage", used.Storage.String(), boundText(bounds.Storage, api.Mebibytes.String)})
	block(w, "Quota", cells)
	if q.ResourceQuota != nil && len(q.ResourceQuota.PriorityClasses) > 0 {
		cells := [][]string{{"CLASS", "PODS", "HARD"}}
		for _, name := range classNames(q.ResourceQuota.PriorityClasses) {
			cells = append(cells, []string{name, fmt.Sprint(q.ClassUsage[name].Pods), quotaText(q.ResourceQuota.PriorityClasses[name])})
		}
		block(w, "Priority classes", cells)
	}
	if l := q.LimitRange; l != nil {
		block(w, "Limits of a pod", [][]string{
			{"", "CPU", "MEMORY", "STORAGE"},
			limitRow("default request", l.DefaultRequest), limitRow("default limit", l.Default),
			limitRow("min", l.Min), limitRow("max", l.Max),
		})
	}
	if q.DisruptionBudget != nil {
		line(w, "Disruption budget", fmt.Sprintf("%d pods may be unavailable at once", q.DisruptionBudget.MaxUnavailable))
	}
}

func boundText[T any](v *T, text func(T) string) string {
	if v == nil {
		return "-"
	}
	return text(*v)
}

func limitRow(name string, r *api.ResourceInput) []string {
	if r == nil {
		r = &api.ResourceInput{}
	}
	return []string{name, boundText(r.CPU, api.Millicores.String), boundText(r.Memory, api.Mebibytes.String), boundText(r.Storage, api.Mebibytes.String)}
}

// limitFlags set the limits of single pods, each as cpu=...,memory=...,storage=...
type limitFlags struct {
	request, limit, least, most string
	none                        bool
}

func (a *app) namespaceLimitsCommand() *cobra.Command {
	var l limitFlags
	cmd := &cobra.Command{
		Use: "limits <name>", Short: "Show or change what single pods of a namespace get and may have",
		Example: "  stark namespace limits team-a\n  stark namespace limits team-a --default-request cpu=100m,memory=128Mi --max cpu=2,memory=2Gi\n  stark namespace limits team-a --none",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.GetNamespace(cmd.Context(), args[0])
			if err != nil {
				return named(err, "namespace", args[0])
			}
			limits, changed, err := l.change(n.LimitRange)
			if err != nil {
				return err
			}
			if changed {
				r := api.UpdateNamespaceRequest{LimitRange: &limits, ResourceVersion: n.ResourceVersion}
				if err := r.Validate(); err != nil {
					return err
				}
				if n, err = c.UpdateNamespace(cmd.Context(), n.ID, r); err != nil {
					return err
				}
			}
			return printOne(a, namespaceView(), n, func(w io.Writer) {
				line(w, "Name", n.Name)
				writeQuota(w, api.NamespaceQuota{ResourceQuota: n.ResourceQuota, ResourceUsage: n.ResourceUsage, LimitRange: n.LimitRange})
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&l.request, "default-request", "", "what pods reserve that do not say, such as cpu=100m,memory=128Mi")
	f.StringVar(&l.limit, "default-limit", "", "what pods may use that do not say")
	f.StringVar(&l.least, "min", "", "what a pod must reserve at least")
	f.StringVar(&l.most, "max", "", "what a pod may use at most")
	f.BoolVar(&l.none, "none", false, "take all limits away")
	return cmd
}

// change gives the limits after the flags, and whether any was given.
func (l limitFlags) change(have *api.LimitRange) (out api.LimitRange, changed bool, err error) {
	if l.none {
		return out, true, nil
	}
	if have != nil {
		out = *have
	}
	for _, f := range []struct {
		flag, text string
		to         **api.ResourceInput
	}{
		{"--default-request", l.request, &out.DefaultRequest},
		{"--default-limit", l.limit, &out.Default},
		{"--min", l.least, &out.Min},
		{"--max", l.most, &out.Max},
	} {
		if f.text == "" {
			continue
		}
		changed = true
		q := api.Quota{}
		for part := range strings.SplitSeq(f.text, ",") {
			key, value, _ := strings.Cut(part, "=")
			if key == "pods" {
				return out, false, usagef("%s: pods are for the quota", f.flag)
			}
			if err := setBound(&q, key, value); err != nil {
				return out, false, usagef("%s %q: %s: %w", f.flag, f.text, key, err)
			}
		}
		*f.to = &api.ResourceInput{CPU: q.CPU, Memory: q.Memory, Storage: q.Storage}
	}
	return out, changed, nil
}
