package rest

import (
	"strings"
)

// operators take one value; the SQL of each.
var operators = map[string]string{
	"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike",
	"match": "~", "imatch": "~*", "isdistinct": "is distinct from",
	"cs": "@>", "cd": "<@", "ov": "&&", "sl": "<<", "sr": ">>", "nxr": "&<", "nxl": "&>", "adj": "-|-",
}

// searches are full text operators; the function that reads the query of each.
var searches = map[string]string{
	"fts": "to_tsquery", "plfts": "plainto_tsquery", "phfts": "phraseto_tsquery", "wfts": "websearch_to_tsquery",
}

// quantified operators bear (any) and (all).
var quantified = map[string]bool{
	"eq": true, "gt": true, "gte": true, "lt": true, "lte": true, "like": true, "ilike": true, "match": true, "imatch": true,
}

// states are what is. may ask for.
var states = map[string]string{
	"null": "null", "not_null": "not null", "true": "true", "false": "false", "unknown": "unknown",
}

// node is a comparison, or several of them joined by and or or.
type node struct {
	not   bool
	join  string // "and", "or"; empty for a comparison
	nodes []node

	field    field
	operator string
	extra    string // any, all, or the language of a search
	value    string
	list     []string
}

// comparison reads op.value, or not.op.value. Inside of a list of conditions a value ends with its condition.
func (s *scanner) comparison(f field, nested bool) (n node, err error) {
	n.field = f
	bad := unreadable("filter", s.text)
	n.not = s.take("not.")
	n.operator = s.until(".(")
	if s.take("(") {
		n.extra = s.until(")")
		if !s.take(")") {
			return n, bad
		}
	}
	if !s.take(".") || !n.known() {
		return n, bad
	}
	switch {
	case n.operator == "in":
		ok := s.take("(")
		if ok {
			n.list, ok = s.list()
		}
		if !ok {
			return n, bad
		}
	case nested:
		n.value = s.nestedValue()
	default:
		n.value, s.at = s.rest(), len(s.text)
	}
	if n.operator == "is" {
		n.value = strings.ToLower(n.value)
		if _, ok := states[n.value]; !ok {
			return n, bad
		}
	}
	if !nested && !s.done() {
		return n, bad
	}
	return n, nil
}

func (n node) known() bool {
	_, plain := operators[n.operator]
	_, search := searches[n.operator]
	if n.extra != "" && !search && (!quantified[n.operator] || (n.extra != "any" && n.extra != "all")) {
		return false
	}
	return plain || search || n.operator == "in" || n.operator == "is"
}

// nestedValue reads a value in quotes, an array in braces, or up to the end of the condition.
func (s *scanner) nestedValue() string {
	start := s.at
	if text, ok := s.quoted(); ok {
		if s.done() || s.sees(",") || s.sees(")") {
			return text
		}
		s.at = start
	}
	if s.sees("{") {
		if n := strings.IndexByte(s.rest(), '}'); n > 0 {
			array := s.rest()[:n+1]
			s.at += n + 1
			return array
		}
	}
	return s.until(",)")
}

// conditions reads (a,b,...) behind and, or; each is a comparison or such a list again.
func (s *scanner) conditions(join string, depth int) (n node, err error) {
	n.join = join
	bad := unreadable("logic tree", s.text)
	if depth > deepest || !s.take("(") {
		return n, bad
	}
	for {
		s.spaces()
		child, err := s.condition(depth)
		if err != nil {
			return n, err
		}
		n.nodes = append(n.nodes, child)
		s.spaces()
		switch {
		case s.take(")"):
			return n, nil
		case !s.take(","):
			return n, bad
		}
	}
}

func (s *scanner) condition(depth int) (n node, err error) {
	for _, word := range []string{"and", "or"} {
		for _, not := range []string{"", "not."} {
			if s.sees(not + word + "(") {
				s.take(not + word)
				n, err = s.conditions(word, depth+1)
				n.not = not != ""
				return n, err
			}
		}
	}
	f, ok := s.field()
	if !ok || !s.take(".") {
		return n, unreadable("logic tree", s.text)
	}
	return s.comparison(f, true)
}

// isFilter tells a filter from an argument of a function.
func isFilter(text string) bool {
	text = strings.TrimPrefix(text, "not.")
	head, _, ok := strings.Cut(text, ".")
	head, _, _ = strings.Cut(head, "(")
	return ok && node{operator: head}.known()
}

// arrayText writes a Postgres array of texts.
func arrayText(values []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + escape.Replace(v) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}
