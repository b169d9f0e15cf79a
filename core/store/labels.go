package store

import (
	"iter"
	"maps"
	"slices"

	"github.com/benbjohnson/immutable"
)

// ids is a set of keys that never changes.
type ids = immutable.Map[string, struct{}]

// labelled finds the objects with a label: label -> keys. It never changes; nil is empty.
type labelled = immutable.Map[string, *ids]

// label is one label as an index has it. No key of a label has the sign in the middle;
// if one had, a set would hold more than it should, and never less.
func label(key, value string) string { return key + "=" + value }

// Labelled is the set of objects that have one of some values of a label.
type Labelled struct{ sets []*ids }

// Labelled finds the objects whose label has one of the values. It costs nothing by
// itself. A Table that was made without labels has none.
func (v View[T]) Labelled(key string, values ...string) Labelled {
	var l Labelled
	if v.labels == nil {
		return l
	}
	for i, value := range values {
		if set, ok := v.labels.Get(label(key, value)); ok && !slices.Contains(values[:i], value) {
			l.sets = append(l.sets, set)
		}
	}
	return l
}

// Len counts the objects.
func (l Labelled) Len() int {
	n := 0
	for _, set := range l.sets {
		n += set.Len()
	}
	return n
}

// All gives the keys of the objects in no particular order.
func (l Labelled) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, set := range l.sets {
			for it := set.Iterator(); !it.Done(); {
				id, _, _ := it.Next()
				if !yield(id) {
					return
				}
			}
		}
	}
}

// relabelled collects what becomes of an index in one batch, so that a label that many
// objects have is looked up once: label -> key -> whether the object has it now.
type relabelled map[string]map[string]bool

// note takes in the labels of an object before and after; most changes are of others.
func (r relabelled) note(id string, before, after map[string]string) {
	if maps.Equal(before, after) {
		return
	}
	for key, value := range before {
		if now, ok := after[key]; !ok || now != value {
			r.set(label(key, value), id, false)
		}
	}
	for key, value := range after {
		if was, ok := before[key]; !ok || was != value {
			r.set(label(key, value), id, true)
		}
	}
}

func (r relabelled) set(label, id string, has bool) {
	if r[label] == nil {
		r[label] = map[string]bool{}
	}
	r[label][id] = has
}

// apply gives the index after the batch.
func (r relabelled) apply(m *labelled) *labelled {
	if len(r) > 0 && m == nil {
		m = immutable.NewMap[string, *ids](nil)
	}
	for l, keys := range r {
		set, ok := m.Get(l)
		if !ok {
			set = newSet(keys)
		} else {
			for id, has := range keys {
				if has {
					set = set.Set(id, struct{}{})
				} else {
					set = set.Delete(id)
				}
			}
		}
		if set.Len() == 0 {
			m = m.Delete(l)
		} else {
			m = m.Set(l, set)
		}
	}
	return m
}

func newSet(keys map[string]bool) *ids {
	b := immutable.NewMapBuilder[string, struct{}](nil)
	for id, has := range keys {
		if has {
			b.Set(id, struct{}{})
		}
	}
	return b.Map()
}
