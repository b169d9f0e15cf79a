package rest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/supabase/devstack/rest"
)

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *rest.Config) { c.MaxBody = 1000 })
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		code                     string
		headers                  []string
	}{
		{"root", "POST", "/", "{}", 405, "PGRST117", nil},
		{"no form of the root", "GET", "/", "", 406, "PGRST107", []string{"Accept: text/csv"}},
		{"path", "GET", "/a/b", "", 404, "PGRST125", nil},
		{"table", "GET", "/absent", "", 404, "PGRST205", nil},
		{"COPY", "COPY", "/books?id=eq.1", "{}", 405, "PGRST117", nil},
		{"column in select", "GET", "/books?select=absent", "", 400, "42703", nil},
		{"column in filter", "GET", "/books?absent=eq.1", "", 400, "42703", nil},
		{"column in order", "GET", "/books?order=absent", "", 400, "42703", nil},
		{"column in insert", "POST", "/books", `{"absent":1}`, 400, "PGRST204", nil},
		{"column in update", "PATCH", "/books?id=eq.1", `{"absent":1}`, 400, "PGRST204", nil},
		{"column in columns", "POST", "/books?columns=absent", `{"title":"x"}`, 400, "PGRST204", nil},
		{"operator", "GET", "/books?id=almost.1", "", 400, "PGRST100", nil},
		{"no operator", "GET", "/books?id=1", "", 400, "PGRST100", nil},
		{"quantifier", "GET", "/books?id=eq(some).{1}", "", 400, "PGRST100", nil},
		{"is", "GET", "/books?id=is.maybe", "", 400, "PGRST100", nil},
		{"in without brackets", "GET", "/books?id=in.1,2", "", 400, "PGRST100", nil},
		{"in left open", "GET", "/books?id=in.(1,2", "", 400, "PGRST100", nil},
		{"or left open", "GET", "/books?or=(id.eq.1", "", 400, "PGRST100", nil},
		{"or without brackets", "GET", "/books?or=id.eq.1", "", 400, "PGRST100", nil},
		{"or with a rest", "GET", "/books?or=(id.eq.1)x", "", 400, "PGRST100", nil},
		{"order", "GET", "/books?order=id.up", "", 400, "PGRST100", nil},
		{"limit", "GET", "/books?limit=x", "", 400, "PGRST100", nil},
		{"select left open", "GET", "/books?select=id,authors!author_id(id", "", 400, "PGRST100", nil},
		{"select with a dot", "GET", "/books?select=a.b", "", 400, "PGRST100", nil},
		{"select of nothing", "GET", "/books?select=id,,title", "", 400, "PGRST100", nil},
		{"deep", "GET", "/books?or=" + strings.Repeat("(and", 50), "", 400, "PGRST100", nil},
		{"aggregate", "GET", "/books?select=id.sum()", "", 400, "PGRST123", nil},
		{"count", "GET", "/books?select=count()", "", 400, "PGRST123", nil},
		{"type of a cast", "GET", "/books?select=id::absent", "", 400, "42704", nil},
		{"value of another type", "GET", "/books?id=eq.x", "", 400, "22P02", nil},
		{"operator of another type", "GET", "/books?id=like.x", "", 404, "42883", nil},
		{"too long", "POST", "/authors", `{"id":9,"name":"x","note":"longer than five"}`, 400, "22001", nil},
		{"no JSON", "POST", "/books", `{`, 400, "PGRST102", nil},
		{"empty", "POST", "/books", ``, 400, "PGRST102", nil},
		{"a number", "POST", "/books", `1`, 400, "PGRST102", nil},
		{"null", "POST", "/books", `[null]`, 400, "PGRST102", nil},
		{"not JSON", "POST", "/books", "a,b", 400, "PGRST102", []string{"Content-Type: text/xml"}},
		{"large body", "POST", "/books", `{"title":"` + strings.Repeat("x", 1000) + `"}`, 413, "PGRST102", nil},
		{"unknown preference", "GET", "/books", "", 400, "PGRST122", []string{"Prefer: handling=strict, anything=goes"}},
		{"NUL in a filter", "GET", "/books?title=eq.%00", "", 400, "22021", nil},
		{"NUL in a name", "GET", "/books%00", "", 400, "22021", nil},
		{"bytes that are no text", "GET", "/books?%FF=eq.1", "", 400, "22021", nil},
		{"NUL in a body", "POST", "/books", `{"title":"\u0000"}`, 400, "22P05", nil},
		{"bad token", "GET", "/books", "", 401, "PGRST301", []string{"Authorization: Bearer x"}},
	} {
		a := w.do(test.method, test.path, test.body, test.headers...)
		if a.status != test.status || a.code() != test.code {
			t.Errorf("%s: got %d %s, want %d %s", test.name, a.status, a.body, test.status, test.code)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.do("GET", "/books", "", w.token(map[string]any{"role": "authenticated", "exp": time.Now().Add(-time.Hour).Unix()})), 401, "PGRST303")
	a := w.do("GET", "/books", "", "Authorization: Bearer "+strings.TrimPrefix(w.as(alice), "Authorization: Bearer ")+"x")
	w.refused(a, 401, "PGRST301")
	if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer error="invalid_token"`) {
		t.Errorf("WWW-Authenticate: got %q", a.header.Get("WWW-Authenticate"))
	}
	w.refused(w.do("GET", "/books", "", w.token(map[string]any{"role": "nobody_knows"})), 401, "22023")
	for _, role := range []string{"postgres", "supabase_admin", "supabase_auth_admin"} {
		w.refused(w.do("GET", "/books", "", w.token(map[string]any{"role": role})), 403, "42501")
	}
	// Without a role, or without a token, one is anon.
	w.refused(w.do("GET", "/notes", "", w.token(map[string]any{"sub": alice})), 401, "42501")
	w.refused(w.do("GET", "/notes", "", "Authorization: Basic YTpi"), 401, "42501")
}

// hostile are texts that would end a literal, an identifier, a bracket or a statement.
var hostile = []string{
	`'`, `''`, `"`, `""`, `\`, `\'`, `$$`, `$1`, `%`, `*`, `)`, `(`, `,`, `--`, `/*`, `;`, `:`, `::`, `->`, `->>`, `{`, `}`, `!`, `.`, `{"`,
	`'; drop table books; --`, `"; drop table books; --`, `1); drop table books; --`, `x' or '1'='1`, `id" = 1 or "1"="1`, `\"; delete from books; --`,
	`id::int) from books; drop table books --`, `public"."books" as x; drop table books; --`, `a->>'b'; drop table books`, `E'\'; drop table books`,
	`$x$; drop table books; $x$`, "a\nb; drop table books", `pg_sleep(9)`, `(select closed from vault)`, `current_user`,
	`"id"; set role postgres; --`, "\u2019; drop table books; --", `0x27; drop table books`, `count()`, `books!inner(id)`,
}

// TestNothingBecomesSQL puts hostile texts into every place of a request. No answer may come from a statement
// that Postgres could not read (42601) or that it was made to run, and nothing may be lost.
func TestNothingBecomesSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := snapshot(w)
	for _, text := range hostile {
		q, quoted := url.QueryEscape(text), url.QueryEscape(`"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
		value, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		reads := []string{
			"/" + url.PathEscape(text), "/rpc/" + url.PathEscape(text), "/rpc/add?" + q + "=1",
			"/rpc/add?a=" + q, "/books?order=" + q, "/books?order=" + quoted, "/books?order=id." + q, "/books?limit=" + q, "/books?offset=" + q,
			"/books?or=" + q, "/books?or=(" + q + ")", "/books?or=(" + quoted + ".eq.1)", "/books?or=(id.eq." + q + ")", "/books?or=(id." + q + ".1)",
			"/books?id=" + q, "/books?id=" + q + ".1", "/books?id=is." + q, "/books?title=fts(" + q + ").x", "/books?title=eq(" + q + ").x", "/books?title=plfts." + q,
			"/books?books.limit=" + q, "/authors?select=id,books!" + q + "(id)", "/authors?select=id," + quoted + "(id)", "/books?columns=" + q + "&on_conflict=" + q,
		}
		for _, name := range []string{q, quoted} {
			reads = append(reads, "/books?select="+name, "/books?select=id,"+name+":title", "/books?select=id::"+name, "/books?select=title->"+name,
				"/books?select=title->>"+name, "/books?"+name+"=eq.1", "/authors?bio->>"+name+"=eq.1", "/authors?order=bio->"+name)
		}
		for _, operator := range []string{"eq", "neq", "gt", "like", "ilike", "match", "in", "cs", "ov", "isdistinct", "eq(any)", "like(all)"} {
			reads = append(reads, "/books?title="+operator+"."+q, "/authors?tags="+operator+"."+q, "/books?title=in.("+quoted+")")
		}
		for _, path := range reads {
			innocent(w, text, w.do("GET", path, "", "Range: "+strings.ReplaceAll(text, "\n", "")))
		}
		if a := w.do("GET", "/books?title=fts."+q, ""); a.status != 200 && a.status != 400 { // searches have a language of their own
			t.Errorf("%q: got %d %s", text, a.status, a.body)
		}
		plain := strings.ReplaceAll(text, "\n", " ")
		innocent(w, text, w.do("GET", "/books", "", "Accept-Profile: "+plain, "Prefer: "+plain, "Accept: "+plain, "X-Any: "+plain))
		for _, r := range [][3]string{
			{"POST", "/books", `{` + string(value) + `:1}`},
			{"POST", "/books?columns=" + quoted, `{"title":"x"}`},
			{"POST", "/books?on_conflict=" + quoted, `{"title":"x"}`},
			{"POST", "/rpc/add", `{` + string(value) + `:1}`},
			{"POST", "/rpc/add", `{"a":` + string(value) + `}`},
			{"PATCH", "/books?id=eq.1", `{` + string(value) + `:1}`},
			{"PATCH", "/books?" + quoted + "=eq.1", `{"title":"x"}`},
			{"DELETE", "/books?" + quoted + "=eq.1", ""},
			{"DELETE", "/books?title=eq." + q, ""},
			{"PATCH", "/books?title=eq." + q, `{"title":` + string(value) + `}`},
		} {
			innocent(w, text, w.do(r[0], r[1], r[2], "Prefer: return=representation, resolution=merge-duplicates"))
		}
		// As a value, a text goes in and comes out as it is.
		w.want(w.do("POST", "/authors?select=name,tags,bio", `{"id":99,"name":`+string(value)+`,"tags":[`+string(value)+`],"bio":{"k":`+string(value)+`}}`, back), 201,
			compacted(`[{"bio":{"k":`+string(value)+`},"name":`+string(value)+`,"tags":[`+string(value)+`]}]`))
		w.want(w.do("GET", "/authors?select=id&name=eq."+q, ""), 200, `[{"id":99}]`)
		w.want(w.do("GET", "/authors?select=id&or=(name.eq."+quoted+",name.in.("+quoted+"))&tags=cs."+"%7B"+quoted+"%7D", ""), 200, `[{"id":99}]`)
		w.want(w.do("DELETE", "/authors?select=id&name=in.("+quoted+")&bio->>k=eq."+q, "", back), 200, `[{"id":99}]`)
	}
	if after := snapshot(w); after != before {
		t.Errorf("the tables changed: got %s, want %s", after, before)
	}
}

func compacted(text string) string { return answer{body: text}.compact() }

// innocent fails for answers that show that a text of the request was read as SQL.
func innocent(w *world, text string, a answer) {
	w.Helper()
	if a.status >= 500 || a.code() == "42601" || a.code() == "25001" {
		w.Errorf("%q: got %d %s", text, a.status, a.body)
	}
	if strings.Contains(a.body, "top secret") {
		w.Errorf("%q shows %s", text, a.body)
	}
}

// snapshot tells what a successful attack would change.
func snapshot(w *world) string {
	w.Helper()
	return itoa(w.count(`select count(*) from books`)) + " " + itoa(w.count(`select count(*) from pg_class where relnamespace = 'public'::regnamespace`)) +
		" " + itoa(w.count(`select count(*) from authors`)) + " " + itoa(w.count(`select count(*) from many`)) +
		" " + itoa(w.count(`select count(*) from books where title like '%untitled%'`))
}
