package scheduler_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// What an explanation says about a node agrees with the plan: nothing refuses where the
// pod fits, the first of what refuses is the filter of the verdict, and for all of it
// there are words of what would help.
func TestMissesAgreeWithThePlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawCrowd(t)
		for _, p := range s.Pods {
			if p.Status != api.PodPending || p.StopRequestedAt != nil {
				continue
			}
			e := scheduler.Explain(s, p, now)
			filters, wordless := scheduler.Misses(s, p)
			for _, c := range e.Candidates {
				if m := filters[c.NodeName]; len(m) > 0 {
					t.Fatalf("%s takes pod %s, and yet %v refuse it", c.NodeName, p.ID, m)
				}
			}
			if e.Verdict == nil {
				continue
			}
			if len(s.Nodes) > 0 && e.Verdict.Change == "" {
				t.Fatalf("no word of what would help pod %s: %s", p.ID, e.Verdict.Message)
			}
			for _, n := range e.Verdict.Nodes {
				m := filters[n.NodeName]
				if len(m) == 0 || m[0] != n.Filter {
					t.Fatalf("%s refuses pod %s by %s, its misses are %v", n.NodeName, p.ID, n.Filter, m)
				}
			}
			for name, some := range wordless {
				if len(some) == len(filters[name]) {
					t.Fatalf("no word of what would help pod %s past %v of %s", p.ID, some, name)
				}
			}
		}
	})
}
