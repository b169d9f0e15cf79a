package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Whatever comes and goes, a view finds by a label whoever has it in that view.
func TestObjectsAreFoundByTheirLabels(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	s := store.New()
	var views []store.View[api.Pod]
	for range 300 {
		b := store.Batch{Reset: r.IntN(40) == 0}
		for range r.IntN(6) {
			p := api.Pod{ID: fmt.Sprint(r.IntN(30)), Labels: map[string]string{}}
			for _, key := range []string{"app", "tier", "shard"}[:r.IntN(4)] {
				p.Labels[key] = fmt.Sprint(r.IntN(4))
			}
			b.Pods.Put = append(b.Pods.Put, p)
		}
		for range r.IntN(3) {
			b.Pods.Delete = append(b.Pods.Delete, fmt.Sprint(r.IntN(30)))
		}
		s.Apply(b)
		views = append(views, s.Pods.Snapshot())
	}
	for i, v := range views { // old ones too: a view never changes
		for _, key := range []string{"app", "tier", "shard", "none"} {
			for _, values := range [][]string{{"0"}, {"1", "3"}, {"2", "2"}, {"9"}, nil} {
				var want []string
				for id, p := range v.All() {
					if value, ok := p.Labels[key]; ok && slices.Contains(values, value) {
						want = append(want, id)
					}
				}
				found := v.Labelled(key, values...)
				got := slices.Sorted(found.All())
				slices.Sort(want)
				if !slices.Equal(got, want) || found.Len() != len(want) {
					t.Fatalf("view %d, %s in %v: got %v (%d), want %v", i, key, values, got, found.Len(), want)
				}
			}
		}
	}
}

func TestViewsKnowWhenTheyWereRead(t *testing.T) {
	t.Parallel()
	s := store.New()
	at := time.Now()
	for _, b := range []store.Batch{{Reset: true, At: at}, {At: at.Add(1)}, {At: at.Add(2), Pods: store.Changes[api.Pod]{Put: pods("a")}}, {}} {
		s.Apply(b)
		if got := s.Pods.Snapshot().At(); !got.Equal(b.At) {
			t.Errorf("got %v, want %v", got, b.At)
		}
	}
}
