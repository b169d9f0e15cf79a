package rest_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// Every GET asks the database as often where there are a hundred of everything as where
// there are two: lists, and the others, in which a look at each of many would hide as
// well. They are those of the served OpenAPI document, so that a new one is measured
// without anybody thinking of it.
func TestListsAskAsOftenForManyAsForFew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	crowd := newCrowd(t, s, admin.User.ID)
	lists, others := s.gets(admin.User.ID)
	if len(lists) < 12 || len(others) < 12 {
		t.Fatalf("the OpenAPI document has only the lists %v and, beside them, %v", slices.Sorted(maps.Keys(lists)), slices.Sorted(maps.Keys(others)))
	}
	all := maps.Clone(lists)
	maps.Copy(all, others)
	crowd.grow(2)
	s.upToDate()
	few := map[string]listing{}
	for id, path := range all {
		few[id] = s.list(admin.AccessToken, path)
	}
	crowd.grow(120)
	s.upToDate()
	budgets := readBudgets(t)
	for id, path := range all {
		many := s.list(admin.AccessToken, path)
		budgets[id].within(t, id, few[id].asked, many.asked)
		switch _, list := lists[id]; {
		case list && many.entries <= few[id].entries:
			t.Errorf("%s (%s) lists %d entries, and %d before there were more: it is not measured", id, path, many.entries, few[id].entries)
		case many.trips > 1:
			t.Errorf("%s (%s) waits for the database more than once: it sends %s", id, path, many.asked)
		}
	}
}

// upToDate waits until the read model knows all that is committed, so that lists are
// answered with its help, as they are in a server.
func (s *stack) upToDate() {
	s.t.Helper()
	now, err := s.db.Position(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.model.Await(ctx, func(have string) bool { return s.db.Covers(have, now) && !s.model.Pods.Snapshot().At().IsZero() }); err != nil {
		s.t.Fatal("the read model is behind")
	}
}

// listing is one answer: how many entries it has, and what was asked for it.
type listing struct {
	asked
	entries int
}

// list gives the answer that took the least.
func (s *stack) list(token, path string) (l listing) {
	s.t.Helper()
	l.asked = least(func() asked {
		rec, a := s.ask(token, get(path))
		var body struct{ Data map[string]json.RawMessage }
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
			s.t.Fatalf("%s: %s %v", path, rec.Body, err)
		}
		for _, v := range body.Data {
			var entries []json.RawMessage
			if json.Unmarshal(v, &entries) == nil {
				l.entries = max(l.entries, len(entries))
			}
		}
		return a
	})
	return l
}

// gets are the paths of the operations that read, by their ids: those whose answer holds
// an array, each with the largest page that there is, and the others.
func (s *stack) gets(user string) (lists, others map[string]string) {
	s.t.Helper()
	lists, others = map[string]string{}, map[string]string{}
	for id, op := range operations(s.t, s.handler) {
		media := op.answers()
		if media == nil || calls[id] != nil {
			continue
		}
		if !holdsArray(media.Schema.Value.Properties["data"]) {
			others[id] = fill(op.path, user)
			continue
		}
		var query []string
		for _, p := range op.Parameters {
			if size := map[string]string{"pageSize": "100", "limit": "100"}[p.Value.Name]; size != "" {
				query = append(query, p.Value.Name+"="+size)
			}
		}
		lists[id] = fill(op.path, user) + "?" + strings.Join(query, "&")
		for _, p := range op.Parameters { // a filter may take another way through the code
			if value := filters[p.Value.Name]; value != "" && p.Value.In == openapi3.ParameterInQuery {
				others[id+"?"+p.Value.Name] = fill(op.path, user) + "?" + strings.Join(append(slices.Clone(query), p.Value.Name+"="+value), "&")
			}
		}
	}
	return lists, others
}

// filters are values by which lists find some of the crowd.
var filters = map[string]string{
	"labelSelector": "crowd%3Dyes", "namespace": "default", "packName": "crowd", "packId": crowdPack, "nodeId": crowdNode,
	"search": "crowd", "q": "crowd", "pack": "crowd", "runtimeType": "node", "kind": "pod",
}

// fill puts what the crowd has into a path.
func fill(path, user string) string {
	if strings.HasPrefix(path, "/api/packs/{id}/versions") {
		return strings.ReplaceAll(path, "{id}", "crowd") // by the name
	}
	for _, in := range []struct{ prefix, is string }{
		{"/api/packs/", crowdPack},
		{"/api/pods/", crowdPod},
		{"/api/nodes/name/", "crowd"},
		{"/api/nodes/", crowdNode},
		{"/api/namespaces/", "crowd"},
		{"/api/priority-classes/", "crowd-1"},
		{"/auth/users/", user},
	} {
		if strings.HasPrefix(path, in.prefix) {
			return strings.NewReplacer("{id}", in.is, "{name}", in.is).Replace(path)
		}
	}
	return path
}

func holdsArray(data *openapi3.SchemaRef) bool {
	if data == nil || data.Value == nil {
		return false
	}
	for _, p := range data.Value.Properties {
		if p.Value != nil && p.Value.Type.Includes("array") {
			return true
		}
	}
	return false
}
