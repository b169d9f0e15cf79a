package node

import (
	"fmt"

	"github.com/stark-orchestrator/stark/shared/api"
)

// DrainStep is what one look at a draining node finds.
type DrainStep struct {
	Evict     []api.Pod        // to be told to leave now
	Blocked   []api.DrainBlock // not told, and why
	Remaining int              // pods that are still there, told or not
}

// PlanDrain decides what a drain does next with the live pods of a node, in their
// order. allowed says how many pods of a namespace may be disrupted now; it is asked
// once for each pod that would count, and left out with IgnoreBudget. A pod that is
// not running counts for no budget: nobody is served by it.
func PlanDrain(d api.NodeDrain, pods []api.Pod, allowed func(namespace string) (now, most int, limited bool)) DrainStep {
	ignore, err := api.ParseSelector(d.IgnoreLabels)
	spares := d.IgnoreLabels != "" && err == nil
	spent := map[string]int{}
	var s DrainStep
	for _, p := range pods {
		if spares && ignore.Matches(p.Labels) {
			continue
		}
		s.Remaining++
		if p.Eviction != nil || p.StopRequestedAt != nil || p.Status == api.PodStopping || p.Status == api.PodUnknown {
			continue
		}
		if p.RestartPolicy == api.RestartNever && !d.Force {
			s.block(p, api.BlockedByPolicy, "restartPolicy is Never, so that it would not run again: drain with force")
			continue
		}
		if now, most, limited := allowed(p.Namespace); limited && !d.IgnoreBudget && p.Status == api.PodRunning {
			if spent[p.Namespace] >= now {
				s.block(p, api.BlockedByBudget, fmt.Sprintf("namespace %s allows %d unavailable pods at once", p.Namespace, most))
				continue
			}
			spent[p.Namespace]++
		}
		s.Evict = append(s.Evict, p)
	}
	return s
}

func (s *DrainStep) block(p api.Pod, reason, message string) {
	s.Blocked = append(s.Blocked, api.DrainBlock{PodID: p.ID, PackName: p.PackName, Namespace: p.Namespace, Reason: reason, Message: message})
}
