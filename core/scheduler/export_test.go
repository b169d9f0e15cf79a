package scheduler

import "github.com/stark-orchestrator/stark/shared/api"

// Misses gives the names of all filters that refuse a pod, by node, and of those the
// ones for which there is no word of what would help.
func Misses(s Snapshot, p api.Pod) (filters, wordless map[string][]string) {
	x := newIndex(s)
	x.putPod(&p)
	x.release(&p)
	q := x.queryFor(&p)
	x.filter(q)
	filters, wordless = map[string][]string{}, map[string][]string{}
	for slot := range x.nodes {
		name := x.nodes[slot].node.Name
		for _, f := range x.misses(q, int32(slot)) {
			filters[name] = append(filters[name], f.name())
			if len(x.hints(q, int32(slot), f)) == 0 {
				wordless[name] = append(wordless[name], f.name())
			}
		}
	}
	return filters, wordless
}
