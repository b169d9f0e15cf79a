package rest_test

import (
	"strings"
	"testing"
)

const (
	back  = "Prefer: return=representation"
	merge = "Prefer: resolution=merge-duplicates"
)

func TestInsert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do("POST", "/many", `{"n":100}`)
	if a.status != 201 || a.body != "" || a.header.Get("Content-Range") != "*/*" || w.count("select count(*) from many where n = 100") != 1 {
		t.Errorf("minimal: got %d %q %v", a.status, a.body, a.header)
	}
	a = w.do("POST", "/many", `{"n":101}`, "Prefer: return=headers-only")
	if a.status != 201 || a.body != "" || a.header.Get("Location") != "/many?n=eq.101" {
		t.Errorf("headers only: got %d %q %v", a.status, a.body, a.header)
	}
	w.want(w.do("POST", "/books", `{"id":50,"title":"New","price":1.50}`, back), 201,
		`[{"added":`+`"`+added(w, 50)+`","author_id":null,"editor_id":null,"id":50,"price":1.50,"title":"New"}]`)
	a = w.do("POST", "/books?select=id,t:title,authors!author_id(name)&order=id", `[{"id":51,"author_id":1},{"id":52,"author_id":2}]`, back, "Prefer: count=exact")
	w.want(a, 201, `[{"authors":{"name":"Ann"},"id":51,"t":"untitled"},{"authors":{"name":"Bob"},"id":52,"t":"untitled"}]`)
}

// added reads a default value that the test cannot know.
func added(w *world, id int) string {
	w.Helper()
	a := w.do("GET", "/books?select=added&id=eq."+itoa(id), "", "Accept: application/vnd.pgrst.object+json")
	return strings.TrimSuffix(strings.TrimPrefix(a.compact(), `{"added":"`), `"}`)
}

func TestInsertOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.want(w.do("POST", "/authors?select=id,name,born,tags,bio,mood", `{"id":9,"name":"Dan","born":"2000-02-03","tags":["x","y\"z"],"bio":{"big":12345678901234567890,"n":null},"mood":"sad"}`, back), 201,
		`[{"bio":{"big":12345678901234567890,"n":null},"born":"2000-02-03","id":9,"mood":"sad","name":"Dan","tags":["x","y\"z"]}]`)
	w.refused(w.do("POST", "/books", `{"title":null,"price":1}`, back), 400, "23502")
	w.want(w.do("POST", "/books?select=title", `{}`, back), 201, `[{"title":"untitled"}]`)
	w.want(w.do("POST", "/books?select=title", `[{},{}]`, back), 201, `[{"title":"untitled"},{"title":"untitled"}]`)
	w.want(w.do("POST", "/books?select=title", `[]`, back), 201, `[]`)
	w.want(w.do("POST", "/books?select=title", `[ ]`, back), 201, `[]`)
	w.want(w.do("POST", "/books?select=title&columns=title", `{"title":"x","ignored":1}`, back), 201, `[{"title":"x"}]`)
	w.refused(w.do("POST", "/books", `[{"title":"a"},{"price":1}]`), 400, "PGRST102")
	w.refused(w.do("POST", "/books?columns=title,price", `[{"title":"a"},{"price":1}]`), 400, "23502")
	w.want(w.do("POST", "/books?select=title,price&columns=title,price", `[{"title":"a"},{"price":1},{"title":"b"}]`, back, "Prefer: missing=default"), 201,
		`[{"price":null,"title":"a"},{"price":null,"title":"b"},{"price":1,"title":"untitled"}]`)
	w.want(w.do("POST", "/books?select=title,price&columns=title,price", `[{"title":"a"},{"price":1}]`, back, "Prefer: missing=default", "Accept: text/csv"), 201,
		"\"title\",\"price\"\na,\nuntitled,1")
	w.want(w.do("POST", "/books?select=title", `{"title":"one"}`, back, "Accept: application/vnd.pgrst.object+json"), 201, `{"title":"one"}`)
	before := w.count("select count(*) from books")
	w.refused(w.do("POST", "/books?select=title", `[{"title":"1"},{"title":"2"}]`, back, "Accept: application/vnd.pgrst.object+json"), 406, "PGRST116")
	if after := w.count("select count(*) from books"); after != before {
		t.Errorf("an answer that failed left %d rows", after-before)
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do("POST", "/authors?select=id,name", `[{"id":1,"name":"Anna"},{"id":7,"name":"Eve"}]`, back, merge)
	w.want(a, 201, `[{"id":1,"name":"Anna"},{"id":7,"name":"Eve"}]`)
	w.want(w.do("POST", "/authors?select=id,name,born", `{"id":1,"name":"Ann"}`, back, merge), 200, `[{"born":"1950-01-02","id":1,"name":"Ann"}]`)
	if a := w.do("POST", "/authors", `{"id":1,"name":"Ann"}`, merge); a.status != 200 || a.body != "" {
		t.Errorf("merged without a body: got %d %q", a.status, a.body)
	}
	w.want(w.do("POST", "/authors?on_conflict=name&select=id,name", `{"id":7,"name":"Eve"}`, back, merge), 200, `[{"id":7,"name":"Eve"}]`)
	w.want(w.do("POST", "/authors?select=id", `[{"id":1,"name":"Nobody"},{"id":8,"name":"Fay"}]`, back, "Prefer: resolution=ignore-duplicates"), 201, `[{"id":8}]`)
	w.refused(w.do("POST", "/authors", `{"id":1,"name":"Zed"}`), 409, "23505")
	w.refused(w.do("POST", "/authors?on_conflict=absent", `{"id":1,"name":"Zed"}`, merge), 400, "PGRST204")
	w.refused(w.do("POST", "/authors?on_conflict=born", `{"id":1,"name":"Zed"}`, merge), 400, "42P10")
}

func TestUpdateAndDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do("PATCH", "/books?id=lte.2", `{"price":3}`, "Prefer: count=exact")
	if a.status != 204 || a.body != "" || a.header.Get("Content-Range") != "0-1/2" || w.count("select count(*) from books where price = 3") != 2 {
		t.Errorf("update: got %d %q %v", a.status, a.body, a.header)
	}
	w.want(w.do("PATCH", "/books?id=eq.3&select=id,title,authors!author_id(name)", `{"title":"III"}`, back), 200, `[{"authors":{"name":"Bob"},"id":3,"title":"III"}]`)
	w.want(w.do("PATCH", "/books?id=eq.99", `{"title":"x"}`, back), 200, `[]`)
	if a := w.do("PATCH", "/books?id=eq.99", `{"title":"x"}`); a.status != 204 || a.header.Get("Content-Range") != "*/*" {
		t.Errorf("update of nothing: got %d %v", a.status, a.header)
	}
	w.refused(w.do("PATCH", "/books?id=eq.99", `{"title":"x"}`, back, "Accept: application/vnd.pgrst.object+json"), 406, "PGRST116")
	w.want(w.do("PATCH", "/books?id=eq.1", `{}`, back), 200, `[]`)
	w.refused(w.do("PATCH", "/books", `{"price":0}`), 400, "21000")
	w.refused(w.do("PATCH", "/books?id=eq.1", `[{"price":0},{"price":1}]`), 400, "PGRST102")
	w.refused(w.do("PATCH", "/books?id=lte.3", `{"price":0}`, "Prefer: handling=strict, max-affected=2"), 400, "PGRST124")
	if n := w.count("select count(*) from books where price = 0"); n != 0 {
		t.Errorf("a refused update changed %d rows", n)
	}
	w.refused(w.do("DELETE", "/books", ""), 400, "21000")
	w.want(w.do("DELETE", "/books?id=eq.4&select=title", "", back), 200, `[{"title":"Four*"}]`)
	a = w.do("DELETE", "/books?id=in.(2,3)", "", "Prefer: count=exact")
	if a.status != 204 || a.header.Get("Content-Range") != "*/2" || w.count("select count(*) from books") != 1 {
		t.Errorf("delete: got %d %v", a.status, a.header)
	}
	w.refused(w.do("DELETE", "/books?id=eq.1", ""), 409, "23503")
}

func TestTheCallersRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.do("GET", "/notes", ""), 401, "42501")
	w.want(w.do("POST", "/notes?select=id,owner", `{"id":1,"text":"mine"}`, back, w.as(alice)), 201, `[{"id":1,"owner":"`+alice+`"}]`)
	w.refused(w.do("POST", "/notes", `{"id":2,"owner":"`+alice+`"}`, w.as(bob)), 403, "42501")
	w.want(w.do("GET", "/notes", "", w.as(bob)), 200, `[]`)
	w.want(w.do("PATCH", "/notes?id=eq.1", `{"text":"stolen"}`, back, w.as(bob)), 200, `[]`)
	w.want(w.do("DELETE", "/notes?id=eq.1", "", back, w.as(bob)), 200, `[]`)
	w.want(w.do("GET", "/notes?select=text", "", "Authorization: Bearer "+w.keys.ServiceRoleKey), 200, `[{"text":"mine"}]`)
	// Rights on columns hold, and only the columns that are asked for need them.
	w.want(w.do("POST", "/vault?select=id,open", `{"id":1,"open":"o"}`, back, w.as(alice)), 201, `[{"id":1,"open":"o"}]`)
	w.refused(w.do("POST", "/vault", `{"id":2,"closed":"c"}`, w.as(alice)), 403, "42501")
	w.refused(w.do("GET", "/vault", "", w.as(alice)), 403, "42501")
	w.refused(w.do("GET", "/vault?select=id&closed=eq.x", "", w.as(alice)), 403, "42501")
	w.want(w.do("GET", "/vault?select=open&id=eq.1", "", w.as(alice)), 200, `[{"open":"o"}]`)
	w.refused(w.do("PATCH", "/vault?id=eq.1", `{"open":"x"}`, w.as(alice)), 403, "42501")
}

// TestWritingWithoutReading needs no right to read but for the columns that the answer or the filter names.
func TestWritingWithoutReading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, prefer := range []string{"", "return=minimal", "return=headers-only"} {
		if a := w.do("POST", "/blind", `{"id":1,"n":1}`, "Prefer: "+prefer); a.status != 201 || a.body != "" {
			t.Errorf("insert %q: got %d %s", prefer, a.status, a.body)
		}
		if a := w.do("PATCH", "/blind?id=eq.1", `{"n":2}`, "Prefer: "+prefer); a.status != 204 || a.body != "" {
			t.Errorf("update %q: got %d %s", prefer, a.status, a.body)
		}
		if a := w.do("DELETE", "/blind?id=eq.1", "", "Prefer: "+prefer); a.status != 204 || a.body != "" {
			t.Errorf("delete %q: got %d %s", prefer, a.status, a.body)
		}
	}
	w.want(w.do("POST", "/blind?select=id", `{"id":2,"n":1}`, back), 201, `[{"id":2}]`)
	w.refused(w.do("POST", "/blind", `{"id":3,"n":1}`, back), 401, "42501")
	w.refused(w.do("PATCH", "/blind?n=eq.1", `{"n":2}`), 401, "42501")
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.do("GET", "/things", ""), 404, "PGRST205")
	a := w.do("GET", "/things", "", "Accept-Profile: other")
	w.want(a, 200, `[]`)
	if a.header.Get("Content-Profile") != "other" {
		t.Errorf("Content-Profile: got %q", a.header.Get("Content-Profile"))
	}
	w.want(w.do("POST", "/things", `{"id":1}`, "Content-Profile: other", back), 201, `[{"id":1}]`)
	w.refused(w.do("POST", "/things", `{"id":1}`, "Accept-Profile: other"), 404, "PGRST205")
	for _, schema := range []string{"hidden", "auth", "pg_catalog", "information_schema", `public"; drop table x`} {
		w.refused(w.do("GET", "/secret", "", "Accept-Profile: "+schema), 406, "PGRST106")
	}
	for _, name := range []string{"hidden.secret", "public.books", "auth.users", "pg_class"} {
		w.refused(w.do("GET", "/"+name, ""), 404, "PGRST205")
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const full = "Prefer: return=representation"
	w.want(w.do("PUT", "/authors?id=eq.7&select=id,name", `{"id":7,"name":"Eve"}`, full), 201, `[{"id":7,"name":"Eve"}]`)
	w.want(w.do("PUT", "/authors?id=eq.7&select=id,name", `[{"id":7,"name":"Eva"}]`, full), 200, `[{"id":7,"name":"Eva"}]`)
	w.want(w.do("PUT", "/authors?id=eq.7", `{"id":7,"name":"Eva"}`), 204, "")
	w.want(w.do("PUT", "/shelved?book_id=eq.3&shelf_id=eq.2", `{"book_id":3,"shelf_id":2,"since":2000}`), 201, "")
	w.refused(w.do("PUT", "/authors?id=eq.7", `{"id":8,"name":"Eva"}`), 400, "PGRST115")
	w.refused(w.do("PUT", "/authors?id=eq.7", `{"name":"Eva"}`), 400, "PGRST115")
	w.refused(w.do("PUT", "/authors?id=eq.7", `[{"id":7},{"id":8}]`), 400, "PGRST115")
	for _, filters := range []string{"", "?name=eq.Eva", "?id=eq.7&name=eq.Eva", "?id=gt.6", "?id=not.eq.7", "?id=eq(any).{7}", "?or=(id.eq.7)"} {
		w.refused(w.do("PUT", "/authors"+filters, `{"id":7,"name":"Eva"}`), 405, "PGRST105")
	}
	w.refused(w.do("PUT", "/authors?id=eq.7&limit=1", `{"id":7,"name":"Eva"}`), 400, "PGRST114")
	w.refused(w.do("PUT", "/cheap?id=eq.1", `{"id":1}`), 405, "PGRST105")
	w.refused(w.do("PUT", "/notes?id=eq.1", `{"id":1}`), 401, "42501")
	if n := w.count("select count(*) from public.authors where id >= 7"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestBodiesOfOtherKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const table, form, full = "Content-Type: text/csv; charset=utf-8", "Content-Type: application/x-www-form-urlencoded", "Prefer: return=representation"
	w.want(w.do("POST", "/authors?select=id,name,born,tags&order=id", "id,name,born,tags\n20,\"X, \"\"y\"\"\",NULL,\"{a,b}\"\n21,Z,1970-01-01,NULL\n", table, full), 201,
		`[{"born":null,"id":20,"name":"X, \"y\"","tags":["a","b"]},{"born":"1970-01-01","id":21,"name":"Z","tags":null}]`)
	w.refused(w.do("POST", "/authors", "id,name\n22", table), 400, "PGRST102")
	w.refused(w.do("POST", "/authors", "", table), 400, "PGRST102")
	w.refused(w.do("POST", "/authors", "id,nobody\n22,x", table), 400, "PGRST204")
	w.refused(w.do("POST", "/authors", "id,name\nx,y", table), 400, "22P02")
	w.want(w.do("POST", "/authors?select=id,name", "id=23&name=A+b", form, full), 201, `[{"id":23,"name":"A b"}]`)
	w.want(w.do("POST", "/rpc/add", "a=1&b=2", form), 200, "3")
	w.refused(w.do("POST", "/authors", "<x/>", "Content-Type: text/xml"), 400, "PGRST102")
}
