package fault

import (
	"context"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// tally counts what a follower of several pods that run "counting" is given.
type tally struct {
	t       *testing.T
	seen    map[string]int // number of the last line of each pod
	resumed int            // notices that the stream is taken up again
	joined  int
}

// take checks that a line is the next of its pod.
func (y *tally) take(l api.LogLine) {
	switch n := number(l); {
	case l.Event == api.LogJoined:
		y.joined++
	case l.Notice != "" && l.PodID == "":
		y.resumed++
	case l.Dropped > 0:
		y.t.Errorf("%d lines of pod %s are lost", l.Dropped, l.PodID)
	case n >= 0:
		last, known := y.seen[l.PodID]
		if known && n != last+1 || !known && n != 0 {
			y.t.Errorf("pod %s: line %d comes after %d", l.PodID, n, last)
		}
		y.seen[l.PodID] = n
	}
}

// all reports whether so many pods have each come to line n.
func (y *tally) all(pods, n int) bool {
	for _, last := range y.seen {
		if last < n {
			return false
		}
	}
	return len(y.seen) >= pods
}

func (y *tally) most() int {
	most := 0
	for _, last := range y.seen {
		most = max(most, last)
	}
	return most
}

// A follower of a selector is at one of two servers, and both are killed in turn: no
// line of any pod is missing or comes twice, and a pod that is made meanwhile joins with
// its first line.
func TestFollowersOutliveTheirServer(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 2)
	c.register("counting", "1.0.0", counting)
	labelled := func(r *api.CreatePodRequest) {
		r.PackName, r.Labels = "counting", map[string]string{"app": "followed"}
	}
	pods := c.pods(2, labelled)
	c.eventually("the pods to run", func() error { return c.areAll(pods, api.PodRunning) })

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	y := &tally{t: t, seen: map[string]int{}}
	query := client.LogQuery{Matching: true, LabelSelector: "app=followed", LogOptions: client.LogOptions{Follow: true, Tail: new(-1)}}
	step, until := 0, 20
	for l, err := range c.Client.Logs(ctx, query) {
		if err != nil {
			t.Fatalf("follow after %d steps: %v", step, err)
		}
		y.take(l)
		if !y.all(2+min(step, 1), until) {
			continue
		}
		switch step {
		case 0:
			c.Servers[0].Kill()
			c.pods(1, labelled)
		case 1:
			c.restart(c.Servers[0])
			c.Servers[1].Kill()
		}
		if step++; step == 3 {
			break
		}
		until = y.most() + 20
	}
	if step != 3 || y.resumed < 2 || y.joined > 1 {
		t.Errorf("%d steps, %d notices about the stream, %d pods that joined", step, y.resumed, y.joined)
	}
	c.restart(c.Servers[1])
}
