package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

// write is one way to change something; path and body get a number that was not used before.
type write struct {
	method, path, body string
	made               string // POSTed before, where a path has %s, which becomes the id of what that made
}

// The writes that people and programs make often, by the ids of their operations.
var writes = map[string]write{
	"createPod":       {http.MethodPost, "/api/pods", `{"packId":"` + crowdPack + `","labels":{"n":"%d"}}`, ""},
	"createNodeToken": {http.MethodPost, "/api/node-tokens", `{"uses":1}`, ""},
	"createNamespace": {http.MethodPost, "/api/namespaces", `{"name":"made-%d"}`, ""},
	"updatePod":       {http.MethodPatch, "/api/pods/" + crowdPod, `{"labels":{"n":"%d"}}`, ""},
	"updateNode":      {http.MethodPatch, "/api/nodes/" + crowdNode, `{"labels":{"n":"%d"}}`, ""},
	"updateNamespace": {http.MethodPatch, "/api/namespaces/crowd", `{"labels":{"n":"%d"}}`, ""},
	"cordonNode":      {http.MethodPost, "/api/nodes/" + crowdNode + "/cordon", `{}`, ""},
	"uncordonNode":    {http.MethodPost, "/api/nodes/" + crowdNode + "/uncordon", `{}`, ""},
	"drainNode":       {http.MethodPost, "/api/nodes/" + crowdNode + "/drain", `{}`, ""},
	"deletePod":       {http.MethodDelete, "/api/pods/%s", "", `{"packId":"` + crowdPack + `"}`},
}

// A write sends as many statements where there are a hundred of everything as where there
// are two, and a request for a hundred pods as many as one for two.
func TestWritesAskAsOftenForManyAsForFew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	crowd := newCrowd(t, s, admin.User.ID)
	number := 0
	least := func(w write) (sent []string) {
		for try := range 3 { // as for lists: what has changed is read once more
			number++
			path, body := w.path, w.body
			if w.made != "" {
				made, _ := s.change(admin.AccessToken, http.MethodPost, "/api/pods", w.made)
				path = fmt.Sprintf(path, made)
			}
			if strings.Contains(body, "%d") {
				body = fmt.Sprintf(body, number)
			}
			if _, now := s.change(admin.AccessToken, w.method, path, body); try == 0 || len(now) < len(sent) {
				sent = now
			}
		}
		return sent
	}
	bulk := func(n int) write {
		items := strings.TrimSuffix(strings.Repeat(`{"packId":"`+crowdPack+`"},`, n), ",")
		return write{http.MethodPost, "/api/pods/bulk", `{"items":[` + items + `]}`, ""}
	}
	crowd.grow(2)
	few := map[string][]string{"createPods": least(bulk(2))}
	for id, w := range writes {
		few[id] = least(w)
	}
	crowd.grow(120)
	many := map[string][]string{"createPods": least(bulk(100))}
	for id, w := range writes {
		many[id] = least(w)
	}
	budget := readBudget(t)
	for id := range few {
		if most, known := budget[id]; !known || len(many[id]) > most {
			t.Errorf("%s sends %d statements, testdata/statements.txt allows %d:\n%s", id, len(many[id]), most, strings.Join(many[id], "\n"))
		}
		if len(few[id]) == 0 {
			t.Errorf("%s was done without the database: the statements are not counted", id)
		}
		if len(many[id]) != len(few[id]) {
			t.Errorf("%s sends %d statements among few and %d among many:\n%s", id, len(few[id]), len(many[id]), strings.Join(many[id], "\n"))
		}
	}
}

// change makes a request without a network in between, and gives the id of the pod that it
// made, if it did, and the statements.
func (s *stack) change(token, method, path, body string) (pod string, sent []string) {
	s.t.Helper()
	ctx, statements := postgrestest.Record(s.t.Context())
	req := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, req)
	var answer struct {
		Data struct{ Pod struct{ ID string } }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || rec.Code >= http.StatusMultipleChoices {
		s.t.Fatalf("%s %s %s: %d %s %v", method, path, body, rec.Code, rec.Body, err)
	}
	return answer.Data.Pod.ID, statements.Sent()
}
