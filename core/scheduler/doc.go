// Package scheduler decides which node runs which pod.
//
// # The model
//
// Plan is a pure function of a Snapshot and the time. It takes the pending pods by
// priority and age, one after the other: filters rule nodes out, in a fixed order,
// scorers rank what is left, and the chosen node's room shrinks before the next pod
// is looked at. So a plan never gives away the same room twice, and the same snapshot
// gives the same plan. A pod that fits nowhere gets a verdict: for each node the first
// filter that refused it, with its numbers, and the smallest change that would help.
//
// Plan sees the past. Between the snapshot and the write a pod may be stopped, a
// node may go, another leader may have bound. Therefore a decision is a proposal:
// the Binder re-checks each pod's status and incarnation and the leader's epoch in
// the transaction that binds, and gives back the decisions that came too late.
//
// # The index
//
// What a plan asks about is laid out in arrays over the nodes (index): free amounts, a
// number for each value of each label that some pod has asked about, a number for the
// class of nodes that differ in nothing but name, labels and room, and for each set of
// pods that some pod has asked about how many are where. A filter clears bits of a set
// of nodes; none of them touches a map or allocates for a node. Run keeps one index
// and changes it object by object; Plan and Explain make one for a single question. A
// property test compares the two, and another compares the plan with a slow one that
// is made from label maps.
//
// A pod of a crowd is placed without a look at every node (pick). What nodes are is
// answered once for each kind of pods and kept until a node changes; whether they have
// room is mostly told by the least that 64 of them have free; and of the nodes with
// equal scores, which are sets by number of pods, taints, affinity and bundle, only the
// best set is gone through for the node with most room. Nodes that pods nearby draw or
// drive away are rated one by one, as all are under other policies than spread. Where
// no node fits, and for Explain, every filter looks at every node. A property test
// compares the two ways while the cluster changes.
//
// # Preemption
//
// A pod that fits nowhere may drive out pods of lower priority, unless its class or
// the cluster says no. On each node that passes the filters of kind, all of them are
// thought away, and those that can stay are put back, the most important first; the
// node wins where the highest priority that has to leave is lowest, then where fewest
// leave. Budgets of namespaces are never overdrawn. The victims are told to leave in
// the transaction that stores the pod's verdict, all of them or none; they stop within
// their grace, and the pod's nominated node holds the room for it against everybody of
// the same or a lower priority. While they stop, nobody else is driven out for it. Pods
// that leave a node for any reason count as gone: a pod that fits then is nominated there
// and drives out nobody, so that thirty small ones cost no more than their room.
//
// A nomination without victims bounds starvation: a pod that has waited for five
// minutes for room gets the node where it lacks least, which then holds what gets free;
// at most a tenth of the nodes do so at a time.
//
// # The loop
//
// Run lives on one goroutine, which owns all of its maps; only the Binder works beside it,
// on up to two batches before the one that is planned, or on one with verdicts. It
// remembers what it has bound until the change feed shows it, and plans at first, and
// after a bind whose outcome nobody heard, only when the read model shows all that is
// bound (Settler). Of a crowd the last batches are still on their way while more of it is
// taken in: what happens to a pod of theirs undoes the decision, and then their outcome is
// nothing to it. A pod that fits nowhere is parked: it is planned again when a node comes
// or changes that could take it, when a node gets room that it could use, also because a
// decision came too late, when pods come or go that its affinities count, or after a
// back-off of ten seconds that doubles up to five minutes. No pod waits for another, except for priority. The first event after quiet
// is acted on at once; after an expensive pass the loop rests as long as the pass took, so
// that a burst is planned together.
//
// # Whose pods run on whose nodes
//
// A shared node serves everybody. A private one serves the pods of its owner, and
// those of the namespaces that it lists as long as its owner is a member of them:
// without that condition anybody could list a namespace and be handed the code and
// the environment of its pods.
//
// # What was turned down
//
// A stored usage counter per node: it can be released twice. Sampling of nodes: a
// full scan is cheap enough, and a sampled plan cannot say that no node fits. Bit-sets
// per label and value: a label that is another on each node, as a host name is, would
// make as many sets as nodes. Agents that tell which bundles they have: a write for
// each download, to learn what the pods that a node has had tell as well.
package scheduler
