// Package scheduler decides which node runs which pod.
//
// # The model
//
// Plan is a pure function of a Snapshot and the time. It folds what the live pods
// hold of each node, then takes the pending pods by priority and age, one after
// the other: filters rule nodes out, in a fixed order, scorers rank what is left,
// and the chosen node's room shrinks before the next pod is looked at. So a plan
// never gives away the same room twice, and the same snapshot gives the same plan.
// A pod that fits nowhere gets a verdict: for each node the first filter that
// refused it, with its numbers.
//
// Plan sees the past. Between the snapshot and the write a pod may be stopped, a
// node may go, another leader may have bound. Therefore a decision is a proposal:
// the Binder re-checks each pod's status and incarnation and the leader's epoch in
// the transaction that binds, and gives back the decisions that came too late.
// Nothing is undone here, because nothing was done here.
//
// Run is the loop around Plan. It lives on one goroutine, which owns all of its
// maps. It remembers what it has bound until the change feed shows it, so that a
// feed that lags does not make it plan the same pod twice, or the same room. A pod
// that fits nowhere is parked: it is planned again when an event could help, which
// is a change of the nodes, the configuration, the memberships or the pod itself,
// or room that was given back. The first event after quiet is acted on at once;
// after an expensive pass the loop rests as long as the pass took, so that a burst
// is planned together and costs at most half a core.
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
// full scan is cheap enough, and a sampled plan cannot say that no node fits. A
// queue per priority with its own back-off timers, as Kubernetes has: parking
// until something changed needs no clock and wastes no passes.
package scheduler
