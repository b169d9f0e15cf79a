package dispatch

import (
	"context"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// route tells nodes what changes of pods mean to them, until ctx ends. One
// goroutine serves all nodes: ten thousand watches would each see every change.
func (d *Dispatcher) route(ctx context.Context) {
	placed := map[string]string{} // pod -> the node that was told of it last
	resync, first := false, true
	for e := range d.Store.Pods.Watch(ctx) {
		switch e.Type {
		case store.Put:
			d.routePut(placed, e.Value)
		case store.Delete:
			d.routeDelete(placed, e.Value)
		case store.Resync:
			resync = true
		case store.Bookmark: // says nothing of any pod
		case store.Synced:
			if first {
				first = false
				close(d.routing)
			}
			if resync { // deletions may have been missed: the complete sets tell
				resync = false
				for _, s := range d.registered() {
					s.resync()
				}
			}
		}
	}
}

// routePut tells the node that has the pod now and the one that had it before.
func (d *Dispatcher) routePut(placed map[string]string, p *api.Pod) {
	before, now := placed[p.ID], ""
	if p.NodeID != nil {
		now = *p.NodeID
	}
	if before != "" && before != now {
		if s := d.nodeSession(before); s != nil {
			s.apply(*p)
		}
	}
	if now != "" {
		if s := d.nodeSession(now); s != nil {
			s.apply(*p)
		}
	}
	if now == "" || p.Status.Terminal() {
		delete(placed, p.ID)
	} else {
		placed[p.ID] = now
	}
}

// routeDelete tells the pod's node. When the read model has never seen the pod on
// a node, a complete set may have shown it to one all the same.
func (d *Dispatcher) routeDelete(placed map[string]string, p *api.Pod) {
	nodeID := placed[p.ID]
	delete(placed, p.ID)
	if nodeID == "" && p.NodeID != nil {
		nodeID = *p.NodeID
	}
	if nodeID == "" {
		for _, s := range d.registered() {
			s.remove(p.ID)
		}
		return
	}
	if s := d.nodeSession(nodeID); s != nil {
		s.remove(p.ID)
	}
}
