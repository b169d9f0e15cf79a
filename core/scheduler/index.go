package scheduler

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// index is the cluster laid out for planning: nodes in slots, and for each thing
// that filters and scorers ask about one array over the slots. It is kept up to date
// object by object, and belongs to one goroutine.
type index struct {
	config     api.ClusterConfig
	members    map[[2]string]struct{}
	namespaces map[string]api.Namespace
	priorities map[string]api.PriorityClass
	pack       func(id string) (api.Pack, bool)

	nodes    []place
	slots    map[string]int32 // by node id
	names    map[string]int32 // by node name
	free     []int32          // slots without a node
	alive    bitset
	classes  []class
	classIDs map[string]int32
	ranks    []int32 // by slot, in the order of names and ids; nil when nodes have come or gone
	ordered  []int32 // the slots in that order, as long as there are ranks

	class   []int32 // by slot, as are all columns
	cpu     []int64 // free, as are memory, storage and room; below zero after a node shrank
	memory  []int64
	storage []int64
	room    []int64 // pods
	count   []int32 // pods that hold room
	parts   []portions
	columns map[string]*column
	blocks  []block // of room, by word of a bitset
	tally   tally

	version uint64 // of the nodes: grows with each that comes, changes or goes
	kinds   map[string]*kind

	pods      map[string]*entry
	families  map[string]*family
	orphans   map[string]map[string]*entry // pods by the id of a node that is not there, then their own
	nominated map[string]*entry            // pending pods that room is held for
	terms     map[string]*term
	termsOf   selectors[*term] // what of terms may count a pod
	owned     map[string]*ownedTerm
	ownedOf   selectors[*ownedTerm] // what of owned may work on a pod
	bundles   map[string]*bundle    // by pack id

	scratch scratch
}

// place is a slot; node is nil where it is free.
type place struct {
	node    *api.Node
	maxPods int
	hash    uint64
	pods    []*entry // those that hold room here
	leaving int      // how many of them leave
}

// bundle tells which nodes have had a pack.
type bundle struct {
	pods  map[int32]int // by slot, how many pods of it are remembered
	nodes bitset
}

// entry is a pod of the index.
type entry struct {
	pod     *api.Pod
	slot    int32 // where it holds room, or is to: noSlot for nowhere
	had     int32 // the node in bundles
	held    bool  // its room is taken from the slot
	assumed bool  // placed by a plan; the read model does not show it yet
	family  *family
	at      int32 // among those of the family that hold room
}

const noSlot = int32(-1)

func newIndex(s Snapshot) *index {
	x := &index{
		config: s.Config, members: make(map[[2]string]struct{}, len(s.Members)),
		namespaces: make(map[string]api.Namespace, len(s.Namespaces)),
		priorities: make(map[string]api.PriorityClass, len(s.PriorityClasses)),
		slots:      make(map[string]int32, len(s.Nodes)), names: make(map[string]int32, len(s.Nodes)),
		classIDs: map[string]int32{}, columns: map[string]*column{},
		pods: make(map[string]*entry, len(s.Pods)), families: map[string]*family{}, orphans: map[string]map[string]*entry{},
		nominated: map[string]*entry{}, terms: map[string]*term{}, owned: map[string]*ownedTerm{},
		bundles: map[string]*bundle{}, kinds: map[string]*kind{}, version: 1,
	}
	for _, m := range s.Members {
		if m.Role != api.RoleViewer { // who only looks runs nothing for the others
			x.members[[2]string{m.Namespace, m.UserID}] = struct{}{}
		}
	}
	for _, ns := range s.Namespaces {
		x.namespaces[ns.Name] = ns
	}
	for _, c := range s.PriorityClasses {
		x.priorities[c.Name] = c
	}
	packs := make(map[string]api.Pack, len(s.Packs))
	for _, k := range s.Packs {
		packs[k.ID] = k
	}
	x.pack = func(id string) (api.Pack, bool) { k, ok := packs[id]; return k, ok }
	for i := range s.Nodes {
		x.putNode(&s.Nodes[i])
	}
	for i := range s.Pods {
		x.putPod(&s.Pods[i])
	}
	return x
}

// putNode takes in a node, or what it has become. It keeps n.
func (x *index) putNode(n *api.Node) {
	x.version++
	slot, known := x.slots[n.ID]
	if !known {
		slot = x.newSlot()
		x.slots[n.ID] = slot
		x.alive.set(slot)
		x.ranks = nil
	} else {
		old := x.nodes[slot].node
		x.leaveClass(x.class[slot], old)
		x.addRoom(slot, &x.nodes[slot], -1)
		if old.Name != n.Name {
			delete(x.names, old.Name)
			x.ranks = nil
		}
	}
	at := &x.nodes[slot]
	at.node, at.hash, at.maxPods = n, hashOf(n.ID), n.Allocatable.Pods
	if most := x.config.MaxPodsPerNode; most > 0 {
		at.maxPods = min(at.maxPods, most)
	}
	x.names[n.Name] = slot
	x.class[slot], x.parts[slot] = x.classOf(n), portionsOf(n.Allocatable)
	x.addRoom(slot, at, 1)
	for key, c := range x.columns {
		if c.put(slot, n); c.worn() {
			delete(x.columns, key)
		}
	}
	waited := x.orphans[n.ID]
	delete(x.orphans, n.ID)
	for _, e := range waited {
		x.settle(e)
	}
}

// addRoom adds what a node offers to what is free on it, or takes it away.
func (x *index) addRoom(slot int32, at *place, sign int64) {
	a := at.node.Allocatable
	x.cpu[slot] += sign * int64(a.CPU)
	x.memory[slot] += sign * int64(a.Memory)
	x.storage[slot] += sign * int64(a.Storage)
	x.room[slot] += sign * int64(at.maxPods)
	x.gave(slot)
}

func (x *index) newSlot() int32 {
	if last := len(x.free) - 1; last >= 0 {
		slot := x.free[last]
		x.free = x.free[:last]
		return slot
	}
	slot := int32(len(x.nodes))
	x.nodes = append(x.nodes, place{})
	x.class = append(x.class, 0)
	x.cpu, x.memory = append(x.cpu, 0), append(x.memory, 0)
	x.storage, x.room = append(x.storage, 0), append(x.room, 0)
	x.count, x.parts = append(x.count, 0), append(x.parts, portions{})
	if words(len(x.nodes)) > len(x.alive) {
		x.alive = append(x.alive, 0)
		x.blocks = append(x.blocks, block{stale: true})
		x.tally.widen()
		for _, b := range x.bundles {
			b.nodes = append(b.nodes, 0)
		}
		for _, t := range x.terms {
			t.where = append(t.where, 0)
		}
		for _, o := range x.owned {
			o.where = append(o.where, 0)
		}
	}
	for _, c := range x.columns {
		c.values = append(c.values, absent)
		c.groups.known = false
	}
	for _, t := range x.terms {
		t.counts = append(t.counts, 0)
	}
	for _, o := range x.owned {
		o.anti, o.weight = append(o.anti, 0), append(o.weight, 0)
	}
	x.tally.put(slot, 0, len(x.alive))
	return slot
}

func (x *index) deleteNode(id string) {
	slot, ok := x.slots[id]
	if !ok {
		return
	}
	x.version++
	at := &x.nodes[slot]
	for _, e := range x.pods {
		if e.slot != slot && e.had != slot {
			continue
		}
		x.unsettle(e)
		x.orphan(e, id)
	}
	x.addRoom(slot, at, -1)
	x.leaveClass(x.class[slot], at.node)
	delete(x.names, at.node.Name)
	delete(x.slots, id)
	x.alive.unset(slot)
	*at = place{}
	x.free = append(x.free, slot)
	x.ranks = nil
}

// rank gives the order of nodes by name and id.
func (x *index) rank() []int32 {
	if x.ranks != nil {
		return x.ranks
	}
	order := x.alive.slots(x.ordered[:0])
	slices.SortFunc(order, func(a, b int32) int {
		m, n := x.nodes[a].node, x.nodes[b].node
		return cmp.Or(cmp.Compare(m.Name, n.Name), cmp.Compare(m.ID, n.ID))
	})
	x.ranks, x.ordered = make([]int32, len(x.nodes)), order
	for i, slot := range order {
		x.ranks[slot] = int32(i)
	}
	return x.ranks
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// holding reports whether a pod takes room on a node.
func holding(p *api.Pod) bool { return p.NodeID != nil && pod.HoldsNode(p.Status) }

// waiting reports whether a pod is to be planned.
func waiting(p *api.Pod) bool { return p.Status == api.PodPending && p.StopRequestedAt == nil }

// putPod takes in a pod, or what it has become. It keeps p.
func (x *index) putPod(p *api.Pod) {
	family := x.joinFamily(p, x.pods[p.ID])
	x.deletePod(p.ID)
	e := &entry{pod: p, slot: noSlot, had: noSlot, family: family}
	x.pods[p.ID] = e
	if waiting(p) && p.NominatedNodeID != "" {
		x.nominated[p.ID] = e
	}
	if e.nodeID() != "" {
		x.settle(e)
	}
}

// remember notes that a node has had a pack, and so its bundle.
func (x *index) remember(e *entry, slot int32) {
	had := x.bundles[e.pod.PackID]
	if had == nil {
		had = &bundle{pods: map[int32]int{}, nodes: make(bitset, len(x.alive))}
		x.bundles[e.pod.PackID] = had
	}
	had.pods[slot]++
	had.nodes.set(slot)
	e.had = slot
}

func (x *index) unremember(e *entry) {
	had := x.bundles[e.pod.PackID]
	if had.pods[e.had]--; had.pods[e.had] == 0 {
		delete(had.pods, e.had)
		had.nodes.unset(e.had)
	}
	if len(had.pods) == 0 {
		delete(x.bundles, e.pod.PackID)
	}
	e.had = noSlot
}

func (x *index) deletePod(id string) {
	e := x.pods[id]
	if e == nil {
		return
	}
	x.unsettle(e)
	x.leaveFamily(e)
	delete(x.nominated, id)
	delete(x.pods, id)
}

// nodeID is the node that the pod has something to do with, "" for none.
func (e *entry) nodeID() string {
	switch {
	case waiting(e.pod):
		return e.pod.NominatedNodeID
	case e.pod.NodeID != nil && e.pod.Status != api.PodPending:
		return *e.pod.NodeID
	default:
		return ""
	}
}

// settle gives a pod what it has of its node: room, and for what is or was there a
// place in memory. Where the node is not there, the pod waits for it.
func (x *index) settle(e *entry) {
	slot, ok := x.slots[e.nodeID()]
	if !ok {
		x.orphan(e, e.nodeID())
		return
	}
	if holding(e.pod) || waiting(e.pod) {
		e.slot = slot
		x.attach(e)
	}
	if !waiting(e.pod) {
		x.remember(e, slot)
	}
}

func (x *index) orphan(e *entry, nodeID string) {
	if x.orphans[nodeID] == nil {
		x.orphans[nodeID] = map[string]*entry{}
	}
	x.orphans[nodeID][e.pod.ID] = e
}

func (x *index) unsettle(e *entry) {
	if e.slot != noSlot {
		x.detach(e)
		e.slot = noSlot
	}
	if e.had != noSlot {
		x.unremember(e)
	}
	of := e.nodeID()
	delete(x.orphans[of], e.pod.ID)
	if len(x.orphans[of]) == 0 {
		delete(x.orphans, of)
	}
}

// attach takes a pod's room from its slot, and counts it where pods are counted. A
// pod that only has a nomination takes room and is counted nowhere.
func (x *index) attach(e *entry) {
	x.take(e, 1)
	if !holding(e.pod) {
		return
	}
	at := &x.nodes[e.slot]
	at.pods = append(at.pods, e)
	e.family.place(e)
	if leaving(e.pod) {
		at.leaving++
	}
	x.countPod(e, 1)
	x.own(e)
}

func (x *index) detach(e *entry) {
	x.take(e, -1)
	if !holding(e.pod) {
		return
	}
	at := &x.nodes[e.slot]
	if i := slices.Index(at.pods, e); i >= 0 {
		at.pods = slices.Delete(at.pods, i, i+1)
		if leaving(e.pod) {
			at.leaving--
		}
	}
	e.family.displace(e)
	x.countPod(e, -1)
	x.disown(e)
}

// take takes a pod's room, or with -1 gives it back.
func (x *index) take(e *entry, sign int64) {
	if e.held == (sign > 0) {
		return
	}
	e.held = sign > 0
	used := node.AddPod(api.Capacity{}, *e.pod)
	x.cpu[e.slot] -= sign * int64(used.CPU)
	x.memory[e.slot] -= sign * int64(used.Memory)
	x.storage[e.slot] -= sign * int64(used.Storage)
	x.room[e.slot] -= sign * int64(used.Pods)
	if sign > 0 {
		x.took(e.slot)
	} else {
		x.gave(e.slot)
	}
	if holding(e.pod) {
		before := x.count[e.slot]
		x.count[e.slot] += int32(sign) * int32(used.Pods)
		x.tally.move(e.slot, before, x.count[e.slot], len(x.alive))
	}
}

// assume makes a placement of the plan count at once.
func (x *index) assume(e *entry, slot int32) {
	p := *e.pod
	p.Status, p.NodeID, p.NominatedNodeID = api.PodScheduled, &x.nodes[slot].node.ID, ""
	x.putPod(&p)
	x.pods[p.ID].assumed = true
}
