package rest

import (
	"context"
	"maps"
	"net/http"
	"slices"
)

// invocation is a call of a function with its arguments.
type invocation struct {
	given []string
	texts map[string]string // by GET
	text  string            // by POST: a JSON object
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
		f, err = t.function(ctx, c.schema, c.name, in.given)
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
	if c.r.ContentLength == 0 {
		return nil
	}
	p, err := s.payload(c)
	if err != nil {
		return err
	}
	if p.isArray {
		return invalidBody("A function takes one JSON object")
	}
	in.given, in.text = keys(p.objects[0]), string(p.text)
	return storable(in.given...)
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
	f.call(st, in.texts, in.text, in.given)
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
