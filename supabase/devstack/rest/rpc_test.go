package rest_test

import (
	"net/http"
	"strconv"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct{ method, path, body, want string }{
		{"POST", "/rpc/add", `{"a":1,"b":2}`, `3`},
		{"POST", "/rpc/add", `{"a":"5"}`, `15`},
		{"GET", "/rpc/add?a=1&b=2", "", `3`},
		{"GET", "/rpc/words", "", `["x","y"]`},
		{"POST", "/rpc/words", "", `["x","y"]`},
		{"POST", "/rpc/pairs?select=k&v=eq.2", `{}`, `[{"k":"b"}]`},
		{"GET", "/rpc/by_author?who=1&select=id&order=id.desc&limit=1", "", `[{"id":2}]`},
		{"GET", "/rpc/by_author?who=1&select=id&id=gt.1", "", `[{"id":2}]`},
		{"POST", "/rpc/one_book?select=id,title", `{"which":1}`, `{"id":1,"title":"One"}`},
		{"GET", "/rpc/by_author?who=1&select=id,editor:authors!editor_id(name)&order=id", "", `[{"editor":{"name":"Bob"},"id":1},{"editor":null,"id":2}]`},
		{"POST", "/rpc/one_book?select=covers(colour)", `{"which":1}`, `{"covers":{"colour":"red"}}`},
		{"POST", "/rpc/total", `{"v":[1,2,3]}`, `6`},
		{"GET", "/rpc/total?v=%7B4,5%7D", "", `9`},
	} {
		a := w.do(test.method, test.path, test.body)
		if a.status != 200 || a.compact() != test.want {
			t.Errorf("%s %s: got %d %s, want %s", test.method, test.path, a.status, a.compact(), test.want)
		}
	}
	a := w.do("POST", "/rpc/pairs?limit=1", `{}`, "Prefer: count=exact")
	if a.status != 206 || a.header.Get("Content-Range") != "0-0/2" {
		t.Errorf("count: got %d %v", a.status, a.header)
	}
	w.want(w.do("GET", "/rpc/pairs?k=eq.a", "", "Accept: application/vnd.pgrst.object+json"), 200, `{"k":"a","v":1}`)
	w.refused(w.do("GET", "/rpc/pairs", "", "Accept: application/vnd.pgrst.object+json"), 406, "PGRST116")
	if a := w.do("HEAD", "/rpc/words", ""); a.status != 200 || a.body != "" || a.header.Get("Content-Range") != "0-1/*" {
		t.Errorf("HEAD: got %d %q %v", a.status, a.body, a.header)
	}
}

func TestFunctionsThatWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.do("POST", "/rpc/keep", `{"n":500}`); a.status != 204 || a.body != "" || w.count("select count(*) from many where n = 500") != 1 {
		t.Errorf("got %d %q", a.status, a.body)
	}
	w.refused(w.do("GET", "/rpc/keep?n=501", ""), 405, "25006")
	w.refused(w.do("PUT", "/rpc/keep", `{"n":501}`), 405, "PGRST101")
}

func TestWhichFunction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.do("POST", "/rpc/absent", `{}`), 404, "PGRST202")
	w.refused(w.do("POST", "/rpc/add", `{"b":1}`), 404, "PGRST202")
	w.refused(w.do("POST", "/rpc/add", `{"a":1,"c":1}`), 404, "PGRST202")
	w.refused(w.do("POST", "/rpc/twice", `{"a":1}`), 300, "PGRST203")
	w.refused(w.do("POST", "/rpc/add", `[1]`), 400, "PGRST102")
	w.refused(w.do("POST", "/rpc/add", `[{"a":1}]`), 400, "PGRST102")
	w.refused(w.do("POST", "/rpc/add", `{"a":"x"}`), 400, "22P02")
	w.refused(w.do("POST", "/rpc/pg_sleep", `{"a":1}`), 404, "PGRST202")
	w.refused(w.do("GET", "/rpc/pairs?select=k,authors(id)", ""), 400, "PGRST200")
}

func TestWhatFunctionsSee(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(w.do("POST", "/rpc/me", "", "X-Test: seen", w.as(alice)), 200,
		`{"agent":"seen","method":"POST","path":"/rpc/me","role":"authenticated","search":"\"public\", \"extensions\"","sub":"`+alice+`","timeout":"8s","token":false}`)
	w.want(w.do("GET", "/rpc/me", "", "X-Test: seen"), 200,
		`{"agent":"seen","method":"GET","path":"/rpc/me","role":"anon","search":"\"public\", \"extensions\"","sub":null,"timeout":"3s","token":false}`)
}

func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.do("POST", "/rpc/sleeps", ""), 500, "57014")
}

func TestErrorsOfPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for code, status := range map[string]int{
		"P0001": 400, "PT418": 418, "23503": 409, "23505": 409, "22023": 400, "40001": 500, "42501": 403, "53100": 503,
		"0L000": 403, "21000": 500, "55000": 500, "XX000": 500, "42P17": 500, "28000": 403, "ABCDE": 400,
	} {
		a := w.do("POST", "/rpc/fails", `{"code":"`+code+`"}`, w.as(alice))
		w.refused(a, status, code)
		w.want(a, status, `{"code":"`+code+`","details":"why","hint":"how","message":"no `+code+`"}`)
	}
	a := w.do("POST", "/rpc/fails", `{"code":"42501"}`)
	w.refused(a, http.StatusUnauthorized, "42501")
	if a.header.Get("WWW-Authenticate") != "Bearer" || a.header.Get("Proxy-Status") != "PostgREST; error=42501" {
		t.Errorf("headers %v", a.header)
	}
}
