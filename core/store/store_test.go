package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

func pods(ids ...string) []api.Pod {
	var list []api.Pod
	for _, id := range ids {
		list = append(list, api.Pod{ID: id})
	}
	return list
}

func put(cursor string, ids ...string) store.Batch {
	return store.Batch{Cursor: cursor, Pods: store.Changes[api.Pod]{Put: pods(ids...)}}
}

func keys[T any](v store.View[T]) []string { return slices.Sorted(maps.Keys(maps.Collect(v.All()))) }

func TestApply(t *testing.T) {
	t.Parallel()
	s := store.New()
	select {
	case <-s.Synced():
		t.Fatal("an empty store is synced")
	default:
	}
	if s.Cursor() != "" {
		t.Errorf("got cursor %q, want none", s.Cursor())
	}
	first := put("1", "a", "b")
	first.Reset = true
	first.Configs.Put = []api.ClusterConfig{{Name: "default", MaxPodsPerNode: 7}}
	s.Apply(first)
	<-s.Synced()
	before := s.Pods.Snapshot()
	s.Apply(store.Batch{Cursor: "2", Pods: store.Changes[api.Pod]{Put: pods("c"), Delete: []string{"a", "unknown"}}})
	after := s.Pods.Snapshot()
	if got := keys(before); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the old view has changed: %v", got)
	}
	if got := keys(after); !slices.Equal(got, []string{"b", "c"}) || after.Len() != 2 || after.Cursor() != "2" || s.Cursor() != "2" {
		t.Errorf("got %v at %s, want b and c at 2", got, after.Cursor())
	}
	if after.Version() == before.Version() {
		t.Error("the version did not grow")
	}
	if _, ok := after.Get("a"); ok {
		t.Error("a deleted pod is there")
	}
	if s.Config().MaxPodsPerNode != 7 {
		t.Errorf("got %+v", s.Config())
	}
	reset := put("3", "c", "d")
	reset.Reset = true
	s.Apply(reset)
	if got := keys(s.Pods.Snapshot()); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("got %v after a complete batch, want c and d", got)
	}
	s.SetStale(true)
	if !s.Stale() {
		t.Error("the store is not stale")
	}
}

func TestMembersOfANamespaceAreReplaced(t *testing.T) {
	t.Parallel()
	s := store.New()
	member := func(ns, user string) api.NamespaceMember { return api.NamespaceMember{Namespace: ns, UserID: user} }
	s.Apply(store.Batch{Reset: true, Members: store.Changes[api.NamespaceMember]{
		Put: []api.NamespaceMember{member("a", "ann"), member("a", "bob"), member("b", "bob")},
	}})
	s.Apply(store.Batch{MembersOf: []string{"a"}, Members: store.Changes[api.NamespaceMember]{
		Put: []api.NamespaceMember{member("a", "cid"), member("a", "ann")},
	}})
	for user, want := range map[string]bool{"ann": true, "bob": false, "cid": true} {
		if got := s.MemberOf("a", user); got != want {
			t.Errorf("MemberOf(a, %s) = %v, want %v", user, got, want)
		}
	}
	if !s.MemberOf("b", "bob") {
		t.Error("a member of another namespace is gone")
	}
}

func next(t *testing.T, c <-chan store.Event[api.Pod]) store.Event[api.Pod] {
	t.Helper()
	synctest.Wait()
	select {
	case e := <-c:
		return e
	default:
		t.Fatal("there is no event")
		panic("unreachable")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := store.New()
		s.Apply(put("1", "a"))
		ctx, cancel := context.WithCancel(t.Context())
		w := s.Pods.Watch(ctx)
		if e := next(t, w); e.Type != store.Put || e.ID != "a" || e.Cursor != "" {
			t.Errorf("got %+v, want a, and no cursor before everything is told", e)
		}
		if e := next(t, w); e.Type != store.Synced || e.Cursor != "1" {
			t.Errorf("got %+v, want Synced", e)
		}
		s.Apply(put("2", "b"))
		s.Apply(store.Batch{Cursor: "3", Pods: store.Changes[api.Pod]{Delete: []string{"a"}}})
		s.Apply(store.Batch{Cursor: "4"})
		if e := next(t, w); e.Type != store.Put || e.ID != "b" {
			t.Errorf("got %+v, want b", e)
		}
		if e := next(t, w); e.Type != store.Delete || e.ID != "a" || e.Value.ID != "a" || e.Cursor != "3" {
			t.Errorf("got %+v, want the last state of a", e)
		}
		s.Apply(put("5", "c", "d"))
		if e := next(t, w); e.Cursor != "4" {
			t.Errorf("half of a batch has the cursor %q, want that of before", e.Cursor)
		}
		if e := next(t, w); e.Cursor != "5" {
			t.Errorf("a whole batch has the cursor %q", e.Cursor)
		}
		s.Apply(store.Batch{Cursor: "6"})
		time.Sleep(time.Minute)
		if e := next(t, w); e.Type != store.Bookmark || e.Cursor != "6" {
			t.Errorf("got %+v, want how far the watch is", e)
		}
		cancel()
		synctest.Wait()
		for open := true; open; {
			_, open = <-w
		}
	})
}

func TestWatcherThatFallsBehindStartsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := store.New()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := s.Pods.Watch(ctx)
		if e := next(t, w); e.Type != store.Synced {
			t.Fatalf("got %+v, want Synced", e)
		}
		for i := range 2*store.WatchBuffer + 100 { // nobody reads, and nobody waits
			s.Apply(put(fmt.Sprint(i), fmt.Sprint(i%10)))
		}
		resynced, seen := false, map[string]bool{}
		for {
			e := next(t, w)
			if e.Type == store.Resync {
				resynced = true
				clear(seen)
			}
			if e.Type == store.Put {
				seen[e.ID] = true
			}
			if e.Type == store.Synced {
				break
			}
		}
		if !resynced || len(seen) != 10 {
			t.Errorf("got resync %v and %d pods, want all 10 anew", resynced, len(seen))
		}
		s.Apply(put("x", "new"))
		if e := next(t, w); e.Type != store.Put || e.ID != "new" {
			t.Errorf("got %+v, want the watch to go on", e)
		}
	})
}

func TestNotify(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := store.New()
		ctx, cancel := context.WithCancel(t.Context())
		c := s.Pods.Notify(ctx)
		<-c // at once
		s.Apply(put("1", "a"))
		s.Apply(put("2", "b"))
		<-c
		select {
		case <-c:
			t.Error("two changes gave two wake-ups")
		default:
		}
		cancel()
		synctest.Wait()
		s.Apply(put("3", "c"))
		select {
		case <-c:
			t.Error("a wake-up came after the end")
		default:
		}
	})
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	t.Parallel()
	s := store.New()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for e := range s.Pods.Watch(ctx) {
				if e.ID == "last" {
					return
				}
			}
		})
	}
	for i := range 500 {
		s.Apply(put(fmt.Sprint(i), fmt.Sprint(i)))
		if s.Pods.Snapshot().Len() != i+1 {
			t.Fatalf("got %d pods, want %d", s.Pods.Snapshot().Len(), i+1)
		}
	}
	s.Apply(put("end", "last"))
	wg.Wait()
	cancel()
}

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := store.New()
		at := func(want string) func(string) bool { return func(cursor string) bool { return cursor >= want } }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- s.Await(ctx, at("2")) }()
		s.Apply(put("1", "a"))
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("ended at 1: %v", err)
		default:
		}
		s.Apply(store.Batch{Cursor: "2"})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Await(ctx, at("3")); err == nil {
			t.Error("the end of the context is no error")
		}
	})
}
