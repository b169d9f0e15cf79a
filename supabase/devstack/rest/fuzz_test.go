package rest

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzQuery holds that no query string makes the parser fail in another way than by an error, and that the
// statement built from what it accepts has its own words, quoted names and placeholders only: with the quoted
// names taken out, nothing of the request is left in it.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"select=*", "select=a,b:c::text,d->e->>f&a=eq.1&order=a.desc.nullslast", "select=a,b!inner(c,d(*))&b.c=in.(1,\"2\")&b.order=c",
		"or=(a.eq.1,not.and(b.is.null,c.like(any).{x,y}))&limit=1&offset=2", "columns=a,\"b\"&on_conflict=c", "select=a.sum()", "select=...b(c)",
		"a=fts(english).x&not.or=(a.eq.\"\\\"\")", "select=\"a\\\"b\"&\"a.b\"=eq.1", "select=a->-1&a->0=eq.x", "a=not.in.()", "%FF=eq.1",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, callByGet bool) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/t", nil)
		r.URL = &url.URL{Path: "/t", RawQuery: text}
		q, err := parseQuery(r, callByGet)
		if err != nil {
			return
		}
		for i := range q.items {
			if q.items[i].cast != "" {
				q.items[i].castType = "text"
			}
		}
		st := &statement{}
		tableRows(&relation{schema: "public", name: "t"}, q).sql(st, 10)
		if bad := foreign(st.text.String()); bad != "" {
			t.Errorf("%q became %q, where %q is not of this package", text, st.text.String(), bad)
		}
	})
}

// words are all that this package writes beside names and placeholders.
var words = strings.Fields(`select from as where true and or not order by desc nulls first last limit offset bigint text int cast
	to_jsonb to_tsvector regconfig to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery exists row_to_json _pgrst_row _pgrst_value _pgrst_list
	any all is null distinct unknown false like ilike coalesce json_agg json`)

// foreign is the first part of a statement, quoted names aside, that this package has not written.
func foreign(sql string) string {
	rest := unquoted(sql)
	isWord := func(r rune) bool { return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	for _, word := range strings.FieldsFunc(rest, func(r rune) bool { return !isWord(r) }) {
		if !slices.Contains(words, word) {
			return word
		}
	}
	for _, r := range rest {
		if !isWord(r) && !strings.ContainsRune("0123456789 $().,:*=<>@~&|-'[]", r) {
			return string(r)
		}
	}
	for _, bad := range []string{"--", "/*"} {
		if strings.Contains(rest, bad) {
			return bad
		}
	}
	return ""
}

// unquoted is a statement without its quoted identifiers.
func unquoted(sql string) string {
	var b strings.Builder
	for len(sql) > 0 {
		before, after, found := strings.Cut(sql, `"`)
		b.WriteString(before)
		if !found {
			break
		}
		for {
			_, rest, closed := strings.Cut(after, `"`)
			if !closed {
				return b.String() + `;` // never closed: as bad as can be
			}
			if after = rest; !strings.HasPrefix(after, `"`) {
				break
			}
			after = after[1:]
		}
		sql = after
	}
	return b.String()
}
