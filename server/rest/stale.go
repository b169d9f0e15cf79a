package rest

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// While Postgres is away, reads of pods, nodes and packs come from the read model
// and say so in the header X-Stark-Stale. access decides what the caller sees, as
// the row level security would.

// remembered gives what the read model holds in place of an answer that the
// database could not give; any other error stays.
func remembered[T any](s *server, who caller, err error, recall func() (T, error)) (T, error) {
	var zero T
	if fault.CodeOf(err) != fault.Unavailable || s.Store == nil {
		return zero, err
	}
	select {
	case <-s.Store.Synced():
	default:
		return zero, err
	}
	if who.stale != nil {
		*who.stale = true
	}
	return recall()
}

// find gives one object of the read model if the caller may see it.
func find[T any](t *store.Table[T], id string, visible func(T) bool) (T, error) {
	v, found := t.Snapshot().Get(id)
	if !found || !visible(v) {
		var zero T
		return zero, fault.New(fault.NotFound, "there is no such object")
	}
	return v, nil
}

// pageOf gives the wanted page of the objects that match, newest first.
func pageOf[T any](t *store.Table[T], q api.PageQuery, matches func(T) bool, newest func(a, b T) int) api.Page[T] {
	var all []T
	for _, v := range t.Snapshot().All() {
		if matches(v) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, newest)
	from := min(q.Offset(), len(all))
	return api.Page[T]{Items: all[from:min(from+q.Limit(), len(all))], Total: len(all), Page: q.Page, PageSize: q.PageSize}
}

func (s *server) seesPod(who caller) func(api.Pod) bool {
	return func(p api.Pod) bool {
		return access.VisiblePod(who.Identity, p, func(ns string) bool { return s.Store.MemberOf(ns, who.UserID) })
	}
}

func seesNode(who caller) func(api.Node) bool {
	return func(n api.Node) bool { return access.VisibleNode(who.Identity, n) }
}

// seesPack looks at the pods at most once, and only where it must.
func (s *server) seesPack(who caller) func(api.Pack) bool {
	packs := sync.OnceValue(func() map[string]bool {
		found := map[string]bool{}
		for _, p := range s.Store.Pods.Snapshot().All() {
			if s.Store.MemberOf(p.Namespace, who.UserID) {
				found[p.PackID] = true
			}
		}
		return found
	})
	return func(p api.Pack) bool {
		return access.VisiblePack(who.Identity, p, func(id string) bool { return packs()[id] })
	}
}

func (s *server) recallPods(who caller, q api.PodQuery) (api.Page[api.Pod], error) {
	selector, err := api.ParseSelector(q.LabelSelector)
	if err != nil {
		return api.Page[api.Pod]{}, err
	}
	sees := s.seesPod(who)
	return pageOf(s.Store.Pods, q.PageQuery, func(p api.Pod) bool {
		return sees(p) && is(q.Namespace, p.Namespace) && matchesPod(q, p) && selector.Matches(p.Labels)
	}, func(a, b api.Pod) int { return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID)) }), nil
}

func (s *server) recallNodes(who caller, q api.NodeQuery) (api.Page[api.Node], error) {
	selector, err := api.ParseSelector(q.LabelSelector)
	if err != nil {
		return api.Page[api.Node]{}, err
	}
	sees := seesNode(who)
	return pageOf(s.Store.Nodes, q.PageQuery, func(n api.Node) bool {
		return sees(n) && is(q.RuntimeType, n.RuntimeType) && is(q.Status, n.Status) && has(n.Name, q.Search) && selector.Matches(n.Labels)
	}, func(a, b api.Node) int { return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID)) }), nil
}

func (s *server) recallPacks(who caller, q api.PackQuery) (api.Page[api.Pack], error) {
	sees := s.seesPack(who)
	return pageOf(s.Store.Packs, q.PageQuery, func(p api.Pack) bool {
		return sees(p) && is(q.RuntimeTag, p.RuntimeTag) && is(q.Name, p.Name) && is(q.Version, p.Version) && is(q.OwnerID, p.OwnerID) && has(p.Name, q.Search)
	}, func(a, b api.Pack) int { return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID)) }), nil
}

// is holds where nothing is wanted, or just this.
func is[T ~string](wanted, got T) bool { return wanted == "" || wanted == got }

func has(name, part string) bool {
	return strings.Contains(strings.ToLower(name), strings.ToLower(part))
}
