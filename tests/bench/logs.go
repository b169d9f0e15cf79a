package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// talker writes so many numbered lines of some hundred bytes a second for so long, by
// the clock: what a busy moment delays comes behind it.
const talker = `exports.default = async ({ env, log, signal, ready }) => {
  const rate = +env.RATE, all = rate * +env.SECONDS, pad = "x".repeat(80);
  ready();
  await new Promise((done) => setTimeout(done, +env.WAIT));
  const began = performance.now();
  for (let n = 0; n < all && !signal.aborted; ) {
    for (const due = Math.min(all, (performance.now() - began) * rate / 1000); n < due; n++) log.info("n=" + n + " " + pad);
    await new Promise((done) => setTimeout(done, 5));
  }
  log.info("n=" + all + " the last");
  await new Promise((done) => signal.addEventListener("abort", done));
};
`

const (
	logSeconds   = 5
	crowdPods    = 100
	crowdRate    = 1000
	crowdSeconds = 30
)

// logRates are tried one after the other, until a line is lost. A short run has fewer
// and begins at the target.
func (b *bench) logRates() []int {
	if b.full {
		return []int{5_000, 10_000, 20_000, 30_000, 40_000, 60_000, 80_000}
	}
	return []int{20_000, 40_000, 60_000}
}

// heard is what came to a follower.
type heard struct {
	lines, lost int
	notices     []string
	took        time.Duration // from the first line to the last
	agent       time.Duration // CPU
	server      time.Duration
}

// oneTalker finds the highest rate at which a follower of one pod gets every line.
func (b *bench) oneTalker(ctx context.Context, d *bed) error {
	var best heard
	rate := 0
	for _, r := range b.logRates() {
		h, err := d.listen(ctx, r)
		if err != nil {
			return err
		}
		if h.lost > 0 {
			break
		}
		best, rate = h, r
	}
	for r := 10_000; rate == 0 && r >= 2_500; r /= 2 { // only where the first is too much
		h, err := d.listen(ctx, r)
		if err != nil {
			return err
		}
		if h.lost == 0 {
			best, rate = h, r
		}
	}
	if rate == 0 {
		return errors.New("logs: lines are lost at the lowest rate")
	}
	setup := fmt.Sprintf("one pod, lines of 100 bytes, one follower over REST, %d s at %d/s, load %s", logSeconds, rate, load())
	per := func(cpu time.Duration) float64 { return float64(cpu.Nanoseconds()) / 1000 / float64(best.lines) }
	b.figures["logs"] = figure{Value: float64(best.lines) / best.took.Seconds(), Unit: "/s", Setup: setup}
	b.figures["logs.agent.cpu"] = figure{Value: per(best.agent), Unit: "us", Setup: "CPU of the agent for each of these lines, without the pod's process"}
	b.figures["logs.server.cpu"] = figure{Value: per(best.server), Unit: "us", Setup: "CPU of the server for each of these lines"}
	return nil
}

func (d *bed) listen(ctx context.Context, rate int) (heard, error) {
	ctx, stop := context.WithTimeout(ctx, 2*waitLimit)
	defer stop()
	pod, err := d.Client.CreatePod(ctx, talking(rate, logSeconds, time.Second))
	if err != nil {
		return heard{}, err
	}
	if err := d.podIs(ctx, pod.ID, api.PodRunning); err != nil {
		return heard{}, err
	}
	defer func() { _, _ = d.stop(ctx, pod.ID) }()
	return d.hear(ctx, client.LogQuery{PodIDs: []string{pod.ID}}, 1)
}

func talking(rate, seconds int, wait time.Duration) api.CreatePodRequest {
	return api.CreatePodRequest{PackName: "talker", Labels: map[string]string{"talks": "yes"}, Env: map[string]string{
		"RATE": strconv.Itoa(rate), "SECONDS": strconv.Itoa(seconds), "WAIT": strconv.FormatInt(wait.Milliseconds(), 10),
	}}
}

// hear follows until so many pods have written their last line.
func (d *bed) hear(ctx context.Context, q client.LogQuery, pods int) (heard, error) {
	var h heard
	q.Follow, q.Tail, q.MaxPods = true, new(-1), api.MaxLogPods
	agent, err := cpuOfProcess(d.agent.PID())
	if err != nil {
		return h, err
	}
	server, err := cpuOfProcess(d.Server.PID())
	if err != nil {
		return h, err
	}
	var began time.Time
	for l, err := range d.Client.Logs(ctx, q) {
		if err != nil {
			return h, err
		}
		if began.IsZero() {
			began = time.Now()
		}
		switch {
		case l.Notice != "":
			h.notices = append(h.notices, l.Notice)
		case l.Dropped > 0:
			h.lost += l.Dropped
		default:
			h.lines++
		}
		if strings.HasSuffix(l.Line, " the last") {
			if pods--; pods == 0 {
				break
			}
		}
	}
	h.took = time.Since(began)
	agentNow, err := cpuOfProcess(d.agent.PID())
	if err != nil {
		return h, err
	}
	serverNow, err := cpuOfProcess(d.Server.PID())
	h.agent, h.server = agentNow-agent, serverNow-server
	return h, err
}

// crowd has many pods write more than the machine can carry, and looks what arrives, what
// is marked, and what it costs in memory; a second reader stands still all the while.
func (b *bench) crowd(ctx context.Context, d *bed) error {
	ctx, stop := context.WithTimeout(ctx, 6*waitLimit)
	defer stop()
	var ids []string
	for range crowdPods {
		// All have started before the first of them writes.
		pod, err := d.Client.CreatePod(ctx, talking(crowdRate, crowdSeconds, 20*time.Second))
		if err != nil {
			return err
		}
		ids = append(ids, pod.ID)
	}
	for _, id := range ids {
		if err := d.podIs(ctx, id, api.PodRunning); err != nil {
			return err
		}
	}
	sampled := make(chan [2]float64)
	sampling, sampledAll := context.WithCancel(ctx)
	go func() { sampled <- d.peaks(sampling) }()
	go d.standStill(sampling, ids[0])
	h, err := d.hear(ctx, client.LogQuery{Matching: true, LabelSelector: "talks=yes"}, crowdPods)
	sampledAll()
	peaks := <-sampled
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := d.stop(ctx, id); err != nil {
			return err
		}
	}
	all := crowdPods * (crowdRate*crowdSeconds + 1)
	setup := fmt.Sprintf("%d pods write %d lines/s each for %d s; one follower of all, one reader that stands still; %d arrived in %.0f s, %d marked as lost, %d neither; agent %.1f s of CPU, server %.1f s; load %s",
		crowdPods, crowdRate, crowdSeconds, h.lines, h.took.Seconds(), h.lost, all-h.lines-h.lost, h.agent.Seconds(), h.server.Seconds(), load())
	b.figures["logs.crowd"] = figure{Value: float64(h.lines) / h.took.Seconds(), Unit: "/s", Setup: setup}
	b.figures["logs.crowd.rss"] = figure{Value: max(peaks[0], peaks[1]), Unit: "MiB", Setup: fmt.Sprintf("the most that the agent (%.0f) and the server (%.0f) held in memory meanwhile", peaks[0], peaks[1])}
	return nil
}

// standStill opens the output of a pod and takes nothing of it.
func (d *bed) standStill(ctx context.Context, id string) {
	for range d.Client.PodLogs(ctx, id, client.LogOptions{Follow: true, Tail: new(-1)}) { //nolint:errcheck // it reads nothing
		<-ctx.Done()
	}
}

// peaks gives the most memory that the agent and the server take until ctx ends, in MiB.
func (d *bed) peaks(ctx context.Context) (most [2]float64) {
	for ctx.Err() == nil {
		for i, pid := range []int{d.agent.PID(), d.Server.PID()} {
			if held, err := residentMemory(pid); err == nil {
				most[i] = max(most[i], held)
			}
		}
		pause(ctx, 250*time.Millisecond)
	}
	return most
}
