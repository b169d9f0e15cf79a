package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A crowd of pods comes in parts, the important ones first, and their end as well. The
// cursor and its time stay where they were until the last part: whoever goes on from it misses
// none, and what is bound meanwhile is known without being read.
func TestTheFeedTakesACrowdInByParts(t *testing.T) {
	t.Parallel()
	const pods, most = 2500, 1000
	w := newWorld(t)
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	batches := make(chan store.Batch, 100)
	s := store.New()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Feed(ctx, func(b store.Batch) {
			s.Apply(b)
			batches <- b
		})
	}()
	defer func() { cancel(); <-done }()
	<-s.Synced()
	for s.Pods.Snapshot().At().IsZero() { // until the feed would hear of a crash
		<-batches
	}
	// parts gives the batches of one change of all pods.
	parts := func(what string, size func(store.Batch) int) (all []store.Batch) {
		before, at := s.Cursor(), s.Pods.Snapshot().At()
		for sum := 0; sum < pods; {
			select {
			case b := <-batches:
				if size(b) == 0 {
					before, at = b.Cursor, b.At
					continue
				}
				all, sum = append(all, b), sum+size(b)
				if size(b) > most {
					t.Errorf("%s: a part of %d pods", what, size(b))
				}
				if last := sum >= pods; (b.Cursor == before) == last {
					t.Errorf("%s: cursor %q after %d pods, %q before", what, b.Cursor, sum, before)
				} else if b.At.After(at) != last || !last && !b.At.Equal(at) {
					t.Errorf("%s: of %v after %d pods, of %v before", what, b.At, sum, at)
				}
			case <-time.After(patience):
				t.Fatalf("%s: %d pods have come", what, sum)
			}
		}
		return all
	}
	w.exec(t, "insert into public.priority_classes (name, value) values ('low', 1), ('high', 9)")
	w.exec(t, `insert into public.pods (pack_id, created_by, priority_class_name)
		select $1, $2, case when i % 2 = 0 then 'high' else 'low' end from generate_series(1, $3) i`, k.ID, ann.UserID, pods)
	var came []int32
	for _, b := range parts("created", func(b store.Batch) int { return len(b.Pods.Put) }) {
		least, highest := b.Pods.Put[0].Priority, b.Pods.Put[0].Priority
		for _, p := range b.Pods.Put {
			least, highest = min(least, p.Priority), max(highest, p.Priority)
		}
		came = append(came, -highest, -least)
	}
	if !slices.IsSorted(came) || len(came) != 6 {
		t.Errorf("the bounds of the priorities of the parts are %v, turned round", came)
	}
	w.exec(t, `update public.pods set status = case priority_class_name when 'low' then 'scheduled' else 'pending' end::public.pod_status,
		node_id = case priority_class_name when 'low' then $1::uuid end`, w.node(t, ann, "n1").Node.ID)
	waiting := 0
	for i, b := range parts("bound", func(b store.Batch) int { return len(b.Pods.Put) }) {
		for _, p := range b.Pods.Put {
			if p.Status == api.PodPending {
				waiting++
			} else if waiting > most {
				t.Fatalf("part %d has a pod with a node, after %d that wait for one", i, waiting)
			}
		}
	}
	w.exec(t, "delete from public.pods")
	parts("deleted", func(b store.Batch) int { return len(b.Pods.Delete) })
	if n := s.Pods.Snapshot().Len(); n > 0 {
		t.Errorf("%d pods are left", n)
	}
}
