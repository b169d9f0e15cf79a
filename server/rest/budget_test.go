package rest_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

// budgetFile says what each operation may ask of the database.
const budgetFile = "testdata/statements.txt"

// budget is what an operation may send: so many statements, and so many trips in which
// they leave; or why it is not measured.
type budget struct {
	statements, trips int
	unmeasured        string
}

// readBudgets gives the budgets by operation. One of an operation may be that of a way to
// use it: a parameter behind "?", a header behind "+".
func readBudgets(t *testing.T) map[string]budget {
	t.Helper()
	text, err := os.ReadFile(budgetFile)
	if err != nil {
		t.Fatal(err)
	}
	budgets := map[string]budget{}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var b budget
		id, rest, _ := strings.Cut(line, " ")
		if reason, unmeasured := strings.CutPrefix(rest, "- "); unmeasured {
			b.unmeasured = reason
		} else if _, err := fmt.Sscan(rest, &b.statements, &b.trips); err != nil {
			t.Fatalf("%s: %q: %v", budgetFile, line, err)
		}
		if _, twice := budgets[id]; twice {
			t.Errorf("%s has two lines for %s", budgetFile, id)
		}
		budgets[id] = b
	}
	return budgets
}

// operationOf is the operation of a way to use it.
func operationOf(id string) string {
	if i := strings.IndexAny(id, "?+"); i >= 0 {
		return id[:i]
	}
	return id
}

// asked is what one request has sent to the database.
type asked struct {
	sent  []string
	trips int
}

func (a asked) less(b asked) bool {
	return a.trips < b.trips || a.trips == b.trips && len(a.sent) < len(b.sent)
}

func (a asked) String() string {
	return fmt.Sprintf("%d statements in %d trips:\n%s", len(a.sent), a.trips, strings.Join(a.sent, "\n"))
}

// tries is how often a request is made, of which the one that took the least counts: what
// has changed meanwhile, such as the roles of users, is read once more and then remembered.
const tries = 3

// least makes a request some times and gives what it asks at the least.
func least(ask func() asked) asked {
	best := ask()
	for range tries - 1 {
		if a := ask(); a.less(best) {
			best = a
		}
	}
	return best
}

// within holds an operation to its budget, and to asking as often among many as among few.
func (b budget) within(t *testing.T, id string, few, many asked) {
	t.Helper()
	if len(many.sent) > b.statements || many.trips > b.trips {
		t.Errorf("%s: %s allows %d statements in %d trips, and it sends %s", id, budgetFile, b.statements, b.trips, many)
	}
	if len(many.sent) != len(few.sent) || many.trips != few.trips {
		t.Errorf("%s: it sends %d statements in %d trips among few, and among many %s", id, len(few.sent), few.trips, many)
	}
	if (len(few.sent) > 0) != (b.statements > 0) || (few.trips > 0) != (b.trips > 0) {
		t.Errorf("%s: %s has %d statements in %d trips, and counted are %s", id, budgetFile, b.statements, b.trips, few)
	}
}

// call is one request of an operation.
type call struct {
	method, path string
	body         string
	token        string            // the admin's where there is none
	header       map[string]string // beside those of JSON
	done         func()            // after it, not measured; may be nil
}

// ask makes a request without a network in between, so that the statements are its own.
func (s *stack) ask(token string, c call) (*httptest.ResponseRecorder, asked) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	ctx, statements := postgrestest.Record(ctx)
	req := httptest.NewRequestWithContext(ctx, c.method, c.path, strings.NewReader(c.body))
	req.RemoteAddr, req.Host = "127.0.0.1:4711", "127.0.0.1" // for setup, which is open to this machine
	if c.token != "" {
		token = c.token
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(untilSynced{rec, cancel}, req)
	if rec.Code >= http.StatusMultipleChoices {
		s.t.Fatalf("%s %s %s: %d %s", c.method, c.path, c.body, rec.Code, rec.Body)
	}
	if c.done != nil {
		c.done()
	}
	return rec, asked{sent: statements.Sent(), trips: statements.Trips()}
}

// untilSynced is a reader of watches that goes when it has all that exists.
type untilSynced struct {
	*httptest.ResponseRecorder
	leave context.CancelFunc
}

// Write keeps what is written.
func (u untilSynced) Write(b []byte) (int, error) {
	n, err := u.ResponseRecorder.Write(b)
	if strings.Contains(string(b), `"synced":true`) {
		u.leave()
	}
	return n, err
}

// operations are those of the OpenAPI document that the handler serves, by their ids.
func operations(t *testing.T, handler http.Handler) map[string]operation {
	t.Helper()
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]operation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all[op.OperationID] = operation{Operation: op, method: method, path: path}
		}
	}
	return all
}

// operation is one of the OpenAPI document.
type operation struct {
	*openapi3.Operation
	method, path string
}

// answers is the JSON that a GET answers with; nil for what changes something, and for
// streams of lines.
func (o operation) answers() *openapi3.MediaType {
	ok := o.Responses.Status(http.StatusOK)
	if o.method != http.MethodGet || ok == nil {
		return nil
	}
	return ok.Value.Content.Get("application/json")
}

// Every operation that the OpenAPI document has is measured and has a budget: those that
// read one object or a list are found in the document, the others are in calls.
func TestEveryOperationHasABudget(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	budgets, all := readBudgets(t), operations(t, h.srv.Config.Handler)
	if len(all) < 60 {
		t.Fatalf("the OpenAPI document has only %d operations", len(all))
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		b, known := budgets[id]
		_, called := calls[id]
		switch {
		case !known:
			t.Errorf("the operation %s has no budget: write %q into %s", id, id+" <statements> <trips>", budgetFile)
		case b.unmeasured != "" && called:
			t.Errorf("the operation %s is measured, and %s says that it is not: %s", id, budgetFile, b.unmeasured)
		case b.unmeasured == "" && !called && all[id].answers() == nil:
			t.Errorf("the operation %s is not measured: say in calls of %s how to ask for it, or write %q into %s", id, "calls_test.go", id+" - <reason>", budgetFile)
		}
	}
	for id := range budgets {
		if _, there := all[operationOf(id)]; !there {
			t.Errorf("%s has a budget for %s, which is no operation", budgetFile, id)
		}
	}
	for id := range calls {
		if _, known := budgets[id]; !known {
			t.Errorf("%s has no budget: write %q into %s", id, id+" <statements> <trips>", budgetFile)
		}
		if _, there := all[operationOf(id)]; !there {
			t.Errorf("calls has %s, which is no operation", id)
		}
	}
}
