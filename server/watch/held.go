package watch

import (
	"sync"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Held folds what pods hold of nodes, once per change of the pods. It is safe for
// concurrent use; its zero value is ready.
type Held struct {
	mu      sync.Mutex
	version uint64
	folded  map[string]api.Capacity // nobody changes it
}

// Of gives what all pods hold of each node, by its id: also those that nobody who asks may
// see.
func (h *Held) Of(st *store.Store) map[string]api.Capacity {
	pods := st.Pods.Snapshot()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.folded == nil || h.version != pods.Version() {
		h.version = pods.Version()
		h.folded = node.Allocated(func(yield func(api.Pod) bool) {
			for _, p := range pods.All() {
				if pod.HoldsNode(p.Status) && !yield(p) {
					return
				}
			}
		})
	}
	return h.folded
}
