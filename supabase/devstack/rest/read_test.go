package rest_test

import (
	"net/url"
	"strings"
	"testing"
)

func TestSelectFilterAndOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, want := range map[string]string{
		"/books?select=id&order=id":                                            `[{"id":1},{"id":2},{"id":3},{"id":4}]`,
		"/books?select=id,name:title&id=eq.1":                                  `[{"id":1,"name":"One"}]`,
		"/books?select=*&id=eq.9":                                              `[]`,
		"/books?select=price::text&id=eq.1":                                    `[{"price":"5"}]`,
		"/books?select=id&id=neq.1&order=id.desc":                              `[{"id":4},{"id":3},{"id":2}]`,
		"/books?select=id&id=gt.1&id=lte.3&order=id":                           `[{"id":2},{"id":3}]`,
		"/books?select=id&id=gte.4":                                            `[{"id":4}]`,
		"/books?select=id&id=lt.2":                                             `[{"id":1}]`,
		"/books?select=id&title=like.T*&order=id":                              `[{"id":2},{"id":3}]`,
		"/books?select=id&title=ilike.%25REE":                                  `[{"id":3}]`,
		"/books?select=id&title=match.%5ET":                                    `[{"id":2},{"id":3}]`,
		"/books?select=id&title=imatch.%5Eone":                                 `[{"id":1}]`,
		"/books?select=id&id=in.(1,3)&order=id":                                `[{"id":1},{"id":3}]`,
		"/books?select=id&id=in.()":                                            `[]`,
		"/books?select=id&id=not.in.(1,3)&order=id":                            `[{"id":2},{"id":4}]`,
		`/authors?select=id&name=in.("Cyd, \"x\"",Ann)&order=id`:               `[{"id":1},{"id":3}]`,
		"/books?select=id&price=is.null":                                       `[{"id":3}]`,
		"/books?select=id&price=not.is.null&order=id":                          `[{"id":1},{"id":2},{"id":4}]`,
		"/books?select=id&price=isdistinct.5&order=id":                         `[{"id":2},{"id":3},{"id":4}]`,
		"/books?select=id&or=(id.eq.1,title.eq.Two)&order=id":                  `[{"id":1},{"id":2}]`,
		"/books?select=id&and=(id.gt.1,or(id.eq.2,id.eq.3))&order=id":          `[{"id":2},{"id":3}]`,
		"/books?select=id&not.or=(id.eq.1,id.in.(2,3))":                        `[{"id":4}]`,
		"/books?select=id&or=(not.and(id.gt.1,id.lt.9),title.not.like.*)":      `[{"id":1}]`,
		`/authors?select=id&or=(name.eq."Cyd, \"x\"",id.eq.1)&order=id`:        `[{"id":1},{"id":3}]`,
		"/books?select=id&id=eq(any).{1,2}&order=id":                           `[{"id":1},{"id":2}]`,
		"/books?select=id&title=like(any).{O*,F*}&order=id":                    `[{"id":1},{"id":4}]`,
		"/books?select=id&title=like(all).{T*,*o}":                             `[{"id":2}]`,
		"/authors?select=id&tags=cs.{a}":                                       `[{"id":1}]`,
		"/authors?select=id&tags=cd.{a,b,c}&order=id":                          `[{"id":1},{"id":2}]`,
		"/authors?select=id&tags=ov.{c,d}":                                     `[{"id":2}]`,
		"/authors?select=id&or=(tags.cs.{a,b},id.eq.3)&order=id":               `[{"id":1},{"id":3}]`,
		`/authors?select=id&bio=cs.{"city":"Rome"}`:                            `[{"id":1}]`,
		"/authors?select=id,bio->>city&bio->>city=eq.Oslo":                     `[{"city":"Oslo","id":2}]`,
		"/authors?select=bio->langs->1&id=eq.1":                                `[{"langs":"en"}]`,
		"/authors?select=l:bio->langs->>-1&id=eq.1":                            `[{"l":"en"}]`,
		"/authors?select=tags->0&id=eq.1":                                      `[{"tags":"a"}]`,
		"/authors?select=id&bio->n=eq.7":                                       `[{"id":1}]`,
		"/authors?select=id&order=bio->>city.asc.nullsfirst":                   `[{"id":3},{"id":2},{"id":1}]`,
		"/authors?select=id&mood=eq.glad":                                      `[{"id":1}]`,
		"/authors?select=id&born=gte.1955-01-01":                               `[{"id":2}]`,
		"/books?select=id&title=fts.one":                                       `[{"id":1}]`,
		"/books?select=id&title=wfts(english).two":                             `[{"id":2}]`,
		"/books?select=id&order=price.desc.nullslast,id&limit=2":               `[{"id":2},{"id":4}]`,
		"/books?select=id&order=price.nullsfirst&limit=1":                      `[{"id":3}]`,
		"/books?select=id&order=id&limit=2&offset=1":                           `[{"id":2},{"id":3}]`,
		"/books?select=id&order=id&limit=0":                                    `[]`,
		"/cheap?order=id":                                                      `[{"id":1,"title":"One"},{"id":4,"title":"Four*"}]`,
		"/books?select=id,%20title&id=eq.1":                                    `[{"id":1,"title":"One"}]`,
		"/books?select=created:added::date,id&id=eq.99&apikey=x":               `[]`,
		"/we%22ird;%20drop%20table%20x%20--?select=%22a%5C%22b'c;%20--%22":     `[{"a\"b'c; --":"v"}]`,
		"/we%22ird;%20drop%20table%20x%20--?select=sp%20ace,select&limit=1":    `[{"select":2,"sp ace":1}]`,
		"/we%22ird;%20drop%20table%20x%20--?select=select&%22sp%20ace%22=eq.1": `[{"select":2}]`,
	} {
		path, raw, _ := strings.Cut(query, "?")
		values := strings.NewReplacer(`"`, "%22", " ", "%20", "{", "%7B", "}", "%7D", `\`, "%5C", ";", "%3B", ">", "%3E").Replace(raw)
		a := w.do("GET", path+"?"+values, "")
		if a.status != 200 || a.compact() != want {
			t.Errorf("%s: got %d %s, want %s", query, a.status, a.compact(), want)
		}
	}
}

func TestPagesAndCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		query, prefer, rows string
		status              int
		content             string
	}{
		{"/many?order=n&limit=3", "", "", 200, "0-2/*"},
		{"/many?order=n&limit=3&offset=5", "count=exact", "", 206, "5-7/30"},
		{"/many", "count=exact", "", 206, "0-19/30"}, // never more than the bound
		{"/many?limit=25", "", "", 200, "0-19/*"},
		{"/many?n=lte.3", "count=exact", "", 200, "0-2/3"},
		{"/many?n=gt.99", "count=exact", "", 200, "*/0"},
		{"/many?order=n", "", "2-4", 200, "2-4/*"},
		{"/many?order=n&limit=2", "", "items=2-9", 200, "2-3/*"},
		{"/many?order=n", "count=exact", "28-", 206, "28-29/30"},
		{"/many?n=lte.3", "count=estimated", "", 200, "0-2/3"},
	} {
		headers := []string{"Prefer: " + test.prefer}
		if test.rows != "" {
			headers = append(headers, "Range: "+test.rows)
		}
		for _, method := range []string{"GET", "HEAD"} {
			a := w.do(method, test.query, "", headers...)
			if a.status != test.status || a.header.Get("Content-Range") != test.content || (method == "HEAD") != (a.body == "") {
				t.Errorf("%s %v: got %d %q", test.query, headers, a.status, a.header.Get("Content-Range"))
			}
		}
	}
	a := w.do("GET", "/many", "", "Prefer: count=planned")
	if _, total, ok := strings.Cut(a.header.Get("Content-Range"), "/"); !ok || total == "*" {
		t.Errorf("planned: got %q", a.header.Get("Content-Range"))
	}
	if applied := a.header.Get("Preference-Applied"); applied != "count=planned" {
		t.Errorf("Preference-Applied: got %q", applied)
	}
	w.refused(w.do("GET", "/many?offset=31", "", "Prefer: count=exact"), 416, "PGRST103")
	w.refused(w.do("GET", "/many?limit=-1", ""), 416, "PGRST103")
	w.refused(w.do("GET", "/many", "", "Range: 5-2"), 416, "PGRST103")
}

func TestForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const object = "Accept: application/vnd.pgrst.object+json"
	a := w.do("GET", "/books?select=id,price&id=eq.3", "", object)
	w.want(a, 200, `{"id":3,"price":null}`)
	if a.header.Get("Content-Type") != "application/vnd.pgrst.object+json; charset=utf-8" {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
	w.want(w.do("GET", "/books?select=id,price&id=eq.3", "", object+";nulls=stripped"), 200, `{"id":3}`)
	w.want(w.do("GET", "/books?select=id,price&id=gte.3&order=id", "", "Accept: application/vnd.pgrst.array+json;nulls=stripped"), 200, `[{"id":3},{"id":4,"price":9}]`)
	for query, rows := range map[string]string{"id=eq.9": "0", "id=gt.0": "4"} {
		a := w.do("GET", "/books?"+query, "", object)
		w.refused(a, 406, "PGRST116")
		if !strings.Contains(a.body, "The result contains "+rows+" rows") {
			t.Errorf("got %s", a.body)
		}
	}
	w.want(w.do("GET", "/authors?select=id,name&order=id", "", "Accept: text/csv"), 200, "\"id\",\"name\"\n1,Ann\n2,Bob\n3,\"Cyd, \"\"x\"\"\"")
	w.refused(w.do("GET", "/books", "", "Accept: application/vnd.pgrst.plan+json"), 406, "PGRST107")
	w.want(w.do("GET", "/books?select=id&id=eq.1", "", "Accept: image/png, application/json"), 200, `[{"id":1}]`)
}

func TestEmbedding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const books = "select=id,books!author_id("
	for query, want := range map[string]string{
		"/authors?id=eq.1&" + books + "title)&books.order=id":                                               `[{"books":[{"title":"One"},{"title":"Two"}],"id":1}]`,
		"/authors?id=eq.1&" + books + "title)&books.order=id.desc&books.limit=1":                            `[{"books":[{"title":"Two"}],"id":1}]`,
		"/authors?order=id&" + books + "id)&books.id=eq.3":                                                  `[{"books":[],"id":1},{"books":[{"id":3}],"id":2},{"books":[],"id":3}]`,
		"/authors?order=id&select=id,books!author_id!inner(id)&books.id=eq.3":                               `[{"books":[{"id":3}],"id":2}]`,
		"/authors?select=id,books!author_id(id)&books=is.null":                                              `[{"books":[],"id":3}]`,
		"/books?id=eq.1&select=id,writer:authors!books_author_id_fkey(name)":                                `[{"id":1,"writer":{"name":"Ann"}}]`,
		"/books?id=eq.4&select=id,writer:authors!author_id(name)":                                           `[{"id":4,"writer":null}]`,
		"/books?id=eq.1&select=covers(colour)":                                                              `[{"covers":{"colour":"red"}}]`,
		"/covers?select=books(title,authors!author_id(name))":                                               `[{"books":{"authors":{"name":"Ann"},"title":"One"}}]`,
		"/authors?select=id,b:books!author_id()&b=not.is.null&order=id":                                     `[{"id":1},{"id":2}]`,
		"/authors?id=eq.1&select=id,b:books!author_id(id,covers(colour))&b.covers.colour=eq.blue&b.id=eq.1": `[{"b":[{"covers":null,"id":1}],"id":1}]`,
		"/shelves?select=place,books(title)&order=id&books.order=title.desc":                                `[{"books":[{"title":"Two"},{"title":"One"}],"place":"hall"},{"books":[{"title":"One"}],"place":"attic"}]`,
		"/books?select=id,shelves!shelved!inner(place)&shelves.place=eq.attic":                              `[{"id":1,"shelves":[{"place":"attic"}]}]`,
		"/shelved?select=since,books(id),shelves(place)&since=eq.1991":                                      `[{"books":{"id":2},"shelves":{"place":"hall"},"since":1991}]`,
	} {
		a := w.do("GET", strings.ReplaceAll(query, " ", "%20"), "")
		if a.status != 200 || a.compact() != want {
			t.Errorf("%s: got %d %s, want %s", query, a.status, a.compact(), want)
		}
	}
	w.want(w.do("GET", "/authors?select=id&"+url.Values{"id": {"eq.1"}}.Encode(), ""), 200, `[{"id":1}]`)
	w.refused(w.do("GET", "/authors?select=id,many(n)", ""), 400, "PGRST200")
	w.refused(w.do("GET", "/authors?select=id,absent(n)", ""), 400, "PGRST200")
	w.refused(w.do("GET", "/authors?select=id,books(id)", ""), 300, "PGRST201")
	w.refused(w.do("GET", "/authors?select=id&books.id=eq.1", ""), 400, "PGRST108")
	w.refused(w.do("GET", "/authors?select="+strings.Repeat("books!author_id(id),", 40)+"id", ""), 400, "PGRST100")
}

// The columns of a table that is spread stand among those of the row it belongs to.
func TestSpreading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, want := range map[string]string{
		"/books?id=eq.1&select=id,...authors!author_id(writer:name,mood)":                            `[{"id":1,"mood":"glad","writer":"Ann"}]`,
		"/books?id=eq.4&select=id,...authors!author_id(name)":                                        `[{"id":4,"name":null}]`,
		"/covers?select=colour,...books(title,...authors!author_id(name))":                           `[{"colour":"red","name":"Ann","title":"One"}]`,
		"/covers?select=...books(title,authors!author_id(name))":                                     `[{"authors":{"name":"Ann"},"title":"One"}]`,
		"/shelved?select=...shelves(*)&since=eq.1992":                                                `[{"id":2,"place":"attic"}]`,
		"/authors?order=id&select=id,...books!author_id(titles:title)&books.order=id.desc":           `[{"id":1,"titles":["Two","One"]},{"id":2,"titles":["Three"]},{"id":3,"titles":[]}]`,
		"/books?select=id,...authors!author_id!inner(name)&authors.name=eq.Bob":                      `[{"id":3,"name":"Bob"}]`,
		"/books?select=id,...authors!author_id(city:bio->>city)&id=lte.3&order=id":                   `[{"city":"Rome","id":1},{"city":"Rome","id":2},{"city":"Oslo","id":3}]`,
		"/books?select=id,authors!author_id(name)&author_id=not.is.null&order=authors(name).desc,id": `[{"authors":{"name":"Bob"},"id":3},{"authors":{"name":"Ann"},"id":1},{"authors":{"name":"Ann"},"id":2}]`,
		"/books?select=id,a:authors!author_id()&order=a(name).nullsfirst,id.desc":                    `[{"id":4},{"id":2},{"id":1},{"id":3}]`,
		"/shelves?select=id,shelved(books(id))&shelved.order=books(title).desc&id=eq.1":              `[{"id":1,"shelved":[{"books":{"id":2}},{"books":{"id":1}}]}]`,
	} {
		a := w.do("GET", strings.NewReplacer(" ", "%20", ">", "%3E").Replace(query), "")
		if a.status != 200 || a.compact() != want {
			t.Errorf("%s: got %d %s, want %s", query, a.status, a.compact(), want)
		}
	}
	w.refused(w.do("GET", "/authors?select=id,books!author_id(id)&order=books(id)", ""), 400, "PGRST118")
	w.refused(w.do("GET", "/books?select=id&order=authors(name)", ""), 400, "PGRST108")
	w.refused(w.do("GET", "/books?select=...title", ""), 400, "PGRST100")
	w.want(w.do("POST", "/books?select=id,...authors!author_id(name)", `{"id":50,"author_id":2}`, "Prefer: return=representation"),
		201, `[{"id":50,"name":"Bob"}]`)
	w.want(w.do("GET", "/rpc/by_author?who=1&select=title,...authors!author_id(name)&order=id.desc&limit=1", ""), 200, `[{"name":"Ann","title":"Two"}]`)
}
