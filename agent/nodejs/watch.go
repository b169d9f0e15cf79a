//go:build unix

package nodejs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	sampleEvery = 100 * time.Millisecond
	mebibyte    = 1 << 20
	// A worker beyond the first costs about this much of its own.
	workerBytes = 10 * mebibyte
	// slackBytes and an eighth of the limit leave room for what V8 has not yet
	// collected, so that a pack within its limit is not killed from outside.
	slackBytes = 24 * mebibyte
)

// watch samples the resident memory of all hosts and kills the ones above their
// limit: neither Buffers nor native memory are bound by V8. It sleeps while no host has
// a pod.
func (e *Executor) watch(ctx context.Context) {
	for {
		select {
		case <-e.attached:
		case <-ctx.Done():
			return
		}
		e.watchPods(ctx)
	}
}

// watchPods samples until no host has a pod.
func (e *Executor) watchPods(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for busy := true; busy; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		busy = false
		for _, h := range e.serving() {
			busy = h.sample() || busy
		}
	}
}

func (e *Executor) serving() []*host {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*host, 0, len(e.hosts))
	for h := range e.hosts {
		out = append(out, h)
	}
	return out
}

// sample looks at the memory of a host that has pods, and tells whether it has any.
func (h *host) sample() bool {
	h.mu.Lock()
	served, pods := h.served && !h.ending, len(h.pods)
	limit := int64(0)
	for _, c := range h.pods {
		m := int64(c.task.Spec.Limits.Memory)
		if m <= 0 {
			limit = -1
			break
		}
		limit += m * mebibyte
	}
	h.mu.Unlock()
	if !served || pods == 0 {
		return false
	}
	rss := h.gauge.bytes()
	h.rss.Store(rss)
	if rss > h.peak.Load() {
		h.peak.Store(rss)
	}
	if limit < 0 {
		return true
	}
	allowed := h.base + limit + limit/8 + slackBytes + int64(pods-1)*workerBytes
	if rss > allowed {
		h.kill(api.ReasonOOMKilled, fmt.Sprintf("memory: rss=%dMiB limit=%dMiB (and %dMiB for the idle host)%s",
			rss/mebibyte, limit/mebibyte, (allowed-limit)/mebibyte, h.blamed()))
	}
	return true
}

// blamed names the pods of a shared host that take most beyond their limits. Native
// memory is nobody's, so this is what their own heaps and buffers said last.
func (h *host) blamed() string {
	pods := h.all()
	if len(pods) < 2 {
		return ""
	}
	over := func(c *controller) int64 { return c.bytes.Load() - int64(c.task.Spec.Limits.Memory)*mebibyte }
	slices.SortFunc(pods, func(a, b *controller) int {
		return cmp.Or(cmp.Compare(over(b), over(a)), cmp.Compare(a.id, b.id))
	})
	c := pods[0]
	return fmt.Sprintf("; shared by %d pods, of which %s took most beyond its limit: %dMiB of %dMiB",
		len(pods), c.task.Key.PodID, c.bytes.Load()/mebibyte, int64(c.task.Spec.Limits.Memory))
}
