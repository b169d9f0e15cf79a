package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// What a pack does to a tab ends as its own failure; it reaches nothing of the node.
func TestAHostilePackHarmsItselfAlone(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	tb.before(channel)
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("greeter", greeter)
	bystander := c.pod("greeter")
	c.waitStatus(bystander.ID, api.PodRunning)

	c.pack(c.Client, "hostile", func(r *api.CreatePackRequest) { r.RuntimeTag = api.TagUniversal })
	pod := c.pod("hostile", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"SERVER": c.URL, "REMOTE": echo(t)} })
	p := c.waitPod(pod.ID, "to end", func(p api.Pod) bool { return p.Status.Terminal() })
	out := c.lines(pod.ID)
	if p.Status != api.PodSucceeded || len(out) == 0 || out[len(out)-1] != "INFO got: nothing" {
		t.Errorf("the hostile pod is %s: %s\n%s", p.Status, p.StatusMessage, notes(out))
	}
	if len(out) > 5000 {
		t.Errorf("the tab kept %d lines of one pod", len(out))
	}

	tb.heardNothing()

	c.universal("loops", `module.exports = ({ ready }) => { ready(); for (;;); }`)
	// What a worker posts leaves it for sure only once it has yielded: this one says that it
	// is ready, and then loops.
	c.universal("loops-later", `module.exports = ({ ready }) => { ready(); setTimeout(() => { for (;;); }, 100); return new Promise(() => {}); }`)
	loop := c.pod("loops-later", never, func(r *api.CreatePodRequest) { r.TerminationGracePeriodSeconds = new(1) })
	watched := c.pod("loops", never, func(r *api.CreatePodRequest) { r.Metadata = map[string]any{"unresponsiveAfterSeconds": 2} })
	c.waitStatus(loop.ID, api.PodRunning)
	if _, _, err := c.Client.StopPod(t.Context(), loop.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(loop.ID, api.PodStopped)
	if p := c.waitStatus(watched.ID, api.PodFailed); !strings.Contains(p.Reason+p.StatusMessage, "Unresponsive") && !strings.Contains(p.StatusMessage, "stood still") {
		t.Errorf("the loop ended with %s: %s", p.Reason, p.StatusMessage)
	}

	// No browser tells what a worker takes: whoever never yields is ended for that, whoever
	// asks for too much at once fails by itself. The hoard stops growing, as others need
	// memory too.
	c.universal("hoards", `module.exports = ({ ready }) => { ready(); const all = []; for (;;) if (all.length < 512) all.push(new Uint8Array(2 ** 20).fill(1)); }`)
	c.universal("asks-for-all", `module.exports = ({ ready }) => { ready(); return new ArrayBuffer(2 ** 42); }`)
	hoards := c.pod("hoards", never, func(r *api.CreatePodRequest) { r.Metadata = map[string]any{"unresponsiveAfterSeconds": 2} })
	if p := c.waitStatus(c.pod("asks-for-all", never).ID, api.PodFailed); !strings.Contains(p.StatusMessage, "RangeError") {
		t.Errorf("who asks for all memory ended with %s: %s", p.Reason, p.StatusMessage)
	}
	c.waitStatus(hoards.ID, api.PodFailed)

	if now := c.nodeOf(tb); now.ID != node.ID {
		t.Errorf("the node %s has become %s", node.ID, now.ID)
	}
	tb.state("online")
	if p, err := c.Client.GetPod(t.Context(), bystander.ID); err != nil || p.Status != api.PodRunning {
		t.Errorf("the bystander is %s: %s, %v", p.Status, p.StatusMessage, err)
	}
}

// A pack that has got hold of its port to the agent says there what no adapter says: neither
// its agent, nor the page, nor another pod minds.
func TestAPackThatSpeaksPastItsAdaptersHarmsItselfAlone(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	c.universal("greeter", greeter)
	bystander := c.pod("greeter", never)
	c.waitStatus(bystander.ID, api.PodRunning)

	c.pack(c.Client, "speaks-past", func(r *api.CreatePackRequest) { r.RuntimeTag = api.TagUniversal })
	pod := c.pod("speaks-past", never)
	c.waitLine(pod.ID, "INFO the root is there: true, a name is not: false")
	c.waitStatus(pod.ID, api.PodRunning)
	for _, id := range []string{pod.ID, bystander.ID} {
		if _, _, err := c.Client.StopPod(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		c.waitStatus(id, api.PodStopped)
	}
	c.waitLine(bystander.ID, "INFO bye")
	tb.state("online")
	if problem := eval[string](tb, `document.getElementById('problem').textContent`); problem != "" {
		t.Errorf("the page says %q", problem)
	}
	for l, err := range c.Client.PodLogs(t.Context(), pod.ID, client.LogOptions{Tail: new(-1)}) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Line == "of no time" && time.Since(l.Time).Abs() > time.Hour {
			t.Errorf("a line is of %s", l.Time)
		}
	}
}

// A pack that floods its agent past the runtime that would not is ended for it, and another
// pod of the tab goes on.
func TestAPackThatFloodsItsAgentIsEnded(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	node := c.nodeOf(tb)
	c.pack(c.Client, "floods", func(r *api.CreatePackRequest) { r.RuntimeTag = api.TagUniversal })
	c.universal("greeter", greeter)
	bystander := c.pod("greeter", never)
	c.waitStatus(bystander.ID, api.PodRunning)
	for _, flood := range []string{"NUMBERS", "LINES", "COPIES", "UNKNOWN", "PONGS", "FORGED", "QUESTIONS"} {
		pod := c.pod("floods", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"FLOOD": flood} })
		began := time.Now()
		if p := c.waitStatus(pod.ID, api.PodFailed); !strings.Contains(p.StatusMessage, "flooded the agent") {
			t.Errorf("the flood of %s ended with %s: %s", flood, p.Reason, p.StatusMessage)
		}
		t.Logf("%s: ended after %s", flood, time.Since(began).Round(time.Millisecond))
	}
	// Who sends only what it has tickets for waits, and is none.
	obeys := c.pod("floods", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"FLOOD": "TICKETS"} })
	c.waitStatus(obeys.ID, api.PodSucceeded)
	tb.state("online")
	if _, _, err := c.Client.StopPod(t.Context(), bystander.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(bystander.ID, api.PodStopped)
	c.waitLine(bystander.ID, "INFO bye")
	if now := c.nodeOf(tb); now.ID != node.ID {
		t.Errorf("the node %s has become %s", node.ID, now.ID)
	}
}

// A pack that logs through its context as much as it likes is slowed by its runtime, and
// not taken for one that floods.
func TestAPackThatLogsALotIsNoFlood(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	c.universal("logs", `module.exports = async ({ log, ready, env }) => {
		ready();
		for (let i = 0; i < 100; i++) {
			for (let n = 0; n < 1000; n++) log.info(i + ' ' + n + env.REST);
			await new Promise((next) => setTimeout(next, 100));
		}
	};`)
	for _, size := range []int{50, 1000} {
		pod := c.pod("logs", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"REST": strings.Repeat("y", size)} })
		c.waitStatus(pod.ID, api.PodSucceeded)
	}
}

// What a pack prints that never yields is seen, though no ticket can reach it.
func TestOutputOfAPackThatNeverYields(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.join(tb)
	c.universal("turns", `module.exports = ({ ready, log }) => {
		ready();
		for (let n = 0, at = Date.now(); ; n++) {
			log.info('turn ' + n);
			for (at += 50; Date.now() < at;);
		}
	};`)
	pod := c.pod("turns", never, func(r *api.CreatePodRequest) { r.Metadata = map[string]any{"unresponsiveAfterSeconds": 6} })
	c.waitLine(pod.ID, "INFO turn 60") // after the first tickets, and while the loop goes on
	c.waitStatus(pod.ID, api.PodFailed)
}

// slowly makes a thread take 40 ms for every message that a port brings, as a device does
// that is slow or has much else to do.
const slowly = `{ const { get } = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
	Object.defineProperty(MessageEvent.prototype, 'data', { get() {
		const data = get.call(this);
		if (this.target instanceof MessagePort) for (const end = performance.now() + 40; performance.now() < end;);
		return data;
	} }); } undefined`

// However slow the agent's thread is: who keeps to the runtime floods nobody, by output that
// comes with and without an end of the turn, nor by questions to the storage.
func TestASlowTabTakesNoPackForAFlood(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	workers := tb.workers()
	c := start(t)
	c.join(tb)
	eval[any](<-workers, slowly)
	for name, code := range map[string]string{
		"logs": `async ({ log, ready }) => {
			ready();
			for (let i = 0; i < 80; i++) {
				for (let n = 0; n < 1000; n++) log.info(i + ' ' + n + 'y'.repeat(1000));
				await new Promise((next) => setTimeout(next, 100));
			}
			log.info('the last');
		}`,
		"prints": `({ log, ready }) => {
			ready();
			for (const end = Date.now() + 8000; Date.now() < end;) log.info('y'.repeat(1000));
			log.info('the last');
		}`,
		"asks": `async ({ log, ready, storage }) => {
			ready();
			await storage.writeFile('/a', 'y'.repeat(100_000));
			for (let i = 0; i < 2; i++) await Promise.all(Array.from({ length: 65 }, () => storage.stat('/a')));
			for (let i = 0; i < 5; i++) await storage.readFile('/a');
			log.info('the last');
		}`,
	} {
		c.universal(name, "module.exports = "+code)
		pod := c.pod(name, never)
		defer func() {
			c.waitStatus(pod.ID, api.PodSucceeded)
			if out := c.lines(pod.ID); len(out) == 0 || out[len(out)-1] != "INFO the last" {
				t.Errorf("%s: its last lines are lost", name)
			}
		}()
	}
}

// However many pods take of the agent's thread all that they may, by output and by questions,
// on a thread that is slow: the node stays online, and a pod beside them starts, is heard and
// stops.
func TestManyLoudPodsLeaveATabToItself(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	tb.before(`Object.defineProperties(Navigator.prototype, { hardwareConcurrency: { value: 16 }, deviceMemory: { value: 8 } })`) // room for ten pods
	workers := tb.workers()
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.sql(t, `update public.cluster_config set heartbeat_interval_ms = 1000, heartbeat_timeout_ms = 6000, eviction_timeout_ms = 600000`)
	c.join(tb)
	agent := <-workers
	c.pack(c.Client, "floods", func(r *api.CreatePackRequest) { r.RuntimeTag = api.TagUniversal })
	c.universal("asks", `module.exports = async ({ ready, storage }) => {
		await storage.writeFile('/a', 'y'.repeat(1_000_000));
		ready();
		for (;;) await Promise.all(Array.from({ length: 64 }, () => storage.readFile('/a')));
	}`)
	c.universal("greeter", greeter)
	witness := c.pod("greeter", never)
	loud := []api.Pod{c.pod("asks", never)}
	for range 7 {
		loud = append(loud, c.pod("floods", never, func(r *api.CreatePodRequest) { r.Env = map[string]string{"FLOOD": "FOREVER"} }))
	}
	for _, p := range append(loud, witness) {
		c.waitStatus(p.ID, api.PodRunning)
	}
	eval[any](agent, slowly)
	for range 3 {
		pod := c.pod("greeter", never)
		c.waitStatus(pod.ID, api.PodRunning)
		c.waitLine(pod.ID, "INFO hello")
		if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
			t.Fatal(err)
		}
		c.waitStatus(pod.ID, api.PodStopped)
		c.waitLine(pod.ID, "INFO bye")
	}
	tb.state("online")
	for _, p := range append(loud, witness) {
		if now, err := c.Client.GetPod(t.Context(), p.ID); err != nil || now.Status != api.PodRunning {
			t.Errorf("a pod is %s: %s, %v", now.Status, now.StatusMessage, err)
		}
	}
	history, err := c.Client.PodHistory(t.Context(), witness.ID, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range history {
		if h.NewStatus == api.PodUnknown {
			t.Errorf("at %s the node was lost", h.Timestamp)
		}
	}
}

// channel is one that pages of the server's origin share, and packs must not.
const channel = `globalThis.heard = []; try { new BroadcastChannel('stark').onmessage = (e) => heard.push(e.data); } catch {}`

// heardNothing fails where a pack was heard on the channel of the page, which itself is.
func (tb *tab) heardNothing() {
	tb.t.Helper()
	eval[any](tb, `{ new BroadcastChannel('stark').postMessage('from the page'); }`)
	tb.becomes(`heard.includes('from the page')`)
	if all := eval[[]string](tb, `heard`); len(all) != 1 {
		tb.t.Errorf("the page hears %q", all)
	}
}

// notes are the lines that are no flood.
func notes(lines []string) string {
	var out []string
	for _, l := range lines {
		if !strings.Contains(l, "xxxx") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}
