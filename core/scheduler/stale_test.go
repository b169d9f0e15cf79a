package scheduler_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// The room of a decision that came too late is free again, which nobody else tells: who
// waits for it need not wait for its back-off.
func TestRunGivesTheRoomOfAStaleDecisionAway(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} { // whether the read model knows soon what has become of the pod
		t.Run(fmt.Sprint(told), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &binder{}
				b.bind = func(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
					for _, d := range ds {
						if d.PodID == "first" { // its user has deleted it
							stale = append(stale, d)
						}
					}
					return stale, nil
				}
				st := start(t, b, putNodes(roomFor("n1", 1)))
				first := aPod("first")
				first.Priority = 10
				st.Apply(putPods(first, aPod("waits")))
				synctest.Wait()
				if told {
					st.Apply(store.Batch{Pods: store.Changes[api.Pod]{Delete: []string{"first"}}})
				}
				<-time.After(100 * time.Millisecond)
				synctest.Wait()
				if d := decided(b.take())["waits"]; d.NodeID != "n1" {
					t.Errorf("got %+v, want the pod in the room of the other", d)
				}
			})
		})
	}
}

// Decisions that came too late do not wake each other: what they were made from is the
// same as before.
func TestRunDoesNotTryStaleDecisionsOverAndOver(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{3, 200} {
		t.Run(fmt.Sprint(pods), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tries := map[string]int{}
				b := &binder{bind: func(ds []scheduler.Decision) (stale []scheduler.Decision, err error) {
					for _, d := range ds {
						if d.NodeID != "" {
							tries[d.PodID]++
							stale = append(stale, d)
						}
					}
					return stale, nil
				}}
				var nodes []api.Node
				for i := range pods - 1 {
					nodes = append(nodes, roomFor(fmt.Sprintf("n%d", i), 1))
				}
				st := start(t, b, putNodes(nodes...))
				st.Apply(putPods(crowdOf("p", pods)...))
				<-time.After(20 * time.Second)
				synctest.Wait()
				if len(tries) != pods {
					t.Errorf("%d of %d pods were tried", len(tries), pods)
				}
				for id, n := range tries {
					if n > 20 {
						t.Errorf("%s was tried %d times in 20 s", id, n)
					}
				}
			})
		})
	}
}
