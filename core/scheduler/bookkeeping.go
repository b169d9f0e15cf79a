package scheduler

import (
	"maps"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// rebuild makes the index anew from the read model and what was bound since.
func (l *loop) rebuild() {
	s := Snapshot{
		Config: l.st.Config(), Members: all(l.st.Members.Snapshot()),
		Namespaces: all(l.st.Namespaces.Snapshot()), PriorityClasses: all(l.st.PriorityClasses.Snapshot()),
	}
	old := l.x
	l.x = newIndex(s)
	l.x.pack = func(id string) (api.Pack, bool) { return l.st.Packs.Snapshot().Get(id) }
	l.versions = l.tableVersions()
	if old == nil {
		return
	}
	for i := range old.nodes {
		if n := old.nodes[i].node; n != nil {
			l.x.putNode(n)
		}
	}
	pods := l.st.Pods.Snapshot()
	for id := range old.pods {
		if p, ok := pods.Get(id); ok {
			l.takePod(&p)
		}
	}
}

func (l *loop) tableVersions() [4]uint64 {
	return [4]uint64{
		l.st.Configs.Snapshot().Version(), l.st.Members.Snapshot().Version(),
		l.st.Namespaces.Snapshot().Version(), l.st.PriorityClasses.Snapshot().Version(),
	}
}

// refresh takes in what has changed besides pods and nodes. Namespaces change with
// every pod, since they count what they use; that is nothing to a plan.
func (l *loop) refresh() {
	now := l.tableVersions()
	if now == l.versions {
		return
	}
	namespaces := l.st.Namespaces.Snapshot()
	if now[0] == l.versions[0] && now[1] == l.versions[1] && now[3] == l.versions[3] && l.sameNamespaces(namespaces) {
		l.versions = now
		return
	}
	l.rebuild()
	l.news.all = true
}

func (l *loop) sameNamespaces(view store.View[api.Namespace]) bool {
	if view.Len() != len(l.x.namespaces) {
		return false
	}
	for name, ns := range view.All() {
		old, ok := l.x.namespaces[name]
		if !ok || !maps.Equal(old.Labels, ns.Labels) || budget(old) != budget(ns) {
			return false
		}
	}
	return true
}

func budget(ns api.Namespace) int {
	if ns.DisruptionBudget == nil {
		return -1
	}
	return ns.DisruptionBudget.MaxUnavailable
}

func (l *loop) nodeEvent(e store.Event[api.Node]) {
	l.known = max(l.known, e.Version)
	switch e.Type {
	case store.Put:
		delete(l.lost, e.ID)
		l.x.putNode(e.Value)
		l.news.node(l.x.slots[e.ID])
	case store.Delete:
		l.x.deleteNode(e.ID)
	case store.Resync:
		l.behind[1] = true
		for id := range l.x.slots {
			l.lost[id] = struct{}{}
		}
	case store.Synced:
		l.behind[1] = false
		for id := range l.lost {
			l.x.deleteNode(id)
		}
		clear(l.lost)
	default: // a bookmark changes nothing
	}
}

func (l *loop) podEvents(some []store.Event[api.Pod]) {
	for i := range some {
		l.podEvent(&some[i])
		l.knownPods = max(l.knownPods, some[i].Version)
	}
}

func (l *loop) podEvent(e *store.Event[api.Pod]) {
	switch e.Type {
	case store.Put:
		delete(l.unseen, e.ID)
		l.takePod(e.Value)
	case store.Delete:
		l.dropPod(e.ID)
	case store.Resync:
		l.behind[0] = true
		for id := range l.x.pods {
			l.unseen[id] = struct{}{}
		}
	case store.Synced:
		l.behind[0] = false
		for id := range l.unseen {
			l.dropPod(id)
		}
		clear(l.unseen)
	default: // a bookmark changes nothing
	}
}

// takePod takes in what a pod has become. One that was bound stays so until the read
// model shows what it became, so that a feed that lags does not have it planned again.
func (l *loop) takePod(p *api.Pod) {
	if a, ok := l.bound[p.ID]; ok {
		if waiting(p) && p.Incarnation == a.incarnation {
			a.seen = p
			l.bound[p.ID] = a
			if e := l.x.pods[p.ID]; e != nil && e.assumed {
				return
			}
			l.x.putPod(p)
			if slot, there := l.x.slots[a.nodeID]; there {
				l.x.assume(l.x.pods[p.ID], slot)
			}
			return
		}
		if p.Incarnation < a.incarnation {
			return // the index was made anew from more than the feed has told yet
		}
		delete(l.bound, p.ID)
	}
	if e := l.x.pods[p.ID]; e != nil && e.pod.Incarnation != p.Incarnation {
		l.forget(p.ID) // its row has lost the word, too
	}
	l.news.leaves(l.x.pods[p.ID])
	l.x.putPod(p)
	e := l.x.pods[p.ID]
	l.news.comes(e)
	if !waiting(p) {
		l.forget(p.ID)
		return
	}
	if at := l.parked[p.ID]; at == nil || !sameWish(at.pod, p) {
		delete(l.parked, p.ID)
		l.active[p.ID] = struct{}{}
	}
}

func (l *loop) dropPod(id string) {
	l.news.leaves(l.x.pods[id])
	l.x.deletePod(id)
	delete(l.bound, id)
	l.forget(id)
}

// forget drops what is kept about a pod that waits no more.
func (l *loop) forget(id string) {
	delete(l.active, id)
	delete(l.parked, id)
	delete(l.verdicts, id)
}

// sameWish reports whether a pod still asks for the same: what the scheduler itself
// writes into its row is no reason to look at it again.
func sameWish(a, b *api.Pod) bool {
	return a.Incarnation == b.Incarnation && a.PackID == b.PackID && a.Priority == b.Priority && maps.Equal(a.Labels, b.Labels)
}

// fresh parks what has no node and drops verdicts that are stored already.
func (l *loop) fresh(ds []Decision, now time.Time) []Decision {
	out := ds[:0]
	for _, d := range ds {
		if d.Verdict != nil {
			l.park(&d, now)
			if l.verdicts[d.PodID] == said(&d) && len(d.Victims) == 0 {
				continue
			}
		}
		out = append(out, d)
	}
	return out
}

func said(d *Decision) string {
	return d.Verdict.Reason + " " + d.Verdict.Message + " " + d.NominatedNodeID
}
