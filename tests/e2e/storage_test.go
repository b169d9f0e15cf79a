package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/stark-orchestrator/stark/shared/api"
)

// keeper prints what it finds in its storage, and leaves a note; its first attempt fails.
const keeper = `module.exports = async ({ log, storage, pod, ready, signal }) => {
  log.info('finds ' + (await storage.readdir('/')).join());
  await storage.writeFile('/note', 'of attempt ' + pod.attempt);
  log.info('keeps ' + await storage.readFile('/note'));
  if (pod.attempt === 1) throw new Error('again');
  ready();
  await new Promise((done) => signal.addEventListener('abort', done));
};`

// kept lists the runs whose files the tab keeps in IndexedDB.
const kept = `new Promise((resolve, reject) => {
  const r = indexedDB.open('stark-node-0');
  r.onerror = () => reject(r.error);
  r.onsuccess = () => {
    const keys = r.result.transaction('files').objectStore('files').getAllKeys();
    keys.onsuccess = () => { r.result.close(); resolve(JSON.stringify(keys.result)); };
  };
})`

// Files live as long as the run that wrote them, on both runtimes: neither its next
// attempt finds them nor another pod, and nothing is left of them.
func TestFilesAreTheRunsOwn(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t)
	c.node("host", "--label", "test=host")
	c.join(tb)
	c.universal("keeper", keeper)
	onTab := func(r *api.CreatePodRequest) {
		r.Scheduling = &api.Scheduling{NodeSelector: map[string]string{"stark.io/tab": "true"}}
	}
	want := []string{"INFO finds ", "INFO keeps of attempt 1", "INFO finds ", "INFO keeps of attempt 2"}
	said := func(p api.Pod) {
		t.Helper()
		c.waitLine(p.ID, "INFO keeps of attempt 2")
		c.waitStatus(p.ID, api.PodRunning)
		lines := slices.DeleteFunc(c.lines(p.ID), func(l string) bool { return !slices.Contains(want, l) && l != "INFO finds note" })
		if !slices.Equal(lines, want) {
			t.Errorf("the pod says %q, want %q", lines, want)
		}
	}
	first, second := c.pod("keeper", onTab), c.pod("keeper", onTab)
	for _, p := range []api.Pod{c.pod("keeper", onHost), c.pod("keeper", onHost), first, second} {
		said(p)
	}
	holds := func(runs ...string) {
		t.Helper()
		entries := "["
		slices.Sort(runs)
		for i, r := range runs {
			if i > 0 {
				entries += ","
			}
			entries += fmt.Sprintf("[%q,%q]", r, "/note")
		}
		entries += "]"
		c.until("the tab to keep "+entries, func() bool {
			got, err := chromedp.Run(tb.ctx, chromedp.Evaluate[string](kept, chromedp.EvalAwaitPromise))
			return err == nil && got == entries
		})
	}
	holds(first.ID+"/1/2", second.ID+"/1/2")
	if _, _, err := c.Client.StopPod(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	c.waitStatus(first.ID, api.PodStopped)
	holds(second.ID + "/1/2")
	// A reload ends the run; the next one begins with nothing. It is another incarnation
	// where the tab's leave was heard before the tab was back, else the next attempt.
	tb.do(chromedp.Reload())
	tb.state("online")
	again := c.waitPod(second.ID, "to run again", func(p api.Pod) bool {
		return p.Status == api.PodRunning && (p.Incarnation > 1 && p.Restarts > 0 || p.Restarts > 1)
	})
	holds(fmt.Sprintf("%s/%d/%d", again.ID, again.Incarnation, again.Restarts+1))
}
