package rest

import (
	"net/http"
	"strings"
)

// item is one entry of a select list.
type item struct {
	all   bool // *
	field field
	alias string
	cast  string // as the request writes it
	embed *embed

	castType string // as the catalog prints it
}

// embed is another table within the rows of this one.
type embed struct {
	name, hint, alias string
	inner             bool
	spread            bool // its columns stand among those of the row that it belongs to
	items             []item
	where             []node
	order             []order
	page              page

	rel  relation
	link link
	as   string // its alias in SQL
}

// shown is the name under which the embedded rows appear, and by which filters mean them.
func (e *embed) shown() string {
	if e.alias != "" {
		return e.alias
	}
	return e.name
}

func parseSelect(text string) ([]item, error) {
	s := &scanner{text: text}
	s.spaces()
	if s.done() {
		return []item{{all: true}}, nil
	}
	items, err := s.items(0)
	if err == nil && !s.done() {
		err = unreadable("select parameter", text)
	}
	return items, err
}

func (s *scanner) items(depth int) (items []item, err error) {
	if depth > deepest {
		return nil, unreadable("select parameter", "too many brackets")
	}
	for {
		s.spaces()
		one, err := s.item(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, one)
		s.spaces()
		if !s.take(",") {
			return items, nil
		}
	}
}

func (s *scanner) item(depth int) (i item, err error) {
	bad := unreadable("select parameter", s.text)
	if s.take("*") {
		return item{all: true}, nil
	}
	if s.take("...") {
		return s.spread(depth)
	}
	name, ok := s.name()
	if !ok {
		return i, bad
	}
	if !s.sees("::") && s.take(":") {
		i.alias = name
		if name, ok = s.name(); !ok {
			return i, bad
		}
	}
	if name == "count" && s.sees("()") {
		return i, aggregate()
	}
	if s.sees("(") || s.sees("!") {
		i.embed, err = s.embed(name, i.alias, depth)
		return i, err
	}
	i.field.column = name
	if i.field.path, ok = s.path(); !ok {
		return i, bad
	}
	if s.take("::") {
		if i.cast = strings.TrimSpace(s.until(",).")); i.cast == "" {
			return i, bad
		}
	}
	if s.take(".") {
		if strings.HasSuffix(s.until(",)"), "(") {
			return i, aggregate()
		}
		return i, bad
	}
	if i.alias == "" && len(i.field.path) > 0 {
		i.alias = i.field.last()
	}
	return i, nil
}

// spread reads what follows the dots: an embedded table.
func (s *scanner) spread(depth int) (i item, err error) {
	name, ok := s.name()
	alias := ""
	if ok && s.take(":") {
		alias = name
		name, ok = s.name()
	}
	if !ok || !s.sees("(") && !s.sees("!") {
		return i, unreadable("select parameter", s.text)
	}
	if i.embed, err = s.embed(name, alias, depth); err == nil {
		i.embed.spread = true
	}
	return i, err
}

func aggregate() error {
	return refuse(http.StatusBadRequest, "PGRST123", "Use of aggregate functions is not allowed")
}

func (s *scanner) embed(name, alias string, depth int) (*embed, error) {
	e := &embed{name: name, alias: alias, page: page{limit: -1}}
	for s.take("!") {
		word, ok := s.name()
		switch {
		case !ok:
			return nil, unreadable("select parameter", s.text)
		case word == "inner":
			e.inner = true
		case word != "left":
			e.hint = word
		}
	}
	if !s.take("(") {
		return nil, unreadable("select parameter", s.text)
	}
	var err error
	if s.spaces(); s.take(")") {
		return e, nil
	}
	if e.items, err = s.items(depth + 1); err != nil {
		return nil, err
	}
	if !s.take(")") {
		return nil, unreadable("select parameter", s.text)
	}
	return e, nil
}

// find walks to an embedded table by the names that lead to it.
func find(items []item, path []string) (*embed, bool) {
	var found *embed
	for _, name := range path {
		found = nil
		for i := range items {
			if e := items[i].embed; e != nil && e.shown() == name {
				found = e
			}
		}
		if found == nil {
			return nil, false
		}
		items = found.items
	}
	return found, found != nil
}
