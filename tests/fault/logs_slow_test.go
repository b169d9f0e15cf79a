package fault

import (
	"context"
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// flooding writes numbered lines of a kilobyte, some ten thousand a second.
const flooding = `exports.default = async ({ log, signal, ready }) => {
  ready();
  const pad = " ".padEnd(1000, "x");
  for (let n = 0; !signal.aborted; n++) {
    log.info("n=" + n + pad);
    if (n % 50 === 49) await new Promise((done) => setTimeout(done, 5));
  }
};
`

// newestLine is the number of the line that a pod has written last.
func (c *cluster) newestLine(pod string) (int, error) {
	newest := -1
	for l, err := range c.Client.PodLogs(c.t.Context(), pod, client.LogOptions{Tail: new(1)}) {
		if err != nil {
			return 0, err
		}
		newest = max(newest, number(l))
	}
	return newest, nil
}

// A reader stands still while its pod writes more than its window, the connection and the
// node's ring hold together. Nobody else notices: the node stays online, and a reader of
// another pod there has every line. When it reads on it is told how many lines are lost.
func TestASlowReaderHurtsNobody(t *testing.T) {
	t.Parallel()
	c := start(t, 1, 1)
	c.register("counting", "1.0.0", counting)
	c.register("flooding", "1.0.0", flooding)
	quiet := c.pods(1, func(r *api.CreatePodRequest) { r.PackName = "counting" })[0]
	loud := c.pods(1, func(r *api.CreatePodRequest) { r.PackName = "flooding" })[0]
	c.eventually("the pods to run", func() error { return c.areAll([]string{quiet, loud}, api.PodRunning) })

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	y := &tally{t: t, seen: map[string]int{}}
	stop, stopped := context.WithCancel(ctx)
	other := make(chan error, 1)
	go func() {
		other <- func() error {
			for l, err := range c.Client.Logs(ctx, client.LogQuery{PodIDs: []string{quiet}, LogOptions: client.LogOptions{Follow: true, Tail: new(-1)}}) {
				if err != nil {
					return err
				}
				y.take(l)
				select {
				case <-stop.Done():
					return nil
				default:
				}
			}
			return fmt.Errorf("the stream of the other reader has ended")
		}()
	}()

	const held = 30_000 // lines of a kilobyte: some times what can be under way
	last, lost := -1, 0
	for l, err := range c.Client.Logs(ctx, client.LogQuery{PodIDs: []string{loud}, LogOptions: client.LogOptions{Follow: true, Tail: new(-1)}}) {
		if err != nil {
			t.Fatalf("the slow reader: %v", err)
		}
		lost += l.Dropped
		n := number(l)
		if n < 0 {
			continue
		}
		if last < 0 { // it stands still
			c.eventually("the pod to have written more than fits", func() error {
				newest, err := c.newestLine(loud)
				if err == nil && newest < n+held {
					err = fmt.Errorf("it is at line %d", newest)
				}
				return err
			})
			lost = 0
		} else if lost > 0 || n != last+1 {
			if n != last+1+lost {
				t.Errorf("line %d comes after %d, and %d lines are said to be lost", n, last, lost)
			}
			break
		}
		last = n
	}
	if lost == 0 {
		t.Error("no line was lost: the test shows nothing")
	}
	stopped()
	if err := <-other; err != nil {
		t.Error(err)
	}
	if y.seen[quiet] < 20 || y.resumed > 0 {
		t.Errorf("the other reader came to line %d, with %d interruptions", y.seen[quiet], y.resumed)
	}
	var left int
	if err := c.db.QueryRow(t.Context(), "select count(*) from stark.node_history where new_status <> 'online'").Scan(&left); err != nil || left > 0 {
		t.Errorf("the node has left online %d times: %v", left, err)
	}
}
