package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// next rolls a new version out on the path of a rollback: it starts beside the present
// one, which stops when the other is ready, and goes on when it fails. A pod that has
// ended, or whose environment has changed, is followed by a new one.
func (r *rollout) next(ctx context.Context, source devSource) error {
	begin := time.Now()
	r.dev.source, r.read = source, stamps(source.inputs)
	pack, err := r.dev.publish(ctx, source.registration)
	if err != nil {
		return err
	}
	r.reportPack(pack, begin)
	now, err := r.dev.client.GetPod(ctx, r.current.ID)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return r.renew(ctx, pack, begin)
	case err != nil:
		return err
	}
	if r.current = now; now.Status.Terminal() || now.StopRequestedAt != nil || !maps.Equal(now.Env, source.Env) {
		return r.renew(ctx, pack, begin)
	}
	return r.replace(ctx, pack, begin)
}

// replace takes the pod to a version, and waits until it is there.
func (r *rollout) replace(ctx context.Context, pack api.Pack, begin time.Time) error {
	ask := api.RollbackRequest{TargetVersion: pack.Version, Reason: "saved"}
	out, err := r.dev.client.RollbackPod(ctx, r.current.ID, ask)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.InvalidState && e.Details["resource"] != nil {
		r.dev.out.say("  [..] %-10s %s", "pod", clean("no room beside the present version, which stops first"))
		ask.Now = true
		out, err = r.dev.client.RollbackPod(ctx, r.current.ID, ask)
	}
	switch fault.CodeOf(err) {
	case "":
	case fault.SameVersion:
		return nil
	case fault.InvalidState, fault.NotFound: // it has just ended, or the version needs a node of another kind
		return r.renew(ctx, pack, begin)
	default:
		return err
	}
	if r.dev.flags.noNode {
		r.current = out.Pod
		r.reportPod(begin)
		return nil
	}
	p, newer, err := r.arrive(ctx, pack)
	if p.ID != "" {
		r.current = p
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case newer:
		r.dev.out.say("  [..] %-10s %s %s was not ready yet: a newer save replaces it", "pod", pack.Name, pack.Version)
		return nil
	case err != nil:
		return r.giveUp(ctx, pack, err)
	case p.PackVersion == pack.Version && (p.Status == api.PodRunning || p.Status == api.PodSucceeded):
		r.reportPod(begin)
		return nil
	default:
		return r.failed(ctx, pack)
	}
}

// arrive waits until the pod is at a version, has given it up, or is out of date.
func (r *rollout) arrive(ctx context.Context, pack api.Pack) (p api.Pod, newer bool, err error) {
	wait := newWaiting(r.dev.out)
	p, err = waitPod(ctx, r.dev.client, r.current.ID, readyTimeout, func(p api.Pod) bool {
		switch {
		case p.Status.Terminal():
			return true
		case p.Rollout == nil && (p.PackVersion != pack.Version || p.Status == api.PodRunning || p.Reason == api.ReasonCrashLoopBackOff):
			return true
		}
		if p.Rollout != nil { // what is waited for is the version on its way
			p.PackVersion, p.Status = p.Rollout.PackVersion, api.PodStarting
		}
		wait.tell(p)
		newer = !maps.Equal(stamps(r.dev.source.inputs), r.read)
		return newer
	})
	return p, newer, err
}

// giveUp ends a rollout that takes too long, so that it cannot succeed behind the back
// of whoever was told that it has not.
func (r *rollout) giveUp(ctx context.Context, pack api.Pack, why error) error {
	if r.current.Rollout == nil {
		return why
	}
	back := api.RollbackRequest{TargetVersion: r.current.PackVersion, Reason: "not ready in time"}
	if _, err := r.dev.client.RollbackPod(ctx, r.current.ID, back); err != nil && fault.CodeOf(err) != fault.SameVersion {
		return errors.Join(why, err)
	}
	return fmt.Errorf("%s %s was not ready within %s: a pack is ready when it calls ready(), or returns\n%s",
		pack.Name, pack.Version, readyTimeout, r.goesOn())
}

func (r *rollout) goesOn() string {
	return fmt.Sprintf("%s %s goes on", r.current.PackName, r.current.PackVersion)
}

// failed tells how a version has ended, with the line of the source that it names.
func (r *rollout) failed(ctx context.Context, pack api.Pack) error {
	text := fmt.Sprintf("%s %s failed", pack.Name, pack.Version)
	runs, err := r.dev.client.PodRuns(ctx, r.current.ID)
	if err != nil {
		return errors.Join(errors.New(text), err)
	}
	for _, run := range runs { // newest first
		if run.PackID != pack.ID || run.Termination == nil {
			continue
		}
		t := run.Termination
		lines := []string{text + ": " + t.Reason, strings.TrimSpace(t.Message)}
		if more := excerpt(r.dev.source.inputs, t.Message+"\n"+t.LastOutput); more != "" {
			lines = append(lines, more)
		}
		if out := strings.TrimSpace(t.LastOutput); out != "" && !strings.Contains(t.Message, out) {
			lines = append(lines, out)
		}
		text = strings.Join(lines, "\n")
		break
	}
	if r.current.PackVersion == pack.Version || r.current.Status.Terminal() {
		return fmt.Errorf("%s\nthe pod is %s; save again to replace it", text, podStatus(r.current))
	}
	return fmt.Errorf("%s\n%s", text, r.goesOn())
}

// renew makes a new pod, and stops the old one when the new one runs.
func (r *rollout) renew(ctx context.Context, pack api.Pack, begin time.Time) error {
	pod, err := r.create(ctx, pack)
	if err != nil {
		return err
	}
	if !r.dev.flags.noNode {
		started, err := r.running(ctx, pod.ID)
		if err != nil {
			if _, _, stopErr := r.dev.client.StopPod(context.WithoutCancel(ctx), pod.ID); stopErr != nil {
				err = errors.Join(err, stopErr)
			}
			return fmt.Errorf("%w\n%s", err, r.goesOn())
		}
		pod = started
	}
	old := r.current
	r.current = pod
	r.reportPod(begin)
	r.follow(ctx, pod)
	if _, _, err := r.dev.client.StopPod(ctx, old.ID); err != nil && fault.CodeOf(err) != fault.NotFound {
		return fmt.Errorf("stop the old pod: %w", err)
	}
	return nil
}
