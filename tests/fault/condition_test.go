package fault

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// patient is a real agent in this process, whose health the test decides.
type patient struct {
	fake    *executortest.Fake
	ready   atomic.Bool
	changed chan struct{}
}

func (c *cluster) patient(name string) *patient {
	c.t.Helper()
	token, err := c.Client.CreateJoinToken(c.t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	state, err := filestate.Open(c.t.TempDir())
	if err != nil {
		c.t.Fatal(err)
	}
	p := &patient{fake: &executortest.Fake{}, changed: make(chan struct{}, 1)}
	p.ready.Store(true)
	a, err := agent.New(agent.Config{
		URL: c.URL, Name: name, Token: token.Token, Allocatable: &api.Capacity{CPU: 8000, Memory: 8192, Storage: 8192, Pods: 50},
		Executor: p.fake, State: state, Dialer: wsconn.Dialer{}, ConditionsChanged: p.changed, Logger: loggingtest.New(c.t, token.Token).Logger,
		Conditions: func() []api.NodeCondition {
			return []api.NodeCondition{{Type: "Ready", Status: p.ready.Load(), Reason: "TestSaysSo"}}
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("the agent of %s: %v", name, err)
		}
		if err := state.Close(); err != nil {
			c.t.Error(err)
		}
	})
	c.eventually("node "+name+" to be online", func() error { return c.nodeIs(name, api.NodeOnline) })
	return p
}

// feels tells the server how the node is.
func (p *patient) feels(ready bool) {
	p.ready.Store(ready)
	select {
	case p.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// areRunning waits until all of the pods run; those of the patient have no process.
func (c *cluster) areRunning(ids []string) {
	c.t.Helper()
	c.eventually("all pods to run", func() error {
		var n int
		err := c.db.QueryRow(c.t.Context(), "select count(*) from public.pods where id = any ($1::text[]::uuid[]) and status = 'running'", ids).Scan(&n)
		if err == nil && n != len(ids) {
			err = fmt.Errorf("%d of %d run", n, len(ids))
		}
		return err
	})
}

// A node that says that it is not ready is tainted by itself; who does not tolerate that
// stops there and runs elsewhere, once; who does stays; and with the condition the taint
// goes.
func TestAConditionTaintsEvictsAndPlacesElsewhere(t *testing.T) {
	t.Parallel()
	c := bare(t, 1)
	c.giveUpAfter(30*time.Second, time.Second)
	ill := c.patient("ill")
	const key = "node.stark.io/not-ready"
	tolerate := func(seconds *int64) func(*api.CreatePodRequest) {
		return func(r *api.CreatePodRequest) {
			r.Tolerations = []api.Toleration{{Key: key, Operator: api.TolerationExists, Effect: api.NoExecute, TolerationSeconds: seconds}}
		}
	}
	leaves := c.pods(2) // they tolerate it for as long as the cluster says
	stays := c.pods(2, tolerate(nil))
	c.areRunning(slices.Concat(leaves, stays))
	if on := c.podsOn("ill"); len(on) != 4 {
		t.Fatalf("%d pods are on the node, want 4", len(on))
	}
	c.node("well")

	ill.feels(false)
	c.eventually("two pods to have moved", func() error {
		if on := c.podsOn("well"); len(on) != 2 || !slices.Contains(on, leaves[0]) || !slices.Contains(on, leaves[1]) {
			return fmt.Errorf("on the other node: %v", on)
		}
		return nil
	})
	c.areRunning(slices.Concat(leaves, stays))
	if on := c.podsOn("ill"); len(on) != 2 || !slices.Contains(on, stays[0]) || !slices.Contains(on, stays[1]) {
		t.Errorf("on the node that is not ready: %v, want %v", on, stays)
	}
	tainted := func() error {
		var n int
		err := c.db.QueryRow(t.Context(), `select count(*) from public.nodes, jsonb_array_elements(taints) x
			where name = 'ill' and x ->> 'key' = $1 and x ->> 'effect' = 'NoExecute'`, key).Scan(&n)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d taints", n)
		}
		return err
	}
	if err := tainted(); err != nil {
		t.Error(err)
	}
	for _, id := range leaves {
		p, err := c.Client.GetPod(t.Context(), id)
		if err != nil || p.Incarnation != 2 || p.Status != api.PodRunning {
			t.Errorf("%+v, %v: want it to run in its second incarnation", p, err)
		}
	}
	// Each began once on the one node and once on the other, where it counts itself.
	if n := len(ill.fake.Starts()); n != 4 || ill.fake.Live() != 2 {
		t.Errorf("%d runs began on the node, and %d live", n, ill.fake.Live())
	}
	c.wereStarted(1, leaves...)

	ill.feels(true)
	c.eventually("the taint to be gone", func() error {
		if tainted() == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}
