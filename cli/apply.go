package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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

// readManifests reads files, or stdin for "-". Every fault of every file is reported.
func (a *app) readManifests(ctx context.Context, files []string) ([]manifest.Object, error) {
	if len(files) == 0 {
		return nil, usagef("-f is needed: a file, or - for stdin")
	}
	var all []manifest.Object
	var faults []error
	for _, name := range files {
		data, err := a.readFile(ctx, name)
		if err != nil {
			return nil, err
		}
		objects, err := manifest.Parse(orDefault(map[bool]string{true: "stdin"}[name == "-"], name), data)
		all, faults = append(all, objects...), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fault.Wrap(err, fault.Validation, "%s", err)
	}
	slices.SortStableFunc(all, func(a, b manifest.Object) int {
		return slices.Index(manifest.Kinds, a.Kind) - slices.Index(manifest.Kinds, b.Kind)
	})
	return all, nil
}

func (a *app) readFile(_ context.Context, name string) ([]byte, error) {
	var r io.Reader = a.stdin.lines
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // the user names the file
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	return io.ReadAll(io.LimitReader(r, manifest.MaxSize+1))
}

// need refuses objects that cannot be found again.
func need(o manifest.Object) error {
	if o.Name == "" {
		return fault.New(fault.Validation, "%s: metadata.name is needed, so that the object is known again", o.Where)
	}
	return nil
}

// applied is what became of one object.
type applied struct {
	Object  string                `json:"object"`
	Action  string                `json:"action"` // created, configured, unchanged, replaced, deleted
	ID      string                `json:"id,omitempty"`
	Changes []manifest.Difference `json:"changes,omitempty"`
}

// printApplied shows what was done, also before a fault. Where a fault has kept everything
// from being done, it alone is said: "nothing to do" would be wrong.
func (a *app) printApplied(results []applied, err error) error {
	if err != nil && len(results) == 0 && a.format() == formatTable {
		return err
	}
	return errors.Join(printList(a, appliedView(), results), err)
}

// appliedView has no kind of its own: each object says its own.
func appliedView() view[applied] {
	return view[applied]{
		kind: "", id: func(r applied) string { return r.Object }, empty: "nothing to do",
		columns: []column[applied]{
			{"OBJECT", func(r applied) string { return r.Object }},
			{"ACTION", func(r applied) string { return r.Action }},
			{"ID", func(r applied) string { return r.ID }},
		},
	}
}

// applier makes objects what documents want. A dry one changes nothing.
type applier struct {
	c         *client.Client
	namespace string // of pods whose document names none
	replace   bool
	dry       bool
	timeout   time.Duration // of what delete waits for
}

func (a *app) applyCommand() *cobra.Command {
	var files []string
	var t applier
	cmd := &cobra.Command{
		Use: "apply -f <file>", Short: "Make pods, namespaces, priority classes and nodes what files say",
		Long: `Make objects what files say: they are created, or changed where they may be. Pods are
known again by metadata.name in their namespace (as the label stark.io/name). Of a live
pod only labels, annotations and the version of the pack change, the version as "stark pod
rollback" does it; anything else needs --replace, which stops the pod and makes a new one.
What an earlier apply has set and this one does not is removed; what others have set stays
(the document is kept in the annotation stark.io/last-applied). Nodes must exist.

Documents have the shape of Kubernetes: apiVersion stark.io/v1, kind, metadata, spec;
several are parted by ---. Order in a file does not matter.`,
		Example: "  stark apply -f pod.yaml\n  stark apply -f team.yaml -f pods.yaml\n  cat pod.yaml | stark apply -f -",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			results, err := a.applyAll(cmd.Context(), files, &t)
			return a.printApplied(results, err)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "file, or - for stdin (repeatable)")
	cmd.Flags().StringVar(&t.namespace, "namespace", "", "namespace of pods whose document names none")
	cmd.Flags().BoolVar(&t.replace, "replace", false, "stop pods that cannot be changed, and make new ones")
	return cmd
}

// applyAll goes through all objects and stops at the first that fails.
func (a *app) applyAll(ctx context.Context, files []string, t *applier) ([]applied, error) {
	objects, err := a.readManifests(ctx, files)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if err := need(o); err != nil {
			return nil, err
		}
	}
	if t.c, err = a.client(); err != nil {
		return nil, err
	}
	t.namespace = orDefault(a.namespace(t.namespace), api.NamespaceDefault)
	var results []applied
	for _, o := range objects {
		var r applied
		err := again(func() (err error) {
			r, err = t.apply(ctx, o)
			return err
		})
		if err != nil {
			return results, fmt.Errorf("%s (%s): %w", o, o.Where, err)
		}
		r.Object = o.String()
		results = append(results, r)
	}
	return results, nil
}

// apply makes one object what its document says. What somebody else makes meanwhile is
// looked at once more.
func (t *applier) apply(ctx context.Context, o manifest.Object) (applied, error) {
	done, err := t.applyOnce(ctx, o)
	if fault.CodeOf(err) == fault.Conflict {
		return t.applyOnce(ctx, o)
	}
	return done, err
}

func (t *applier) applyOnce(ctx context.Context, o manifest.Object) (applied, error) {
	switch o.Kind {
	case manifest.KindNamespace:
		return t.applyNamespace(ctx, o)
	case manifest.KindPriorityClass:
		return t.applyClass(ctx, o)
	case manifest.KindNode:
		return t.applyNode(ctx, o)
	default:
		return t.applyPod(ctx, o)
	}
}

// merged gives labels and annotations after the document, with the document itself.
func merged(o manifest.Object, labels, annotations, wantLabels, wantAnnotations map[string]string) (l, n map[string]string) {
	lastLabels, lastNotes, _ := manifest.Last(annotations)
	l = manifest.Merge(labels, lastLabels, wantLabels)
	n = manifest.Merge(annotations, lastNotes, wantAnnotations)
	n[manifest.LastApplied] = o.Applied()
	return l, n
}

// visible leaves out the document, which says again what the other fields say.
func visible(annotations map[string]string) map[string]string {
	out := maps.Clone(annotations)
	delete(out, manifest.LastApplied)
	return out
}

func outcome(changes []manifest.Difference, id string) applied {
	if len(changes) == 0 {
		return applied{Action: "unchanged", ID: id}
	}
	return applied{Action: "configured", ID: id, Changes: changes}
}

func absentObject(err error) bool { return fault.CodeOf(err) == fault.NotFound }

func (t *applier) applyNamespace(ctx context.Context, o manifest.Object) (applied, error) {
	want := *o.Space
	live, err := t.c.GetNamespace(ctx, want.Name)
	if absentObject(err) {
		want.Annotations = manifest.Merge(nil, nil, want.Annotations)
		want.Annotations[manifest.LastApplied] = o.Applied()
		made := applied{Action: "created", Changes: manifest.Compare(nil, o.Document)}
		if t.dry {
			return made, nil
		}
		n, err := t.c.CreateNamespace(ctx, want)
		made.ID = n.ID
		return made, err
	}
	if err != nil {
		return applied{}, err
	}
	labels, notes := merged(o, live.Labels, live.Annotations, want.Labels, want.Annotations)
	type shape struct {
		Labels, Annotations map[string]string
		Quota               *api.ResourceQuota
		Limits              *api.LimitRange
		Budget              *api.DisruptionBudget
	}
	changes := manifest.Compare(
		shape{live.Labels, visible(live.Annotations), live.ResourceQuota, live.LimitRange, live.DisruptionBudget},
		shape{labels, visible(notes), want.ResourceQuota, want.LimitRange, want.DisruptionBudget})
	if len(changes) == 0 || t.dry {
		return outcome(changes, live.ID), nil
	}
	r := api.UpdateNamespaceRequest{
		Labels: labels, Annotations: notes, ResourceVersion: live.ResourceVersion,
		ResourceQuota: &api.QuotaInput{}, LimitRange: &api.LimitRange{}, DisruptionBudget: &api.BudgetInput{},
	}
	if q := want.ResourceQuota; q != nil {
		r.ResourceQuota = &api.QuotaInput{Hard: &q.Hard, PriorityClasses: q.PriorityClasses}
	}
	if want.LimitRange != nil {
		r.LimitRange = want.LimitRange
	}
	if b := want.DisruptionBudget; b != nil {
		r.DisruptionBudget = &api.BudgetInput{MaxUnavailable: &b.MaxUnavailable}
	}
	_, err = t.c.UpdateNamespace(ctx, live.ID, r)
	return outcome(changes, live.ID), err
}

func (t *applier) applyClass(ctx context.Context, o manifest.Object) (applied, error) {
	want := *o.PriorityClass
	live, err := t.c.GetPriorityClass(ctx, want.Name)
	if absentObject(err) {
		made := applied{Action: "created", Changes: manifest.Compare(nil, o.Document)}
		if t.dry {
			return made, nil
		}
		p, err := t.c.CreatePriorityClass(ctx, want)
		made.ID = p.ID
		return made, err
	}
	if err != nil {
		return applied{}, err
	}
	type shape struct {
		Value            int32
		GlobalDefault    bool
		PreemptionPolicy api.PreemptionPolicy
		Description      string
	}
	changes := manifest.Compare(shape{live.Value, live.GlobalDefault, live.PreemptionPolicy, live.Description},
		shape{want.Value, want.GlobalDefault, want.PreemptionPolicy, want.Description})
	if len(changes) == 0 || t.dry {
		return outcome(changes, live.ID), nil
	}
	_, err = t.c.UpdatePriorityClass(ctx, want.Name, api.UpdatePriorityClassRequest{
		Value: &want.Value, GlobalDefault: &want.GlobalDefault, PreemptionPolicy: &want.PreemptionPolicy, Description: &want.Description,
		ResourceVersion: live.ResourceVersion,
	})
	return outcome(changes, live.ID), err
}

func (t *applier) applyNode(ctx context.Context, o manifest.Object) (applied, error) {
	want := *o.Node
	live, err := findNode(ctx, t.c, o.Name)
	if err != nil {
		return applied{}, err
	}
	want.ResourceVersion = live.ResourceVersion
	want.Labels, want.Annotations = merged(o, live.Labels, live.Annotations, want.Labels, want.Annotations)
	type shape struct {
		Labels, Annotations        map[string]string
		Taints                     []string
		Unschedulable, Maintenance bool
	}
	texts := func(taints []api.Taint) []string {
		var out []string
		for _, taint := range taints {
			if !strings.HasPrefix(taint.Key, "node.stark.io/") { // set by the cluster
				out = append(out, taint.String())
			}
		}
		slices.Sort(out)
		return out
	}
	is := shape{live.Labels, visible(live.Annotations), texts(live.Taints), live.Unschedulable, live.Maintenance}
	after := is
	after.Labels, after.Annotations = want.Labels, visible(want.Annotations)
	if want.Taints != nil {
		after.Taints = texts(*want.Taints)
	}
	if want.Unschedulable != nil {
		after.Unschedulable = *want.Unschedulable
	}
	if want.Maintenance != nil {
		after.Maintenance = *want.Maintenance
	}
	changes := manifest.Compare(is, after)
	if len(changes) == 0 || t.dry {
		return outcome(changes, live.ID), nil
	}
	_, err = t.c.UpdateNode(ctx, live.ID, want)
	return outcome(changes, live.ID), err
}
