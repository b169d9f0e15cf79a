package fault

import (
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Pods that a drain evicts are really stopped where they were and run once elsewhere;
// those that are stopped afterwards are really stopped there.
func TestEvictedPodsStopAndRunElsewhere(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 1)
	ids := c.pods(4, func(r *api.CreatePodRequest) { r.RestartPolicy = api.RestartAlways })
	c.all(ids)
	c.node("node-2")
	var node string
	if err := c.db.QueryRow(t.Context(), "select id::text from public.nodes where name = 'node-1'").Scan(&node); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.DrainNode(t.Context(), node, api.DrainNodeRequest{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the node to be empty", func() error {
		if left := c.podsOn("node-1"); len(left) > 0 {
			return fmt.Errorf("%d pods are still there", len(left))
		}
		return nil
	})
	c.all(ids)
	c.wereStarted(2, ids...)
	c.delete(ids)
	c.settled()
}
