package e2e

import (
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// A tab tells of its pods how long their event loops stood still, in `stark pod top` and
// on the page, and makes nothing up beside.
func TestATabTellsHowLateItsPodsAnswer(t *testing.T) {
	t.Parallel()
	tb := profile(t)
	c := start(t, "STARK_HEARTBEAT_INTERVAL=1s")
	c.hasty()
	c.join(tb)
	node := c.nodeOf(tb)
	c.universal("stands", `module.exports = async ({ ready, signal }) => { ready();
		const t = setInterval(() => { const end = Date.now() + 500; while (Date.now() < end); }, 600);
		await new Promise((done) => signal.addEventListener('abort', done)); clearInterval(t); }`)
	pod := c.pod("stands")
	c.waitStatus(pod.ID, api.PodRunning)
	var told api.Figures
	c.until("the tab to tell that the pod stands still", func() bool {
		found, err := c.Client.PodUsage(t.Context(), api.UsageQuery{PodID: pod.ID})
		if err != nil || len(found) != 1 || found[0].Usage == nil {
			return false
		}
		told = *found[0].Usage
		return told.LoopDelayMS >= 50
	})
	if told.CPU != nil || told.Memory != nil {
		t.Errorf("no browser tells these, the tab told %+v", told)
	}
	machines, err := c.Client.NodeUsage(t.Context(), api.UsageQuery{NodeID: node.ID})
	if err != nil || len(machines) != 1 || machines[0].Usage == nil || machines[0].Usage.CPU != nil || machines[0].Usage.LoopDelayMS == 0 {
		t.Errorf("of the node: %+v, %v", machines, err)
	}
	tb.becomes(`/answers in [1-9]\d* ms/.test(document.querySelector('#runs small').textContent)`)
	tb.shown("#node-use", "1 pod, limits 0.5 of")
}
