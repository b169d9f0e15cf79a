package rest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// order is one column to sort by.
type order struct {
	embed string // the embedded table whose column it is, or empty
	field field
	desc  bool
	nulls string // "first", "last" or nothing
}

// page is a stretch of rows; a negative limit means all.
type page struct {
	limit, offset int64
}

// query is what the query string asks.
type query struct {
	items      []item
	where      []node
	order      []order
	page       page
	onConflict []string
	columns    []string // nil when not given
	arguments  map[string]string
	limited    bool // limit or offset were given
}

// parseQuery reads the query string. For a call by GET, what is no filter is an argument.
func parseQuery(r *http.Request, callByGet bool) (q query, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, unreadable("query string", r.URL.RawQuery)
	}
	q.page.limit = -1
	q.arguments = map[string]string{}
	if q.items, err = parseSelect(values.Get("select")); err != nil {
		return q, err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[key] {
			if err := storable(key, value); err != nil {
				return q, err
			}
			if err := q.parameter(key, value, callByGet); err != nil {
				return q, err
			}
		}
	}
	return q, nil
}

// storable refuses what Postgres takes neither in a name nor in a text.
func storable(texts ...string) error {
	for _, t := range texts {
		if strings.ContainsRune(t, 0) || !utf8.ValidString(t) {
			return refuse(http.StatusBadRequest, "22021", "invalid byte sequence for encoding \"UTF8\"")
		}
	}
	return nil
}

func (q *query) parameter(key, value string, callByGet bool) (err error) {
	switch key {
	case "select", "apikey":
		return nil
	case "on_conflict":
		q.onConflict, err = nameList("on_conflict", value)
		return err
	case "columns":
		q.columns, err = nameList("columns", value)
		return err
	}
	path, last := splitKey(key)
	if callByGet && len(path) == 0 && !reserved(last) && !isFilter(value) {
		q.arguments[key] = value
		return nil
	}
	where, sort, page := &q.where, &q.order, &q.page
	if len(path) > 0 {
		e, ok := find(q.items, path)
		if !ok {
			return notEmbedded(path[len(path)-1])
		}
		where, sort, page = &e.where, &e.order, &e.page
	} else if last == "limit" || last == "offset" {
		q.limited = true
	}
	return apply(last, value, where, sort, page)
}

func reserved(word string) bool {
	switch word {
	case "order", "limit", "offset", "and", "or", "not.and", "not.or":
		return true
	}
	return false
}

// splitKey parts the names of embedded tables from the column, or the reserved word, at the end.
func splitKey(key string) (path []string, last string) {
	s := &scanner{text: key}
	for {
		start := s.at
		name, ok := s.name()
		if !ok || !s.sees(".") || reserved(s.text[start:]) {
			return path, s.text[start:]
		}
		s.take(".")
		path = append(path, name)
	}
}

func apply(key, value string, where *[]node, sort *[]order, p *page) (err error) {
	switch key {
	case "order":
		*sort, err = parseOrder(value)
		return err
	case "limit", "offset":
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
			return unreadable(key+" parameter", value)
		case key == "offset":
			p.offset = max(n, 0)
		case n < 0:
			return notSatisfiable().because("Limit should be greater than or equal to zero.")
		default:
			p.limit = n
		}
		return nil
	case "and", "or", "not.and", "not.or":
		s := &scanner{text: value}
		n, err := s.conditions(strings.TrimPrefix(key, "not."), 0)
		if err == nil && !s.done() {
			err = unreadable("logic tree", value)
		}
		n.not = strings.HasPrefix(key, "not.")
		*where = append(*where, n)
		return err
	}
	k := &scanner{text: key}
	f, ok := k.field()
	if !ok || !k.done() {
		return unreadable("filter", key)
	}
	n, err := (&scanner{text: value}).comparison(f, false)
	*where = append(*where, n)
	return err
}

func nameList(key, value string) (names []string, err error) {
	s := &scanner{text: value}
	for !s.done() {
		name, ok := s.name()
		if !ok {
			return nil, unreadable(key+" parameter", value)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		s.spaces()
		if !s.take(",") && !s.done() {
			return nil, unreadable(key+" parameter", value)
		}
	}
	return names, nil
}

func parseOrder(value string) (list []order, err error) {
	bad := unreadable("order", value)
	s := &scanner{text: value}
	for {
		o := order{}
		var ok bool
		if o.field, ok = s.field(); !ok {
			return nil, bad
		}
		if s.take("(") {
			o.embed = o.field.column
			if o.field, ok = s.field(); !ok || !s.take(")") {
				return nil, bad
			}
		}
		for s.take(".") {
			switch s.until(".,") {
			case "asc":
			case "desc":
				o.desc = true
			case "nullsfirst":
				o.nulls = "first"
			case "nullslast":
				o.nulls = "last"
			default:
				return nil, bad
			}
		}
		list = append(list, o)
		if s.done() {
			return list, nil
		}
		if !s.take(",") {
			return nil, bad
		}
	}
}
