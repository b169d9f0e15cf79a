package postgres

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

func ownPods(n int, prefix, from string) map[string]*ownPod {
	pods := make(map[string]*ownPod, n)
	for i := range n {
		id := fmt.Sprint(prefix, i)
		pods[id] = &ownPod{Pod: api.Pod{ID: id}, from: from}
	}
	return pods
}

// What a transaction has made of a pod is known once, by whoever has it as that found it.
func TestOwnWritesAreKnownWhereNothingElseHappened(t *testing.T) {
	t.Parallel()
	model := store.New()
	model.Apply(store.Batch{Reset: true, Pods: store.Changes[api.Pod]{Put: []api.Pod{{ID: "old0", ResourceVersion: "5"}, {ID: "other0", ResourceVersion: "6"}, {ID: "new1"}}}})
	view := model.Pods.Snapshot()
	var o ownWrites
	o.remember("10", ownPods(1, "old", "5"))
	o.remember("11", ownPods(1, "other", "5"))   // was written since, or never so
	o.remember("12", ownPods(2, "new", ""))      // one of which is there
	o.remember("13", ownPods(1, "missing", "5")) // of which nobody knows
	changed := map[string]string{"old0": "10", "other0": "11", "new0": "12", "new1": "12", "missing0": "13", "stranger": "14", "mistaken": "10"}
	got := o.take(changed, view)
	if _, old := got["old0"]; !old || len(got) != 2 || got["new0"].ID != "new0" {
		t.Errorf("got %v", got)
	}
	if again := o.take(changed, view); len(again) > 0 || o.count != 0 || len(o.of) > 0 {
		t.Errorf("asked again: %v, %d are left", again, o.count)
	}
}

// The feed comes by a commit before whoever made it has heard of it.
func TestOwnWritesThatAreUnderWayAreWaitedFor(t *testing.T) {
	t.Parallel()
	changed := map[string]string{}
	for i := range landMany {
		changed[fmt.Sprint("p", i)] = "20"
	}
	synctest.Test(t, func(t *testing.T) {
		var o ownWrites
		view := store.New().Pods.Snapshot()
		waited := func() (known int, wait time.Duration) {
			began := time.Now()
			o.await(t.Context(), changed)
			return len(o.take(changed, view)), time.Since(began)
		}
		if _, wait := waited(); wait != 0 {
			t.Errorf("%v for writes of others", wait)
		}
		o.begin()
		o.begin()
		go func() {
			<-time.After(landIn / 3)
			o.end() // it came to nothing
			<-time.After(landIn / 3)
			o.remember("20", ownPods(landMany, "p", ""))
			o.end()
		}()
		if known, wait := waited(); known != landMany || wait != landIn/3*2 {
			t.Errorf("%d pods known after %v", known, wait)
		}
		o.begin() // and does not end
		if known, wait := waited(); known != 0 || wait != landIn {
			t.Errorf("%d pods known after %v", known, wait)
		}
		delete(changed, "p0")
		if _, wait := waited(); wait != 0 {
			t.Errorf("%v for a few", wait)
		}
	})
}

func TestOwnWritesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		view := store.New().Pods.Snapshot()
		var o ownWrites
		for i := range 10 {
			o.remember(fmt.Sprint(i), ownPods(mostOwn/4, fmt.Sprint("p", i, "-"), ""))
			<-time.After(time.Millisecond)
		}
		o.remember("9", ownPods(mostOwn/4, "p9-", "")) // the same again
		o.remember("much", ownPods(mostOwn+1, "much", ""))
		if o.count != mostOwn || len(o.of) != 4 {
			t.Errorf("%d pods of %d transactions", o.count, len(o.of))
		}
		if got := o.take(map[string]string{"p5-0": "5", "p6-0": "6", "much0": "much"}, view); len(got) != 1 {
			t.Errorf("of an old and a new transaction %d are known", len(got))
		}
		<-time.After(ownFor + time.Second)
		if o.take(nil, view); o.count != 0 || len(o.of) != 0 {
			t.Errorf("%d pods are there long after", o.count)
		}
		unasked := ownWrites{unasked: true}
		if unasked.remember("20", ownPods(3, "p", "")); unasked.count != 0 {
			t.Error("pods are remembered where there is no read model")
		}
		o.remember("20", ownPods(3, "p", ""))
		o.clear()
		if got := o.take(map[string]string{"p0": "20"}, view); len(got) > 0 || o.count != 0 {
			t.Errorf("%v, %d after all was forgotten", got, o.count)
		}
	})
}

func TestTheVersionOfATransaction(t *testing.T) {
	t.Parallel()
	for transaction, want := range map[string]string{"7": "7", "4294967295": "4294967295", "4294967296": "0", "12884901890": "2"} {
		if got := versionOf(transaction); got != want {
			t.Errorf("%s: %s, want %s", transaction, got, want)
		}
	}
}
