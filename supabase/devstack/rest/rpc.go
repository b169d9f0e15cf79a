package rest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// invocation is a call of a function with its arguments.
type invocation struct {
	given []string
	texts map[string]string // by GET
	text  string            // by POST: a JSON object
	whole *whole            // by POST: the body as it came
}

// whole is a body that may be the one argument of a function which gives it no name. Types are those that
// the argument may have.
type whole struct {
	types []string
	text  string
	only  bool // the body can be nothing else, as it is no JSON
	list  bool // the body is no object, so it holds no named arguments
}

// wholes are the forms of a body that stand for one argument, and its types.
var wholes = map[string][]string{
	"application/json": {"json", "jsonb"}, "text/plain": {"text"}, "text/xml": {"xml"}, "application/octet-stream": {"bytea"},
}

func callFunction(s *service, c *call) error {
	q, err := parseQuery(c.r, c.reads())
	if err != nil {
		return err
	}
	in := invocation{texts: q.arguments}
	if c.reads() {
		if err := q.page.narrow(c.r.Header); err != nil {
			return err
		}
		in.given = slices.Sorted(maps.Keys(q.arguments))
	} else if err := s.arguments(c, &in); err != nil {
		return err
	}
	var f function
	// Which function is meant decides whether it may write; so it is looked up on its own first.
	err = s.as(c.r.Context(), c, true, func(ctx context.Context, t conversation) error {
		f, err = t.function(ctx, c.schema, c.name, in)
		return err
	})
	if err != nil {
		return err
	}
	var got result
	err = s.as(c.r.Context(), c, c.reads() || !f.Volatile, func(ctx context.Context, t conversation) error {
		got, err = s.invoke(ctx, t, c, f, in, q)
		return err
	})
	if err != nil {
		return err
	}
	if f.Void {
		c.w.Header().Set("Content-Range", contentRange(0, got.shown, got.total))
		c.send(http.StatusNoContent, nil)
		return nil
	}
	return c.answerRows(got, q.page)
}

// arguments reads them from the body; none at all are as good as an empty object.
func (s *service) arguments(c *call, in *invocation) error {
	kind, err := c.bodyType(append(slices.Sorted(maps.Keys(wholes)), bodies...))
	if err != nil {
		return err
	}
	if types := wholes[kind]; kind != "application/json" && types != nil {
		return s.raw(c, in, types)
	}
	if c.r.ContentLength == 0 {
		return nil
	}
	if kind != "application/json" {
		p, err := s.payload(c)
		if err != nil {
			return err
		}
		return in.named(p)
	}
	text, err := s.body(c)
	if err != nil {
		return err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || !json.Valid(text) {
		return invalidBody("Empty or invalid json")
	}
	in.whole = &whole{types: wholes[kind], text: string(text), list: text[0] != '{'}
	if in.whole.list {
		return nil
	}
	p := payload{text: text}
	if err := p.parse(); err != nil {
		return err
	}
	return in.named(p)
}

// isNamed tells whether the arguments can be the named ones.
func (in *invocation) isNamed() bool { return in.whole == nil || !in.whole.only && !in.whole.list }

// named takes the keys of an object for names of arguments.
func (in *invocation) named(p payload) error {
	if p.isArray {
		return invalidBody("A function takes one JSON object")
	}
	in.given, in.text = keys(p.objects[0]), string(p.text)
	return storable(in.given...)
}

// raw takes the body as the text of one argument.
func (s *service) raw(c *call, in *invocation, types []string) error {
	text, err := s.body(c)
	if err != nil {
		return err
	}
	in.whole = &whole{types: types, only: true, text: string(text)}
	if slices.Contains(types, "bytea") {
		in.whole.text = `\x` + hex.EncodeToString(text)
		return nil
	}
	return storable(in.whole.text)
}

func (s *service) invoke(ctx context.Context, t conversation, c *call, f function, in invocation, q query) (got result, err error) {
	scalar, single := !f.Composite, !f.Set
	var parent *relation
	if f.Rows != "" {
		rel, err := t.relation(ctx, c.schema, f.Rows)
		if err != nil {
			return got, err
		}
		parent = &rel
	}
	if err := t.resolve(ctx, c.schema, parent, q.items, new(int)); err != nil {
		return got, err
	}
	if err := related(f.name, q.items, q.order); err != nil {
		return got, err
	}
	st := &statement{}
	st.sql("with pgrst_all as (")
	f.call(st, in)
	st.sql("), pgrst_source as (")
	r := rows{
		from: func(s *statement) { s.sql("pgrst_all as ").name(f.name) }, alias: f.name,
		rel: parent, items: q.items, where: q.where, order: q.order, page: q.page,
	}
	if scalar {
		r.items = []item{{all: true}}
	}
	r.sql(st, s.MaxRows)
	st.sql(") select ")
	if f.Void {
		st.sql("''")
	} else {
		c.media.body(st, "pgrst_source", scalar, single)
	}
	st.sql(", count(*)::text")
	if c.prefer.count != "" {
		r.count(st)
	}
	st.sql(" from pgrst_source as _pgrst_row")
	if got, err = t.result(ctx, st); err != nil {
		return got, err
	}
	if limit := c.prefer.maxAffected; limit >= 0 && got.shown > limit {
		return got, refuse(http.StatusBadRequest, "PGRST124", "Query result exceeds max-affected preference constraint").
			because("The query affects %d rows", got.shown)
	}
	if c.media.object && !scalar && got.shown != 1 {
		return got, notSingular(got.shown)
	}
	return got, nil
}
