package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	// mostOwn bounds the pods that are remembered, some 700 bytes each.
	mostOwn = 20_000
	// ownFor is longer than a feed goes without reading. What it has not come by until then
	// it has read before it was remembered.
	ownFor = 2 * pollListening
	// landIn is how long the feed waits for word of own writes that it has come by before
	// whoever made them, and landMany of how many pods: to read them costs more than that.
	landIn   = 3 * time.Millisecond
	landMany = 32
)

// ownWrites remembers the pods that this process has written, as they are since, until the
// feed comes by: it need not read them again then. A crowd that is made and bound by one
// server would otherwise be read twice, which costs more than to bind it.
//
// What is remembered of a pod is true where the log says that no other transaction has
// written it since the feed has last read, and where the read model has it as that
// transaction found it. Versions are those of rows, the lower half of their transactions:
// they mean one only among transactions of a few minutes in one life of the database. That
// a life has ended the feed finds out before it reads on, and then remembers nothing.
type ownWrites struct {
	unasked bool // there is no read model, and nothing is remembered

	mu    sync.Mutex
	of    map[string]ownWrite // guarded by mu; version -> pods
	count int                 // guarded by mu; of pods
	under int                 // guarded by mu; writes that are under way
	ended chan struct{}       // guarded by mu; closed as one of them has ended
}

type ownWrite struct {
	pods map[string]*ownPod // by id
	when time.Time
}

// ownPod is a pod as it was written, and the version that it had before, "" for a new one.
type ownPod struct {
	api.Pod
	from string
}

// begin says that there will be something to remember, or not, when end is called.
func (o *ownWrites) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended == nil {
		o.ended = make(chan struct{})
	}
	o.under++
}

func (o *ownWrites) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.under--
	close(o.ended)
	o.ended = make(chan struct{})
}

// await gives own writes that were committed the time to be remembered: a commit is seen by
// others before whoever made it has heard of it, and the more so the more there is to tell.
func (o *ownWrites) await(ctx context.Context, changed map[string]string) {
	by := map[string]int{}
	for _, version := range changed {
		by[version]++
	}
	within, cancel := context.WithTimeout(ctx, landIn)
	defer cancel()
	for {
		ended := o.missing(by)
		if ended == nil {
			return
		}
		select {
		case <-ended:
		case <-within.Done():
			return
		}
	}
}

// missing gives what tells of the next end of a write, nil where it is not worth the wait.
func (o *ownWrites) missing(by map[string]int) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.under == 0 || o.unasked {
		return nil
	}
	for version, n := range by {
		if _, known := o.of[version]; !known && version != "" && n >= landMany {
			return o.ended
		}
	}
	return nil
}

// remember notes what a transaction that has committed made of pods. The oldest are
// forgotten where they are too many.
func (o *ownWrites) remember(version string, pods map[string]*ownPod) {
	if o.unasked || len(pods) == 0 || len(pods) > mostOwn {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of == nil {
		o.of = map[string]ownWrite{}
	}
	o.drop(version)
	for o.count+len(pods) > mostOwn {
		o.drop(slices.MinFunc(slices.Collect(maps.Keys(o.of)), func(a, b string) int { return o.of[a].when.Compare(o.of[b].when) }))
	}
	o.of[version], o.count = ownWrite{pods, time.Now()}, o.count+len(pods)
}

// drop needs mu.
func (o *ownWrites) drop(version string) {
	o.count -= len(o.of[version].pods)
	delete(o.of, version)
}

// take gives the pods that need not be read: of those that have changed, with the version
// that the only transaction has given them that did it. What these transactions made of
// others, and what is old, nobody will ask for any more.
func (o *ownWrites) take(changed map[string]string, view store.View[api.Pod]) map[string]*api.Pod {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.count == 0 {
		return nil
	}
	known := make(map[string]*api.Pod, len(changed))
	come := map[string]bool{}
	for id, version := range changed {
		w, ok := o.of[version]
		if !ok {
			continue
		}
		come[version] = true
		p := w.pods[id]
		if p == nil {
			continue
		}
		if before, there := view.Get(id); there == (p.from != "") && before.ResourceVersion == p.from {
			known[id] = &p.Pod
		}
	}
	for version := range come {
		o.drop(version)
	}
	for version, w := range o.of {
		if time.Since(w.when) > ownFor {
			o.drop(version)
		}
	}
	return known
}

// clear forgets all of it.
func (o *ownWrites) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.of)
	o.count = 0
}

// created remembers new pods of one transaction.
func (o *ownWrites) created(pods []api.Pod) {
	own := make([]ownPod, len(pods))
	for i := range pods {
		own[i].Pod = pods[i]
	}
	o.made(own)
}

// made is created for pods that nobody else has.
func (o *ownWrites) made(own []ownPod) {
	if len(own) == 0 {
		return
	}
	pods := make(map[string]*ownPod, len(own))
	for i := range own {
		pods[own[i].ID] = &own[i]
	}
	o.remember(own[0].ResourceVersion, pods)
}

// foresee says of decisions for nodes what their pods will be, by a read model whose
// versions the connection that is to bind them vouches for: of each that is as plain as pods
// that wait are, a bind changes what bindSQL says, and no trigger changes more.
func (db *DB) foresee(placed []scheduler.Decision, conn *pgx.Conn) map[string]*ownPod {
	foreseen := make(map[string]*ownPod, len(placed))
	model, ok := db.recollect()
	if !ok || !model.vouches(conn) {
		return foreseen
	}
	nodes := db.model.Nodes.Snapshot()
	for _, d := range placed {
		p, ok := model.view.Get(d.PodID)
		n, there := nodes.Get(d.NodeID)
		if !ok || !there || p.Status != api.PodPending || p.Incarnation != d.Incarnation || p.NodeID != nil ||
			p.Rollout != nil || p.Eviction != nil || p.StopRequestedAt != nil {
			continue
		}
		after := &ownPod{Pod: p, from: p.ResourceVersion}
		nodeID := d.NodeID // alone: the pod must not hold a copy of its node
		after.Status, after.NodeID, after.NodeName = api.PodScheduled, &nodeID, n.Name
		after.Reason, after.StatusMessage, after.NominatedNodeID = "", "", ""
		foreseen[p.ID] = after
	}
	return foreseen
}

// bound remembers what has become of pods that were bound as was foreseen.
func (o *ownWrites) bound(foreseen map[string]*ownPod, done bindOutcome) {
	version := versionOf(done.transaction)
	became := make(map[string]*ownPod, len(done.bound))
	for _, id := range done.bound {
		if p := foreseen[id]; p != nil {
			p.ScheduledAt, p.UpdatedAt, p.ResourceVersion = &done.at, done.at, version
			became[id] = p
		}
	}
	o.remember(version, became)
}

// versionOf is the version of rows that a transaction has written: their xmin, which is the
// lower half of its id.
func versionOf(transaction string) string {
	n, _ := strconv.ParseUint(transaction, 10, 64) // of Postgres; no row has the version of what is no number
	return strconv.FormatUint(n&0xffffffff, 10)
}
