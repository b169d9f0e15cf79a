package rest_test

import "testing"

// A function that takes a row of one table and gives rows of another makes a relationship, also for views.
func TestRelationshipsByFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, want := range map[string]string{
		"/authors?select=id,written(id,title)&order=id&written.order=id.desc":     `[{"id":1,"written":[{"id":2,"title":"Two"},{"id":1,"title":"One"}]},{"id":2,"written":[{"id":3,"title":"Three"}]},{"id":3,"written":[]}]`,
		"/authors?select=id,written(id)&order=id&written.id=gt.1&written.limit=1": `[{"id":1,"written":[{"id":2}]},{"id":2,"written":[{"id":3}]},{"id":3,"written":[]}]`,
		"/authors?select=id,written!inner(id)&written.id=eq.3":                    `[{"id":2,"written":[{"id":3}]}]`,
		"/books?select=id,writer(name)&id=in.(1,4)&order=id":                      `[{"id":1,"writer":{"name":"Ann"}},{"id":4,"writer":null}]`,
		"/books?select=id,...writer(name)&id=eq.3":                                `[{"id":3,"name":"Bob"}]`,
		"/books?select=id,writer(name,written(id))&id=eq.3":                       `[{"id":3,"writer":{"name":"Bob","written":[{"id":3}]}}]`,
		"/cheap?select=id,dear(id)&id=eq.1":                                       `[{"dear":[{"id":2},{"id":3},{"id":4}],"id":1}]`,
		"/rpc/by_author?who=2&select=id,writer(name)":                             `[{"id":3,"writer":{"name":"Bob"}}]`,
	} {
		if a := w.do("GET", path, ""); a.status != 200 || a.compact() != want {
			t.Errorf("%s: got %d %s, want %s", path, a.status, a.compact(), want)
		}
	}
	w.want(w.do("PATCH", "/books?id=eq.1&select=price,writer(name)", `{"price":6}`, "Prefer: return=representation"), 200, `[{"price":6,"writer":{"name":"Ann"}}]`)
	w.want(w.do("POST", "/authors?select=name,written(id)", `{"id":9,"name":"New"}`, "Prefer: return=representation"), 201, `[{"name":"New","written":[]}]`)
	w.refused(w.do("GET", "/shelves?select=id,written(id)", ""), 400, "PGRST200")
}
