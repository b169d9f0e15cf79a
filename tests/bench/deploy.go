package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// program is a pack of about 10 KB that is ready at once and stays.
var program = `exports.default = async ({ signal, ready }) => {
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
};
// ` + strings.Repeat("x", 10<<10) + "\n"

// burstPods are asked for at once.
const burstPods = 50

// waitLimit bounds each wait for one pod, also on a machine that is busy with others' work.
const waitLimit = time.Minute

// bed is a cluster with a watch, and with one node mostly.
type bed struct {
	*harness.Cluster
	watch *harness.Watcher
	agent *harness.Process
}

func (b *bench) bed(ctx context.Context, o harness.Options) (*bed, error) {
	c, err := b.cluster(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &bed{Cluster: c}
	d.watch, err = harness.Watch(ctx, c.Client.WebSocketURL(), c.Session.AccessToken)
	return d, err
}

// cluster starts one whose commits reach the disk, in a folder of its own.
func (b *bench) cluster(ctx context.Context, o harness.Options) (*harness.Cluster, error) {
	var err error
	if o.Dir, err = b.folder("cluster"); err != nil {
		return nil, err
	}
	o.Stark, o.Durable = b.stark, true
	c, err := harness.Start(ctx, o)
	// What was just built and copied is tens of megabytes that the kernel has yet to
	// write; a commit that meets them waits for hundreds of milliseconds.
	syscall.Sync()
	return c, err
}

// node starts the agent of the node "bench", which has ended if there was one.
func (d *bed) node(ctx context.Context, args ...string) error {
	var err error
	d.agent, err = d.Agent(ctx, "bench", append([]string{"--pods", "100", "--cpu", "16", "--memory", "64Gi"}, args...)...)
	if err != nil {
		return err
	}
	return d.nodeIs(ctx, api.NodeOnline)
}

// close ends the cluster, also after an interrupt.
func (d *bed) close(ctx context.Context) {
	if d == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if d.watch != nil {
		d.watch.Close()
	}
	_ = d.Close(ctx)
}

func (d *bed) nodeIs(ctx context.Context, status api.NodeStatus) error {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	_, err := d.watch.WaitNode(ctx, "bench", "to be "+string(status), func(n api.Node) bool { return n.Status == status })
	return err
}

func (d *bed) nodeLeaves(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	_, err := d.watch.WaitNode(ctx, "bench", "to leave online", func(n api.Node) bool { return n.Status != api.NodeOnline })
	return err
}

func (d *bed) register(ctx context.Context, name, version, code string) error {
	_, err := d.Client.CreatePack(ctx, api.CreatePackRequest{Name: name, Version: version, RuntimeTag: api.TagUniversal}, client.Bundle{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(code)), nil }, Size: int64(len(code)),
	})
	return err
}

// deploy gives the time from the request to the moment the watch saw the pod running.
func (d *bed) deploy(ctx context.Context, version string) (string, time.Duration, error) {
	begin := time.Now()
	pod, err := d.Client.CreatePod(ctx, api.CreatePodRequest{PackName: "bench", PackVersion: version})
	if err != nil {
		return "", 0, err
	}
	if err := d.podIs(ctx, pod.ID, api.PodRunning); err != nil {
		return "", 0, err
	}
	return pod.ID, d.watch.FirstSeen(pod.ID, string(api.PodRunning)).Sub(begin), nil
}

func (d *bed) podIs(ctx context.Context, id string, status api.PodStatus) error {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	_, err := d.watch.WaitPod(ctx, id, "to be "+string(status), func(p api.Pod) bool { return p.Status == status })
	return err
}

// stop gives the time from the request to the moment the watch saw the pod ended.
func (d *bed) stop(ctx context.Context, id string) (time.Duration, error) {
	begin := time.Now()
	if _, _, err := d.Client.StopPod(ctx, id); err != nil {
		return 0, err
	}
	if err := d.podIs(ctx, id, api.PodStopped); err != nil {
		return 0, err
	}
	return d.watch.FirstSeen(id, string(api.PodStopped)).Sub(begin), nil
}

// settle gives the node time to fill its warm pool again.
func settle(ctx context.Context) { pause(ctx, 250*time.Millisecond) }

// oneNode is what is measured on a node with a warm pool, and then on one without.
func (b *bench) oneNode() stage {
	var d *bed
	on := func(measure func(ctx context.Context, d *bed) error) func(context.Context) error {
		return func(ctx context.Context) error { return measure(ctx, d) }
	}
	return stage{
		name: "a server with one node",
		open: func(ctx context.Context) (shut func(), err error) {
			d, err = b.bed(ctx, harness.Options{})
			shut = func() { d.close(ctx) }
			if err != nil {
				return shut, err
			}
			if err := d.node(ctx); err != nil {
				return shut, err
			}
			return shut, errors.Join(d.register(ctx, "bench", "1.0.0", program), d.register(ctx, "talker", "1.0.0", talker))
		},
		steps: []step{
			{keys: []string{"deploy.running", "stop"}, measure: on(b.single)},
			{keys: []string{"deploy.running.cold"}, measure: on(b.cold)},
			{keys: []string{"rollback"}, measure: on(b.rollbacks)},
			{keys: []string{"machine.node50"}, measure: b.bareNode},
			{keys: []string{"deploy.burst50"}, measure: on(b.burstOf("deploy.burst50", api.IsolationProcess))},
			{keys: []string{"deploy.burst50.shared"}, measure: on(b.burstOf("deploy.burst50.shared", api.IsolationShared))},
			{keys: []string{"logs", "logs.agent.cpu", "logs.server.cpu"}, measure: on(b.oneTalker)},
			{keys: []string{"logs.crowd", "logs.crowd.rss"}, when: inFull, measure: on(b.crowd)},
			{keys: []string{"node.lost"}, measure: on(b.lost)},
			{keys: []string{"deploy.running.nopool"}, measure: on(b.noPool)},
		},
	}
}

func (b *bench) single(ctx context.Context, d *bed) error {
	var starts, stops []time.Duration
	for i := range b.samples + 5 {
		settle(ctx)
		id, took, err := d.deploy(ctx, "1.0.0")
		if err != nil {
			return err
		}
		gone, err := d.stop(ctx, id)
		if err != nil {
			return err
		}
		if i >= 5 { // the first ones warm caches up
			starts, stops = append(starts, took), append(stops, gone)
		}
	}
	b.latencies("deploy.running", "1 node, 10 KB bundle cached, warm pool of 2", starts)
	b.latencies("stop", "1 node, pack without stop handler", stops)
	return nil
}

func (b *bench) cold(ctx context.Context, d *bed) error {
	var samples []time.Duration
	for i := range max(b.samples/4, 5) {
		version := fmt.Sprintf("2.0.%d", i)
		if err := d.register(ctx, "bench", version, fmt.Sprintf("// %d\n%s", i, program)); err != nil {
			return err
		}
		settle(ctx)
		id, took, err := d.deploy(ctx, version)
		if err != nil {
			return err
		}
		samples = append(samples, took)
		if _, err := d.stop(ctx, id); err != nil {
			return err
		}
	}
	b.latencies("deploy.running.cold", "1 node, 10 KB bundle not on the node, warm pool of 2", samples)
	return nil
}

// rollbacks takes one pod to and fro between two versions whose bundles are cached.
func (b *bench) rollbacks(ctx context.Context, d *bed) error {
	if err := d.register(ctx, "bench", "3.0.0", program+"// another\n"); err != nil {
		return err
	}
	id, _, err := d.deploy(ctx, "1.0.0")
	if err != nil {
		return err
	}
	var samples []time.Duration
	for i := range max(b.samples/2, 5) + 2 {
		settle(ctx)
		target := []string{"3.0.0", "1.0.0"}[i%2]
		begin := time.Now()
		if _, err := d.Client.RollbackPod(ctx, id, api.RollbackRequest{TargetVersion: target}); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, waitLimit)
		_, err := d.watch.WaitPod(wait, id, "to run "+target, func(p api.Pod) bool { return p.PackVersion == target && p.Status == api.PodRunning })
		cancel()
		if err != nil {
			return err
		}
		if i >= 2 { // the first ones load the bundles
			samples = append(samples, time.Since(begin))
		}
	}
	b.latencies("rollback", "1 pod, asked until a watcher sees the other version run; bundle cached", samples)
	_, err = d.stop(ctx, id)
	return err
}

// bareNode measures what deploy.burst50 cannot go below: as many Node.js processes,
// each with a worker that does nothing, one per core at a time, without Stark.
func (b *bench) bareNode(ctx context.Context) error {
	const program = "new (require('node:worker_threads').Worker)('0', {eval: true})"
	node, err := exec.LookPath("node")
	if err != nil {
		return err
	}
	var samples []time.Duration
	for range 3 {
		settle(ctx)
		begin := time.Now()
		turn := make(chan struct{}, runtime.NumCPU())
		errs := make(chan error, burstPods)
		for range burstPods {
			go func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				cmd := exec.CommandContext(ctx, node, "-e", program)
				cmd.Env = []string{"PATH=/usr/bin:/bin"} // as bare as Stark's own hosts
				errs <- cmd.Run()
			}()
		}
		for range burstPods {
			if err := <-errs; err != nil {
				return fmt.Errorf("start node: %w", err)
			}
		}
		samples = append(samples, time.Since(begin))
	}
	b.median("machine.node50", fmt.Sprintf("%d bare Node.js processes with a worker, without Stark", burstPods), samples)
	return nil
}

// burstOf measures fifty pods that are asked for at once.
func (b *bench) burstOf(key string, isolation api.Isolation) func(context.Context, *bed) error {
	return func(ctx context.Context, d *bed) error {
		var samples []time.Duration
		var spent podCPU
		for range 3 {
			settle(ctx)
			took, cpu, err := d.burst(ctx, isolation)
			if err != nil {
				return err
			}
			samples, spent = append(samples, took), spent.add(cpu, 1)
		}
		b.median(key, fmt.Sprintf("50 pods at once on 1 node, isolation %s; CPU for each: %s; load average %s",
			isolation, spent.each(3*burstPods), load()), samples)
		return nil
	}
}

func (d *bed) burst(ctx context.Context, isolation api.Isolation) (took time.Duration, spent podCPU, err error) {
	ids := make([]string, burstPods)
	before, err := d.cpu(ctx)
	if err != nil {
		return 0, spent, err
	}
	begin := time.Now()
	group, asking := errgroup.WithContext(ctx)
	for i := range ids {
		group.Go(func() error {
			p, err := d.Client.CreatePod(asking, api.CreatePodRequest{PackName: "bench", PackVersion: "1.0.0", Isolation: isolation})
			ids[i] = p.ID
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, spent, err
	}
	var last time.Time
	for _, id := range ids {
		if err := d.podIs(ctx, id, api.PodRunning); err != nil {
			return 0, spent, err
		}
		if at := d.watch.FirstSeen(id, string(api.PodRunning)); at.After(last) {
			last = at
		}
	}
	after, err := d.cpu(ctx)
	if err != nil {
		return 0, spent, err
	}
	return last.Sub(begin), after.add(before, -1), d.stopAll(ctx, ids)
}

// stopAll stops pods and waits until all have ended.
func (d *bed) stopAll(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if _, _, err := d.Client.StopPod(ctx, id); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := d.podIs(ctx, id, api.PodStopped); err != nil {
			return err
		}
	}
	return nil
}

// lost cuts the agent's socket by killing it, and waits for the watch to see it.
func (b *bench) lost(ctx context.Context, d *bed) error {
	var samples []time.Duration
	for range b.times(5, 10) {
		w, err := harness.Watch(ctx, d.Client.WebSocketURL(), d.Session.AccessToken)
		if err != nil {
			return err
		}
		wait, stop := context.WithTimeout(ctx, waitLimit)
		begin := time.Now()
		d.agent.Kill()
		n, err := w.WaitNode(wait, "bench", "to leave online", func(n api.Node) bool { return n.Status != api.NodeOnline })
		seen := w.FirstSeen(n.ID, string(n.Status))
		stop()
		w.Close()
		if err != nil {
			return err
		}
		samples = append(samples, seen.Sub(begin))
		if err := d.nodeLeaves(ctx); err != nil { // the bed's own watch knows it, too
			return err
		}
		if err := d.node(ctx); err != nil {
			return err
		}
	}
	b.latencies("node.lost", "agent killed", samples)
	return nil
}

// noPool measures with another agent of the same node, which starts a process when it
// is asked for one.
func (b *bench) noPool(ctx context.Context, d *bed) error {
	d.agent.Kill()
	if err := d.nodeLeaves(ctx); err != nil {
		return err
	}
	if err := d.node(ctx, "--warm-pool", "0"); err != nil {
		return err
	}
	var samples []time.Duration
	for i := range max(b.samples/2, 5) + 1 {
		settle(ctx)
		id, took, err := d.deploy(ctx, "1.0.0")
		if err != nil {
			return err
		}
		if i > 0 { // the first one may fetch the bundle
			samples = append(samples, took)
		}
		if _, err := d.stop(ctx, id); err != nil {
			return err
		}
	}
	b.latencies("deploy.running.nopool", "1 node, 10 KB bundle cached, warm pool off", samples)
	return nil
}
