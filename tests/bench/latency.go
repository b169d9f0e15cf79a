package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

const (
	latencyRate = 100 // creates a second
	latencyPods = 2000
)

// sent is a pod that was asked for and when the answer came.
type sent struct {
	id    string
	acked time.Time
	err   error
}

// scheduleLatency measures, at a steady rate of creates over REST, how long after the
// answer a watcher sees the pod bound. Where it is bound before the answer has arrived,
// that counts as nothing.
func (b *bench) scheduleLatency(ctx context.Context, f *field) error {
	const key = "schedule.latency"
	w, err := harness.Watch(ctx, f.Client.WebSocketURL(), f.Session.AccessToken)
	if err != nil {
		return err
	}
	defer w.Close()
	db, err := postmaster(ctx, f.conn)
	if err != nil {
		return err
	}
	const warm = latencyRate // a second's worth
	n := warm + b.times(latencyPods/2, latencyPods)
	server, postgres, err := f.cpu(db)
	if err != nil {
		return err
	}
	all := f.steadily(ctx, n)
	var samples []time.Duration
	for i, s := range all {
		if s.err != nil {
			return fmt.Errorf("%s: create %d: %w", key, i, s.err)
		}
		wait, stop := context.WithTimeout(ctx, waitLimit)
		_, err := w.WaitPod(wait, s.id, "to be bound", func(p api.Pod) bool { return p.NodeID != nil })
		stop()
		if err != nil {
			return err
		}
		if i >= warm {
			samples = append(samples, max(w.FirstSeen(s.id, string(api.PodScheduled)).Sub(s.acked), 0))
		}
	}
	serverNow, postgresNow, err := f.cpu(db)
	if err != nil {
		return err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(n) }
	b.latencies(key, fmt.Sprintf("%d creates a second over REST, 1,000 nodes, answer received until a watcher sees the pod bound; CPU of each until then: server %.2f ms, Postgres %.2f ms; load average %s",
		latencyRate, each(serverNow-server), each(postgresNow-postgres), load()), samples)
	return nil
}

// steadily asks for n pods of mixed shapes, each at its time whether or not those
// before it have been answered.
func (f *field) steadily(ctx context.Context, n int) []sent {
	all := make([]sent, n)
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	var wg sync.WaitGroup
	for i := range all {
		p := mixedPod(i)
		r := api.CreatePodRequest{
			PackID: f.packs[i%len(f.packs)], Labels: p.Labels, Tolerations: p.Tolerations, Scheduling: &p.Scheduling,
			ResourceRequests: &api.ResourceInput{CPU: &p.ResourceRequests.CPU, Memory: &p.ResourceRequests.Memory},
		}
		wg.Go(func() {
			pod, err := f.Client.CreatePod(ctx, r)
			all[i] = sent{id: pod.ID, acked: time.Now(), err: err}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	wg.Wait()
	return all
}
