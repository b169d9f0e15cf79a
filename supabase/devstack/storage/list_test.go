package storage_test

import (
	"fmt"
	"strings"
	"testing"
)

type listed struct {
	Name     string
	ID       *string
	Metadata map[string]any
}

func names(list []listed) string {
	var out []string
	for _, e := range list {
		if e.ID == nil {
			e.Name += "/"
		}
		out = append(out, e.Name)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, key := range []string{"b.txt", "a.txt", "dir/x", "dir/y", "dir/sub/z", "dir_x", "d2//e"} {
		r.put(t, key, key)
	}
	tests := []struct{ body, want string }{
		{`{"prefix":""}`, "d2/ dir/ a.txt b.txt dir_x"},
		{`{"prefix":"","limit":2}`, "d2/ dir/"},
		{`{"prefix":"","limit":2,"offset":3}`, "b.txt dir_x"},
		{`{"prefix":"dir"}`, "sub/ x y"},
		{`{"prefix":"dir/"}`, "sub/ x y"},
		{`{"prefix":"dir","search":"Y"}`, "y"},
		{`{"prefix":"d2"}`, "/"},
		{`{"prefix":"d2/"}`, "/"},
		{`{"prefix":"d2//"}`, "e"},
		{`{"prefix":"","sortBy":{"column":"name","order":"desc"}}`, "dir/ d2/ dir_x b.txt a.txt"},
		{`{"prefix":"","sortBy":{"column":"created_at","order":"asc"}}`, "d2/ dir/ b.txt a.txt dir_x"},
		{`{"prefix":"none"}`, ""},
	}
	for _, tt := range tests {
		var list []listed
		r.json(t, "POST", "/object/list/"+r.bucket, service(), tt.body).decode(t, &list)
		if names(list) != tt.want {
			t.Errorf("%s: got %q, want %q", tt.body, names(list), tt.want)
		}
		for _, e := range list {
			if e.ID != nil && (e.Metadata["mimetype"] != "text/plain" || e.Metadata["httpStatusCode"] != float64(200)) {
				t.Errorf("metadata of %s: got %v", e.Name, e.Metadata)
			}
		}
	}
	for _, body := range []string{
		`{}`, `{"prefix":"","limit":0}`, `{"prefix":"","offset":-1}`, `{"prefix":"","sortBy":{"column":"owner"}}`,
		`{"prefix":"","sortBy":{"order":"up"}}`,
	} {
		r.want(t, r.json(t, "POST", "/object/list/"+r.bucket, service(), body), 400, "InvalidRequest")
	}
	if got := r.json(t, "POST", "/object/list/none", service(), `{"prefix":""}`); got.status != 200 || got.body != "[]\n" {
		t.Errorf("absent bucket: got %d %s", got.status, got.body)
	}
}

type pageV2 struct {
	HasNext    bool
	NextCursor string
	Folders    []struct{ Key, Name string }
	Objects    []struct{ Key, Name, ID string }
}

func TestListV2(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, key := range []string{"a", "dir/x", "dir/y", "e", "f/g"} {
		r.put(t, key, key)
	}
	walk := func(input string) string {
		var seen []string
		cursor := ""
		for range 10 {
			var page pageV2
			body := fmt.Sprintf(`{%s,"limit":2,"cursor":%q}`, input, cursor)
			r.json(t, "POST", "/object/list-v2/"+r.bucket, service(), body).decode(t, &page)
			for _, f := range page.Folders {
				seen = append(seen, f.Name)
			}
			for _, o := range page.Objects {
				seen = append(seen, o.Name)
			}
			if !page.HasNext {
				break
			}
			cursor = page.NextCursor
		}
		return strings.Join(seen, " ")
	}
	for input, want := range map[string]string{
		`"prefix":""`:                           "a dir/x dir/y e f/g",
		`"prefix":"","with_delimiter":true`:     "dir/ a f/ e",
		`"prefix":"dir/","with_delimiter":true`: "dir/x dir/y",
		`"prefix":"di"`:                         "dir/x dir/y",
		`"prefix":"","sortBy":{"order":"desc"}`: "f/g e dir/y dir/x a",
	} {
		if got := walk(input); got != want {
			t.Errorf("%s: got %q, want %q", input, got, want)
		}
	}
	for _, body := range []string{`{"cursor":"%"}`, `{"limit":0}`, `{"sortBy":{"column":"owner"}}`, `{"sortBy":{"order":"up"}}`} {
		r.want(t, r.json(t, "POST", "/object/list-v2/"+r.bucket, service(), body), 400, "InvalidRequest")
	}
}
