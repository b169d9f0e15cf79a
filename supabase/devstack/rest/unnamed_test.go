package rest_test

import (
	"strings"
	"testing"
)

func TestFunctionsOfOneUnnamedArgument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct{ path, kind, body, want string }{
		{"/rpc/whole", "application/json", `{"A":1,"b":[2]}`, `{"A":1,"b":[2]}`},
		{"/rpc/whole", "application/json", `[1,2]`, `[1,2]`},
		{"/rpc/whole", "application/json", `"text"`, `"text"`},
		{"/rpc/whole", "application/json", `[{"a":1},{"b":2}]`, `[{"a":1},{"b":2}]`},
		{"/rpc/letters", "text/plain", "löss\n", `5`},
		{"/rpc/letters", "text/plain; charset=utf-8", "", `0`},
		{"/rpc/bytes", "application/octet-stream", "\x00\xff\\x", `4`},
		{"/rpc/root", "text/xml", "<tree><leaf/></tree>", `"tree"`},
		{"/rpc/either", "application/json", `{"a":1}`, `"named"`},
		{"/rpc/either", "application/json", `{"b":1}`, `"unnamed"`},
		{"/rpc/either", "application/json", `[{"a":1}]`, `"unnamed"`},
	} {
		a := w.do("POST", test.path, test.body, "Content-Type: "+test.kind)
		if a.status != 200 || a.compact() != test.want {
			t.Errorf("%s of %s %q: got %d %s, want %s", test.path, test.kind, test.body, a.status, a.compact(), test.want)
		}
	}
	for _, test := range []struct {
		path, kind, body, code string
		status                 int
	}{
		{"/rpc/whole", "text/plain", "text", "PGRST202", 404},
		{"/rpc/letters", "application/json", `{"a":1}`, "PGRST202", 404},
		{"/rpc/labelled", "application/json", `{"a":1}`, "PGRST202", 404},
		{"/rpc/two", "application/json", `{"a":1}`, "PGRST202", 404},
		{"/rpc/add", "text/plain", `{"a":1}`, "PGRST202", 404},
		{"/rpc/words", "text/plain", "", "PGRST202", 404},
		{"/rpc/whole", "application/json", `{"a":`, "PGRST102", 400},
		{"/rpc/whole", "image/png", "x", "PGRST102", 400},
		{"/rpc/letters", "text/plain", "a\x00b", "22021", 400},
		{"/rpc/root", "text/xml", "no xml <", "2200N", 400},
	} {
		a := w.do("POST", test.path, test.body, "Content-Type: "+test.kind)
		w.refused(a, test.status, test.code)
	}
	w.refused(w.do("GET", "/rpc/whole", ""), 404, "PGRST202")
	if a := w.do("POST", "/rpc/labelled", `{"a":1,"b":2}`); !strings.Contains(a.body, "with parameters a, b or with a single unnamed json/jsonb parameter") {
		t.Errorf("details: %s", a.body)
	}
	w.refused(w.do("POST", "/rpc/letters", strings.Repeat("x", 11<<20), "Content-Type: text/plain"), 413, "PGRST102")
}

// PostgREST dropped limited updates and deletes in version 13: pages are for reading.
func TestPagesDoNotBoundWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(w.do("PATCH", "/books?id=lt.4&limit=1&offset=1&order=id.desc&select=id,shelved(shelf_id)&shelved.limit=0", `{"price":0}`, "Prefer: return=representation"),
		200, `[{"id":3,"shelved":[]},{"id":2,"shelved":[{"shelf_id":1}]},{"id":1,"shelved":[{"shelf_id":1},{"shelf_id":2}]}]`)
	w.want(w.do("DELETE", "/many?n=gt.28&limit=1&order=n", "", "Prefer: return=representation"), 200, `[{"n":29},{"n":30}]`)
	w.want(w.do("POST", "/many?limit=1&order=n.desc", `[{"n":101},{"n":102}]`, "Prefer: return=representation"), 201, `[{"n":102},{"n":101}]`)
	w.refused(w.do("DELETE", "/many?limit=1", ""), 400, "21000")
	if n := w.count("select count(*) from many"); n != 30 {
		t.Errorf("%d rows are left", n)
	}
}
