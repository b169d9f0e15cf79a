package rest_test

import (
	"encoding/json"
	"slices"
	"testing"
)

// document is as much of a description as the tests look at.
type document struct {
	Swagger, BasePath string
	Paths             map[string]map[string]struct {
		Summary, Description string
		Parameters           []map[string]any
	}
	Definitions map[string]struct {
		Description string
		Required    []string
		Properties  map[string]map[string]any
	}
	Parameters map[string]map[string]any
}

func (w *world) document(headers ...string) (d document) {
	w.Helper()
	a := w.do("GET", "/", "", headers...)
	if a.status != 200 {
		w.Fatalf("got %d %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		w.Fatal(err)
	}
	return d
}

func TestDescription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.do("GET", "/", "", "Accept: application/openapi+json"); a.header.Get("Content-Type") != "application/openapi+json; charset=utf-8" {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
	if a := w.do("GET", "/", "", "Accept: application/json"); a.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
	if a := w.do("HEAD", "/", ""); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: got %d %q", a.status, a.body)
	}
	d := w.document()
	if d.Swagger != "2.0" || d.BasePath != "/rest/v1" {
		t.Errorf("got %q %q", d.Swagger, d.BasePath)
	}
	books := d.Paths["/books"]
	if books["get"].Summary != "What can be read" || books["get"].Description != "By anybody" {
		t.Errorf("comment of a table: %+v", books["get"])
	}
	for _, method := range []string{"get", "post", "patch", "delete"} {
		if _, has := books[method]; !has {
			t.Errorf("no %s of a table", method)
		}
	}
	for column, want := range map[string]map[string]any{
		"id":        {"format": "integer", "type": "integer", "description": "Note:\nThis is a Primary Key.<pk/>"},
		"title":     {"format": "text", "type": "string", "default": "untitled", "description": "As on the cover"},
		"price":     {"format": "numeric", "type": "number"},
		"added":     {"format": "timestamp with time zone", "type": "string", "default": "now()"},
		"author_id": {"format": "integer", "type": "integer", "description": "Note:\nThis is a Foreign Key to `authors.id`.<fk table='authors' column='id'/>"},
	} {
		same(t, "books."+column, d.Definitions["books"].Properties[column], want)
	}
	if !slices.Equal(d.Definitions["books"].Required, []string{"id", "title"}) {
		t.Errorf("required %v", d.Definitions["books"].Required)
	}
	same(t, "an enum", d.Definitions["authors"].Properties["mood"], map[string]any{"format": "mood", "type": "string", "enum": []any{"sad", "glad"}})
	same(t, "an array", d.Definitions["authors"].Properties["tags"], map[string]any{"format": "text[]", "type": "array", "items": map[string]any{"type": "string"}})
	same(t, "any JSON", d.Definitions["authors"].Properties["bio"], map[string]any{"format": "jsonb"})
	same(t, "a limited text", d.Definitions["authors"].Properties["note"], map[string]any{"format": "character varying", "type": "string", "maxLength": 5.0})
	if add := d.Paths["/rpc/add"]; add["get"].Summary != "Adds two numbers" || len(add["get"].Parameters) != 2 {
		t.Errorf("a function: %+v", add)
	}
	if _, byGet := d.Paths["/rpc/keep"]["get"]; byGet {
		t.Error("a function that writes is offered by GET")
	}
	for path, methods := range d.Paths {
		for method, o := range methods {
			for _, p := range o.Parameters {
				if name, isRef := p["$ref"].(string); isRef && d.Parameters[name[len("#/parameters/"):]] == nil {
					t.Errorf("%s %s refers to %s, which is not there", method, path, name)
				}
			}
		}
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	g, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(g) != string(wanted) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, g, wanted)
	}
}

func TestDescriptionFollowsRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anon, user := w.document(), w.document(w.as(alice))
	for path, by := range map[string]struct{ anon, user bool }{
		"/books": {true, true}, "/notes": {false, true}, "/vault": {false, true}, "/blind": {true, true}, "/cheap": {true, true},
		"/secret": {false, false}, "/rpc/add": {true, true}, "/rpc/secretly": {false, false}, "/rpc/two": {false, false}, "/rpc/whole": {true, true},
	} {
		_, toAnon := anon.Paths[path]
		_, toUser := user.Paths[path]
		if toAnon != by.anon || toUser != by.user {
			t.Errorf("%s: anon %v, user %v", path, toAnon, toUser)
		}
	}
	if _, has := w.document("Accept-Profile: other").Paths["/things"]; !has {
		t.Error("another schema is not described")
	}
	w.refused(w.do("GET", "/", "", "Accept-Profile: hidden"), 406, "PGRST106")
}
