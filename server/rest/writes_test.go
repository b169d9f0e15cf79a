package rest_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

// What is in calls sends as many statements, in as many trips, where there are a hundred of
// everything as where there are two; and as many for a request or an object of a hundred
// rows as for one of two.
func TestWritesAskAsOftenForManyAsForFew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	m := &maker{stack: s, crowd: newCrowd(t, s, admin.User.ID), admin: admin}
	ids := slices.Sorted(maps.Keys(calls))
	among := func(rows int) map[string]asked {
		m.rows = rows
		m.crowd.grow(rows)
		s.upToDate()
		all := map[string]asked{}
		for _, id := range ids {
			all[id] = least(func() asked {
				_, a := s.ask(admin.AccessToken, calls[id](m))
				return a
			})
		}
		return all
	}
	few, many, budgets := among(2), among(100), readBudgets(t)
	for _, id := range ids {
		budgets[id].within(t, id, few[id], many[id])
	}
}
