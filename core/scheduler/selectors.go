package scheduler

import (
	"iter"
	"slices"
)

// selectors keep what selects pods, each under one of the labels that it wants: a pod
// need ask only what is under its own labels, and what wants none.
type selectors[T comparable] struct {
	under map[label][]T
	rest  []T
}

func (l *selectors[T]) add(part *podPart, one T) {
	if len(part.wanted) == 0 {
		l.rest = append(l.rest, one)
		return
	}
	if l.under == nil {
		l.under = map[label][]T{}
	}
	l.under[part.wanted[0]] = append(l.under[part.wanted[0]], one)
}

func (l *selectors[T]) remove(part *podPart, one T) {
	if len(part.wanted) == 0 {
		l.rest = without(l.rest, one)
		return
	}
	if left := without(l.under[part.wanted[0]], one); len(left) > 0 {
		l.under[part.wanted[0]] = left
	} else {
		delete(l.under, part.wanted[0])
	}
}

func without[T comparable](list []T, one T) []T {
	if i := slices.Index(list, one); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// about gives all that may select a pod with these labels, in no particular order.
func (l *selectors[T]) about(labels map[string]string) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, one := range l.rest {
			if !yield(one) {
				return
			}
		}
		if len(l.under) == 0 {
			return
		}
		for key, value := range labels {
			for _, one := range l.under[label{key, value}] {
				if !yield(one) {
					return
				}
			}
		}
	}
}
