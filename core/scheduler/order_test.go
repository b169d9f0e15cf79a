package scheduler_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A pod is never planned without a node that came before it. It would be told, or do,
// what was never true: drive out another pod, where a node had room.
func TestAPodIsPlannedWithEveryNodeThatCameBeforeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		st := start(t, b, store.Batch{})
		for i := range 200 {
			synctest.Wait()
			id := fmt.Sprint(i)
			n, p := aNode("n"+id), aPod("p"+id)
			n.Labels = map[string]string{"only": id}
			p.Scheduling.NodeSelector = n.Labels
			st.Apply(putNodes(n))
			st.Apply(putPods(p))
		}
		synctest.Wait()
		for _, ds := range b.take() {
			for _, d := range ds {
				if d.Verdict != nil {
					t.Fatalf("pod %s was refused: %s", d.PodID, d.Verdict.Message)
				}
			}
		}
	})
}

// The same holds where so many nodes came that the watch of them begins anew.
func TestAPodIsPlannedWithAllOfManyNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &binder{}
		st := start(t, b, store.Batch{})
		synctest.Wait()
		nodes := make([]api.Node, 2*store.WatchBuffer)
		for i := range nodes {
			nodes[i] = aNode(fmt.Sprintf("n%d", i))
		}
		last := &nodes[len(nodes)-1]
		last.Labels = map[string]string{"only": "last"}
		p := aPod("p")
		p.Scheduling.NodeSelector = last.Labels
		st.Apply(putNodes(nodes...))
		st.Apply(putPods(p))
		synctest.Wait()
		if calls := b.take(); len(calls) != 1 || calls[0][0].NodeID != last.ID {
			t.Fatalf("got %+v, want the pod bound at once to %s", calls, last.ID)
		}
	})
}
