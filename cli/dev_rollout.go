package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// devLabel marks the pods that `stark dev` has made, so that a later start finds them.
const devLabel = "stark-dev"

// rollout keeps one pod of the newest version running.
type rollout struct {
	dev     *dev
	current api.Pod
	read    map[string]stamp // the files when the pod that is waited for was made

	keys   <-chan devKey // nil without a terminal
	paused bool

	followers sync.WaitGroup
}

// The bounds of waiting for a pod.
const (
	readyTimeout = 60 * time.Second
	logRetry     = 500 * time.Millisecond
)

func (r *rollout) wait() { r.followers.Wait() }

// first registers the pack, unless it is, and runs it, unless it does.
func (r *rollout) first(ctx context.Context) error {
	begin := time.Now()
	pack, err := r.dev.publish(ctx, r.dev.source.registration)
	if err != nil {
		return err
	}
	r.reportPack(pack, begin)
	begin = time.Now()
	old, err := r.live(ctx)
	if err != nil {
		return err
	}
	for _, p := range old {
		if p.PackID == pack.ID {
			r.current = p
		}
	}
	if r.current.ID == "" {
		if r.current, err = r.create(ctx, pack); err != nil {
			return err
		}
	}
	if err := r.settle(ctx, begin); err != nil {
		return err
	}
	for _, p := range old {
		if p.ID != r.current.ID {
			if _, _, err := r.dev.client.StopPod(ctx, p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle waits until the first pod runs. A pod that fails is told, not fatal:
// whoever edits it wants to see why and save again.
func (r *rollout) settle(ctx context.Context, begin time.Time) error {
	if r.dev.flags.noNode {
		r.dev.out.step("pod", r.current.PackName+"  stored; there is no node to run it", time.Since(begin), map[string]any{"pod": r.current.ID})
		return nil
	}
	r.read = stamps(r.dev.source.inputs)
	p, err := r.running(ctx, r.current.ID)
	if p.ID != "" {
		r.current = p
	}
	if err != nil {
		if r.dev.flags.once || r.dev.flags.folder == "" || ctx.Err() != nil {
			return err
		}
		r.dev.out.problem("pod", err)
		return nil
	}
	r.reportPod(begin)
	return nil
}

func (r *rollout) reportPack(p api.Pack, begin time.Time) {
	r.dev.out.step("pack", fmt.Sprintf("%s %s  %s  %s  sha256 %.12s", p.Name, p.Version, r.dev.source.runsOn, size(p.BundleSize), p.BundleSHA256),
		time.Since(begin), map[string]any{"pack": p.Name, "version": p.Version, "packId": p.ID, "sha256": p.BundleSHA256})
}

func (r *rollout) reportPod(begin time.Time) {
	p := r.current
	r.dev.out.step("pod", fmt.Sprintf("%s %s  %s on %s", p.PackName, p.PackVersion, p.Status, nodeOf(p)), time.Since(begin),
		map[string]any{"pod": p.ID, "status": p.Status, "node": nodeOf(p)})
}

// live lists the pods of this pack that earlier starts have left.
func (r *rollout) live(ctx context.Context) ([]api.Pod, error) {
	page, err := r.dev.client.ListPods(ctx, api.PodQuery{
		PageQuery: api.PageQuery{PageSize: api.MaxPageSize}, PackName: r.dev.source.Name, LabelSelector: devLabel + "=true",
	})
	var out []api.Pod
	for _, p := range page.Items {
		if !p.Status.Terminal() && p.StopRequestedAt == nil {
			out = append(out, p)
		}
	}
	return out, err
}

func (r *rollout) create(ctx context.Context, pack api.Pack) (api.Pod, error) {
	return r.dev.client.CreatePod(ctx, api.CreatePodRequest{
		PackID: pack.ID, Labels: map[string]string{devLabel: "true"}, Env: r.dev.source.Env,
	})
}

// running waits until a pod runs, has succeeded, fails, or is out of date.
func (r *rollout) running(ctx context.Context, id string) (api.Pod, error) {
	newer := false
	wait := newWaiting(r.dev.out)
	p, err := waitPod(ctx, r.dev.client, id, readyTimeout, func(p api.Pod) bool {
		if p.Status == api.PodRunning || p.Status.Terminal() || p.Reason == api.ReasonCrashLoopBackOff {
			return true
		}
		wait.tell(p)
		newer = !maps.Equal(stamps(r.dev.source.inputs), r.read)
		return newer
	})
	switch {
	case err != nil:
		return p, err
	case p.Status == api.PodRunning || p.Status == api.PodSucceeded:
		return p, nil
	case newer:
		return p, fmt.Errorf("%s %s is %s: a newer save replaces it", p.PackName, p.PackVersion, podStatus(p))
	}
	text := fmt.Sprintf("%s %s is %s%s", p.PackName, p.PackVersion, podStatus(p), because(p))
	if t := p.LastTermination; t != nil {
		text = strings.TrimRight(strings.Join([]string{text, t.Message, t.LastOutput}, "\n"), "\n")
	}
	return p, errors.New(text)
}

// follow writes the output of a pod to the screen until it has ended.
func (r *rollout) follow(ctx context.Context, p api.Pod) {
	if r.dev.flags.json {
		return
	}
	r.followers.Go(func() {
		o := client.LogOptions{Follow: true, Tail: new(-1)}
		for {
			for l, err := range r.dev.client.PodLogs(ctx, p.ID, o) {
				if err != nil {
					break
				}
				r.dev.out.say("  %s | %s", p.PackName, logText(l))
				o.Since = new(l.Time.Add(time.Nanosecond))
			}
			if now, err := r.dev.client.GetPod(ctx, p.ID); err == nil && now.Status.Terminal() {
				r.dev.out.say("  %s %s has ended: %s%s", now.PackName, now.PackVersion, podStatus(now), because(now))
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(logRetry):
			}
		}
	})
}

// firstLine waits for the first line of a pod's output.
func (d *dev) firstLine(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		var failed error
		for l, err := range d.client.PodLogs(ctx, id, client.LogOptions{Follow: true, Tail: new(-1)}) {
			if err != nil {
				failed = err
				break
			}
			if l.Dropped == 0 {
				return l.Line, nil
			}
		}
		p, err := d.client.GetPod(ctx, id)
		if err != nil {
			return "", err
		}
		if failed == nil && p.Status.Terminal() {
			return "", fmt.Errorf("the pod is %s%s, and has written nothing", podStatus(p), because(p))
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(errors.New("no line of output has come back"), ctx.Err(), failed)
		case <-time.After(logRetry):
		}
	}
}
