package dispatch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// largeAssignments are those of pods with as much environment as they may have. A node
// of them needs far more than a frame, and more than a connection may hold unread.
func largeAssignments(n int) []wire.Assignment {
	list := make([]wire.Assignment, n)
	for i := range list {
		list[i] = wire.Assignment{PodID: api.NewID(), Incarnation: 1, Desire: wire.DesireRun, Pod: wire.PodSpec{Env: map[string]string{"BIG": strings.Repeat("x", 120<<10)}}}
	}
	return list
}

// takeSet takes all parts of a set and gives the pods in it.
func takeSet(t *testing.T, p *peer) (ids []string, seq uint64, parts int) {
	t.Helper()
	for ; ; parts++ {
		var set wire.RunsSet
		e := p.expect(wire.TypeRunsSet, &set)
		if parts == 0 {
			seq = e.Seq
		}
		if e.Seq != seq || set.Part != parts || len(e.Payload) > wire.MaxMessage {
			t.Fatalf("got part %d of set %d with %d bytes, want part %d of set %d", set.Part, e.Seq, len(e.Payload), parts, seq)
		}
		for _, a := range set.Runs {
			ids = append(ids, a.PodID)
		}
		if !set.More {
			return ids, seq, parts + 1
		}
	}
}

func TestALargeSetComesInParts(t *testing.T) {
	t.Parallel()
	const many = 300
	db := newFakeDB()
	list := largeAssignments(many)
	db.wanted = func() ([]wire.Assignment, error) { return list, nil }
	r := newRig(t, db, dispatch.Config{AckTimeout: time.Hour}) // taking the parts in may take long, and none is to be sent again
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	ids, seq, parts := takeSet(t, p)
	want := make([]string, many)
	for i, a := range list {
		want[i] = a.PodID
	}
	if !slices.Equal(ids, want) || parts < 36 {
		t.Errorf("got %d pods in %d parts, want %d in order", len(ids), parts, many)
	}
	p.send(wire.TypeRunsAck, "", wire.RunsAck{Seq: seq})
	// The increments go on from the whole set.
	pod := podOn("n1", api.PodScheduled)
	r.store.Apply(put(pod))
	var d wire.RunsDelta
	if p.expect(wire.TypeRunsDelta, &d); d.Prev != seq || len(d.Put) != 1 || d.Put[0].PodID != pod.ID {
		t.Errorf("got %+v, want %s after %d", d, pod.ID, seq)
	}
}

// A pod that is removed while the set is read that still has it is told to go.
func TestAPodIsRemovedWhileTheSetIsRead(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	pod := podOn("n1", api.PodRunning)
	assignment := wire.Assignment{PodID: pod.ID, Incarnation: 1, Desire: wire.DesireRun}
	asked, answer := make(chan struct{}), make(chan struct{})
	var reads, nodes atomic.Int32
	db.wanted = func() ([]wire.Assignment, error) {
		if reads.Add(1) > 1 { // of the other node
			return nil, nil
		}
		close(asked)
		<-answer
		return []wire.Assignment{assignment}, nil
	}
	db.register = func(dispatch.Registrar, api.RegisterNodeRequest) (dispatch.Registration, error) {
		return dispatch.Registration{Node: api.Node{ID: fmt.Sprintf("n%d", nodes.Add(1)), Status: api.NodeOnline}, CredentialID: "c"}, nil
	}
	r := newRig(t, db, dispatch.Config{})
	r.store.Apply(put(pod))
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister())
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	receive(t, asked, "the set to be read")
	r.store.Apply(store.Batch{Pods: store.Changes[api.Pod]{Delete: []string{pod.ID}}})
	// The removal was taken in when a second node was told of a pod that came later.
	other, _ := r.agent(t)
	later := podOn("n2", api.PodScheduled)
	later.ID = api.NewID()
	r.store.Apply(put(later))
	other.expect(wire.TypeRunsDelta, nil)
	close(answer)
	if ids, _, _ := takeSet(t, p); !slices.Equal(ids, []string{pod.ID}) {
		t.Fatalf("got %v", ids)
	}
	var d wire.RunsDelta
	if p.expect(wire.TypeRunsDelta, &d); len(d.Remove) != 1 || d.Remove[0].PodID != pod.ID {
		t.Errorf("got %+v, want %s removed", d, pod.ID)
	}
}

// Many large changes at once do not end a connection that reads.
func TestABurstOfLargeChangesArrives(t *testing.T) {
	t.Parallel()
	const many = 100
	db := newFakeDB()
	pods := make([]api.Pod, many)
	for i := range pods {
		pods[i] = podOn("n1", api.PodScheduled)
		pods[i].ID, pods[i].Env = api.NewID(), map[string]string{"BIG": strings.Repeat("x", 120<<10)}
	}
	bound := make(chan struct{})
	db.wanted = func() ([]wire.Assignment, error) {
		select {
		case <-bound:
		default:
			return nil, nil
		}
		var list []wire.Assignment
		for _, p := range pods {
			list = append(list, wire.Assignment{PodID: p.ID, Incarnation: p.Incarnation, Desire: wire.DesireRun, Pod: wire.PodSpec{Env: p.Env}})
		}
		return list, nil
	}
	r := newRig(t, db, dispatch.Config{})
	p, _ := r.agent(t)
	close(bound)
	r.store.Apply(put(pods...))
	told := map[string]bool{}
	for len(told) < many {
		e := receive(t, p.got, "the pods")
		var assignments []wire.Assignment
		switch e.Type {
		case wire.TypeRunsDelta:
			var d wire.RunsDelta
			if err := json.Unmarshal(e.Payload, &d); err != nil {
				t.Fatal(err)
			}
			assignments = d.Put
		case wire.TypeRunsSet:
			var set wire.RunsSet
			if err := json.Unmarshal(e.Payload, &set); err != nil {
				t.Fatal(err)
			}
			assignments = set.Runs
		default:
			t.Fatalf("got %s", e.Type)
		}
		for _, a := range assignments {
			told[a.PodID] = true
		}
	}
	for _, pod := range pods {
		if !told[pod.ID] {
			t.Errorf("%s is missing", pod.ID)
		}
	}
}
