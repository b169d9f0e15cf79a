package rest_test

import "testing"

// A view has the foreign keys of the columns that it takes from tables, whatever it calls them.
func TestViewsAreEmbedded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, want := range map[string]string{
		"/works?select=work_id,authors(name)&order=work_id&work_id=lt.4":              `[{"authors":{"name":"Ann"},"work_id":1},{"authors":{"name":"Ann"},"work_id":2},{"authors":{"name":"Bob"},"work_id":3}]`,
		"/works?select=work_id,people(name)&work_id=eq.3":                             `[{"people":{"name":"Bob"},"work_id":3}]`,
		"/authors?select=id,works(work_id,copies)&id=eq.1&works.order=work_id.desc":   `[{"id":1,"works":[{"copies":1,"work_id":2},{"copies":2,"work_id":1}]}]`,
		"/people?select=name,works_of_ann(id)&id=lt.3&order=id&works_of_ann.order=id": `[{"name":"Ann","works_of_ann":[{"id":1},{"id":2}]},{"name":"Bob","works_of_ann":[]}]`,
		"/works_of_ann?select=id,author:authors(name)&order=id":                       `[{"author":{"name":"Ann"},"id":1},{"author":{"name":"Ann"},"id":2}]`,
		"/works?select=work_id,covers(colour)&work_id=eq.1":                           `[{"covers":{"colour":"red"},"work_id":1}]`,
		"/works?select=work_id,shelves(place)&work_id=eq.2":                           `[{"shelves":[{"place":"hall"}],"work_id":2}]`,
		"/cheap?select=id,shelved(shelf_id)&id=eq.1":                                  `[{"id":1,"shelved":[{"shelf_id":1},{"shelf_id":2}]}]`,
		"/covers?select=colour,cheap(title)":                                          `[{"cheap":{"title":"One"},"colour":"red"}]`,
	} {
		if a := w.do("GET", path, ""); a.status != 200 || a.compact() != want {
			t.Errorf("%s: got %d %s, want %s", path, a.status, a.compact(), want)
		}
	}
	w.refused(w.do("GET", "/hidden_key?select=title,authors(name)", ""), 400, "PGRST200")
	w.refused(w.do("GET", "/cheap?select=id,authors(name)", ""), 400, "PGRST200")
	w.refused(w.do("GET", "/works?select=work_id,many(n)", ""), 400, "PGRST200")
}
