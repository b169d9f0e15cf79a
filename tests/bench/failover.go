package main

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// twoServers measures how long nobody decides where pods go: from the signal that ends
// the leader until the decision about a pod that was asked for right after it.
func (b *bench) twoServers() stage {
	var d *bed
	of := func(key, setup string, signal syscall.Signal, short, most int) step {
		return step{keys: []string{key}, measure: func(ctx context.Context) error {
			var samples []time.Duration
			n := b.times(short, most)
			for i := range n {
				// Where the lease is in its life when the leader ends is spread over a renewal.
				took, err := d.failover(ctx, signal, time.Duration(i)*5*time.Second/time.Duration(n))
				if err != nil {
					return err
				}
				samples = append(samples, took)
			}
			b.latencies(key, setup, samples)
			return nil
		}}
	}
	return stage{
		name: "two servers with one node",
		open: func(ctx context.Context) (shut func(), err error) {
			d, err = b.bed(ctx, harness.Options{Servers: 2})
			shut = func() { d.close(ctx) }
			if err != nil {
				return shut, err
			}
			if err := d.node(ctx, "--warm-pool", "0"); err != nil {
				return shut, err
			}
			return shut, d.register(ctx, "bench", "1.0.0", program)
		},
		steps: []step{
			of("failover.term", "leader stopped by SIGTERM until the other binds the next pod; 2 servers", syscall.SIGTERM, 4, 20),
			of("failover.kill", "leader killed by SIGKILL until the other binds the next pod; 2 servers", syscall.SIGKILL, 1, 10),
		},
	}
}

// failover ends the leader and gives the time until a watcher at the other server sees
// the next pod bound. Both servers run when it begins and when it ends.
func (d *bed) failover(ctx context.Context, signal syscall.Signal, phase time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*waitLimit)
	defer cancel()
	leader, other, err := d.leads(ctx)
	if err != nil {
		return 0, err
	}
	direct, err := client.New(client.Config{URL: other.URL, Token: client.StaticToken(d.Session.AccessToken)})
	if err != nil {
		return 0, err
	}
	w, err := harness.Watch(ctx, direct.WebSocketURL(), d.Session.AccessToken)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	select {
	case <-time.After(phase):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	begin := time.Now()
	if err := leader.Signal(signal); err != nil {
		return 0, err
	}
	pod, err := direct.CreatePod(ctx, api.CreatePodRequest{PackName: "bench", PackVersion: "1.0.0"})
	if err != nil {
		return 0, err
	}
	bound, err := w.WaitPod(ctx, pod.ID, "to be bound", func(p api.Pod) bool { return p.Status != api.PodPending })
	if err != nil {
		return 0, err
	}
	took := w.FirstSeen(pod.ID, string(bound.Status)).Sub(begin)
	<-leader.Done()
	if _, _, err := direct.StopPod(ctx, pod.ID); err != nil {
		return 0, err
	}
	return took, d.Restart(ctx, leader)
}

// leads waits for one leader and gives it and the other server.
func (d *bed) leads(ctx context.Context) (leader, other *harness.Server, err error) {
	for {
		if all := d.Leaders(ctx); len(all) == 1 {
			i := slices.Index(d.Servers, all[0])
			return all[0], d.Servers[1-i], nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, errors.New("there is no leader")
		}
	}
}
