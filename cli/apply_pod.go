package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// spaceOf is the namespace of a pod's document.
func (t *applier) spaceOf(o manifest.Object) string { return orDefault(o.Namespace, t.namespace) }

// findApplied gives the pods that were made of documents with the name, newest first:
// the live one, of which there should be one, and the newest that has ended.
func (t *applier) findApplied(ctx context.Context, o manifest.Object) (live, ended *api.Pod, err error) {
	page, err := t.c.ListPods(ctx, api.PodQuery{
		PageQuery: firstPage(), Namespace: t.spaceOf(o), LabelSelector: manifest.NameLabel + "=" + o.Name,
	})
	if err != nil {
		return nil, nil, err
	}
	for i := range page.Items {
		p := &page.Items[i]
		switch {
		case !p.Status.Terminal() && p.StopRequestedAt == nil && live == nil:
			live = p
		case !p.Status.Terminal() && p.StopRequestedAt == nil:
			return nil, nil, fault.New(fault.Conflict, "there are several live pods with the label %s=%s in namespace %s: stop all but one", manifest.NameLabel, o.Name, p.Namespace)
		case p.Status.Terminal() && ended == nil:
			ended = p
		}
	}
	return live, ended, nil
}

func (t *applier) applyPod(ctx context.Context, o manifest.Object) (applied, error) {
	live, ended, err := t.findApplied(ctx, o)
	if err != nil {
		return applied{}, err
	}
	if live == nil {
		if ended != nil {
			if _, _, last := manifest.Last(ended.Annotations); last != nil && len(manifest.Compare(last, o.Document)) == 0 && ended.Status == api.PodSucceeded {
				return applied{Action: "unchanged", ID: ended.ID}, nil // it has done its work
			}
		}
		before := ""
		if ended != nil {
			before = ended.ID
		}
		return t.createPod(ctx, o, before)
	}
	_, _, last := manifest.Last(live.Annotations)
	if spec := manifest.SameSpec(last, o.Document); len(spec) > 0 {
		return t.replacePod(ctx, o, *live, spec)
	}
	return t.changePod(ctx, o, *live)
}

// createPod makes the pod that comes after another one of the same document, or after
// none. Two that apply the same document at the same time ask with the same key, so
// that they get one pod.
func (t *applier) createPod(ctx context.Context, o manifest.Object, before string) (applied, error) {
	r := *o.Pod
	r.Namespace = t.spaceOf(o)
	r.Annotations = manifest.Merge(nil, nil, r.Annotations)
	r.Annotations[manifest.LastApplied] = o.Applied()
	made := applied{Action: "created", Changes: manifest.Compare(nil, o.Document)}
	if t.dry {
		return made, nil
	}
	for {
		key := sha256.Sum256([]byte(strings.Join([]string{"stark apply", r.Namespace, o.Name, r.Annotations[manifest.LastApplied], before}, "\x00")))
		p, err := t.c.CreatePod(client.WithIdempotencyKey(ctx, "apply-"+hex.EncodeToString(key[:])), r)
		if err != nil {
			return made, err
		}
		made.ID = p.ID
		// The answer may be an older one, about a pod that is no more: this one comes after it.
		now, err := t.c.GetPod(ctx, p.ID)
		switch {
		case fault.CodeOf(err) == fault.NotFound, err == nil && now.StopRequestedAt != nil:
			before = p.ID
		default:
			return made, err
		}
	}
}

// replacePod is for what cannot be changed of a live pod.
func (t *applier) replacePod(ctx context.Context, o manifest.Object, live api.Pod, spec []manifest.Difference) (applied, error) {
	if t.dry {
		return applied{Action: "replaced", ID: live.ID, Changes: spec}, nil
	}
	if !t.replace {
		fields := make([]string, len(spec))
		for i, d := range spec {
			fields[i] = d.Field
		}
		return applied{}, withHint(fault.New(fault.Conflict, "%s cannot be changed of a live pod", strings.Join(fields, ", ")),
			"give --replace to stop pod %s and make a new one", live.ID)
	}
	if _, _, err := t.c.StopPod(ctx, live.ID); err != nil {
		return applied{}, err
	}
	made, err := t.createPod(ctx, o, live.ID)
	made.Action, made.Changes = "replaced", spec
	return made, err
}

// changePod changes labels and annotations, and then the version, which takes its time.
func (t *applier) changePod(ctx context.Context, o manifest.Object, live api.Pod) (applied, error) {
	labels, notes := merged(o, live.Labels, live.Annotations, o.Pod.Labels, o.Pod.Annotations)
	version := live.PackVersion
	if live.Rollout != nil {
		version = live.Rollout.PackVersion
	}
	wanted := version
	if v := o.Pod.PackVersion; v != "" && v != "latest" {
		wanted = v
	}
	type shape struct {
		Labels, Annotations map[string]string
		Version             string
	}
	changes := manifest.Compare(shape{live.Labels, visible(live.Annotations), version}, shape{labels, visible(notes), wanted})
	if len(changes) == 0 || t.dry {
		return outcome(changes, live.ID), nil
	}
	if _, err := t.c.UpdatePod(ctx, live.ID, api.UpdatePodRequest{Labels: labels, Annotations: notes, ResourceVersion: live.ResourceVersion}); err != nil {
		return applied{}, err
	}
	if wanted != version {
		if _, err := t.c.RollbackPod(ctx, live.ID, api.RollbackRequest{TargetVersion: wanted, Reason: "apply"}); err != nil {
			return applied{}, fmt.Errorf("version %s: %w", wanted, err)
		}
	}
	return outcome(changes, live.ID), nil
}
