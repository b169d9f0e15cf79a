package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// written is what a statement that writes brought.
type written struct {
	result
	affected int64
	inserted int64 // of affected; the others were there and got merged
}

// change is one statement that writes to a table.
type change struct {
	rows
	c *call
	// sql adds the statement up to its RETURNING.
	sql func(*statement)
	// merges tells that sql counts, as pgrst.merged, rows that it did not insert.
	merges bool
}

// run executes the change and shows the rows that it left behind, in the form that the caller prefers.
func (ch change) run(ctx context.Context, t conversation) (w written, err error) {
	// Only an insert has something to say in headers: where the new row is.
	shows := ch.c.prefer.representation == "representation" ||
		ch.c.prefer.representation == "headers-only" && ch.c.r.Method == http.MethodPost
	s := &statement{}
	if ch.merges {
		// An earlier statement of this transaction may have counted, too.
		s.sql("select set_config('pgrst.merged', '0', true)")
		if _, err := t.rows(ctx, s); err != nil {
			return w, err
		}
		s = &statement{}
	}
	s.sql("with pgrst_source as (")
	ch.sql(s)
	s.sql(" returning ")
	if shows {
		ch.returning(s)
	} else {
		s.sql("1")
	}
	s.sql(")")
	if shows {
		ch.from = func(s *statement) { s.sql("pgrst_source as ").name(ch.alias) }
		ch.where = nil
		s.sql(", pgrst_shown as (")
		ch.rows.sql(s, 0)
		s.sql(") select ")
		ch.c.media.body(s, "pgrst_shown", false, false)
		s.sql(", count(*)::text, (select count(*) from pgrst_source)::text")
	} else {
		s.sql("select '', '0', count(*)::text")
	}
	s.sql(", coalesce(nullif(current_setting('pgrst.merged', true), ''), '0')")
	if shows {
		s.sql(" from pgrst_shown as _pgrst_row")
	} else {
		s.sql(" from pgrst_source")
	}
	return t.written(ctx, s)
}

func (t conversation) written(ctx context.Context, s *statement) (w written, err error) {
	table, err := t.rows(ctx, s)
	if err != nil {
		return w, err
	}
	row := table[0]
	w.body = row[0]
	numbers := [3]int64{}
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(string(row[i+1]), 10, 64); err != nil {
			return w, fmt.Errorf("count rows: %w", err)
		}
	}
	w.shown, w.affected, w.inserted = numbers[0], numbers[1], numbers[1]-numbers[2]
	return w, nil
}

// returning adds the columns that showing the rows needs, and no more: those ask for the right to read.
func (ch change) returning(s *statement) {
	var needed []string
	need := func(name string) {
		if !slices.Contains(needed, name) {
			needed = append(needed, name)
		}
	}
	for _, i := range ch.items {
		switch {
		case i.all:
			s.name(ch.alias).sql(".*")
			return
		case i.embed != nil && i.embed.link.Function != "":
			s.name(ch.alias).sql(".*") // which takes the whole row
			return
		case i.embed != nil:
			for _, name := range i.embed.link.Own {
				need(name)
			}
		default:
			need(i.field.column)
		}
	}
	for _, o := range ch.order {
		if o.embed == "" {
			need(o.field.column) // the embedded table has its own needs above
		}
	}
	if len(needed) == 0 {
		s.sql("1")
		return
	}
	s.names(ch.alias, needed)
}

// write runs the handler of a change in one transaction, and checks the result before it is kept.
func (s *service) write(c *call, q query, fn func(context.Context, conversation, relation) (written, error)) (w written, rel relation, err error) {
	err = s.as(c.r.Context(), c, false, func(ctx context.Context, t conversation) error {
		if rel, err = t.relation(ctx, c.schema, c.name); err != nil {
			return err
		}
		if err := t.resolve(ctx, c.schema, &rel, q.items, new(int)); err != nil {
			return err
		}
		if err := related(rel.name, q.items, q.order); err != nil {
			return err
		}
		if w, err = fn(ctx, t, rel); err != nil {
			return err
		}
		if limit := c.prefer.maxAffected; limit >= 0 && w.affected > limit {
			return refuse(http.StatusBadRequest, "PGRST124", "Query result exceeds max-affected preference constraint").
				because("The query affects %d rows", w.affected)
		}
		if c.media.object && c.prefer.representation == "representation" && w.shown != 1 {
			return notSingular(w.shown)
		}
		return nil
	})
	return w, rel, err
}

// answerWrite sends the outcome of a change.
func (c *call) answerWrite(w written, status int, stretch string) {
	total := "*"
	if c.prefer.count != "" {
		total = strconv.FormatInt(w.affected, 10)
	}
	c.w.Header().Set("Content-Range", stretch+"/"+total)
	if c.prefer.representation == "representation" {
		c.send(status, w.body)
		return
	}
	if status == http.StatusOK {
		status = http.StatusNoContent
	}
	c.send(status, nil)
}

func updateRows(s *service, c *call) error {
	q, err := c.changing()
	if err != nil {
		return err
	}
	p, err := s.payload(c)
	if err != nil {
		return err
	}
	if len(p.objects) > 1 {
		return invalidBody("An update takes one JSON object")
	}
	columns := q.columns
	if columns == nil && len(p.objects) == 1 {
		columns = keys(p.objects[0])
	}
	if len(columns) > 0 && len(q.where) == 0 {
		return whereMissing("UPDATE")
	}
	text := strings.TrimSuffix(strings.TrimPrefix(string(p.text), "["), "]")
	w, _, err := s.write(c, q, func(ctx context.Context, t conversation, rel relation) (written, error) {
		if len(columns) == 0 {
			return written{result: result{body: []byte("[]")}}, nil
		}
		if err := known(rel, columns); err != nil {
			return written{}, err
		}
		r := tableRows(&rel, q)
		return change{rows: r, c: c, sql: func(st *statement) {
			st.sql("update ").name(rel.schema, rel.name).sql(" as ").name(r.alias).sql(" set ")
			st.join(", ", len(columns), func(i int) { st.name(columns[i]).sql(" = ").name("pgrst_body", columns[i]) })
			st.sql(" from json_to_record(").value(text).sql("::json) as pgrst_body(")
			definitions(st, rel, columns)
			st.sql(")")
			r.conditions(st)
		}}.run(ctx, t)
	})
	if err != nil {
		return err
	}
	stretch := "*"
	if w.affected > 0 {
		stretch = "0-" + strconv.FormatInt(w.affected-1, 10)
	}
	c.answerWrite(w, http.StatusOK, stretch)
	return nil
}

// changing reads the query of a request that writes. Pages are for reading: they neither bound which rows are
// written nor which are shown.
func (c *call) changing() (query, error) {
	q, err := parseQuery(c.r, false)
	q.page = page{limit: -1}
	unpage(q.items)
	return q, err
}

func unpage(items []item) {
	for _, i := range items {
		if i.embed != nil {
			i.embed.page = page{limit: -1}
			unpage(i.embed.items)
		}
	}
}

// whereMissing is what pg-safeupdate says on Supabase.
func whereMissing(verb string) error {
	return refuse(http.StatusBadRequest, "21000", verb+" requires a WHERE clause")
}

func deleteRows(s *service, c *call) error {
	q, err := c.changing()
	if err != nil {
		return err
	}
	if len(q.where) == 0 {
		return whereMissing("DELETE")
	}
	w, _, err := s.write(c, q, func(ctx context.Context, t conversation, rel relation) (written, error) {
		r := tableRows(&rel, q)
		return change{rows: r, c: c, sql: func(st *statement) {
			st.sql("delete from ").name(rel.schema, rel.name).sql(" as ").name(r.alias)
			r.conditions(st)
		}}.run(ctx, t)
	})
	if err != nil {
		return err
	}
	c.answerWrite(w, http.StatusOK, "*")
	return nil
}

// known refuses columns that the table does not have.
func known(rel relation, names []string) error {
	for _, name := range names {
		if _, ok := rel.column(name); !ok {
			return noColumn(rel.name, name)
		}
	}
	return nil
}

// definitions adds known columns with their types.
func definitions(s *statement, rel relation, names []string) {
	s.join(", ", len(names), func(i int) {
		c, _ := rel.column(names[i])
		s.name(c.Name).sql(" " + c.Type)
	})
}

// location names a new row by its primary key, when it is the only one.
func location(rel relation, w written) string {
	var list []map[string]any
	numbers := json.NewDecoder(bytes.NewReader(w.body))
	numbers.UseNumber()
	if numbers.Decode(&list) != nil || len(list) != 1 || len(rel.primary) == 0 {
		return ""
	}
	parts := make([]string, 0, len(rel.primary))
	for _, name := range rel.primary {
		parts = append(parts, url.QueryEscape(name)+"=eq."+url.QueryEscape(fmt.Sprint(list[0][name])))
	}
	return "/" + url.PathEscape(rel.name) + "?" + strings.Join(parts, "&")
}
