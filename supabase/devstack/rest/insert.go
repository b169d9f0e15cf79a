package rest

import (
	"bytes"
	"context"
	"net/http"
)

func insertRows(s *service, c *call) error {
	q, err := c.changing()
	if err != nil {
		return err
	}
	p, err := s.payload(c)
	if err != nil {
		return err
	}
	groups, err := p.groups(q, c.prefer)
	if err != nil {
		return err
	}
	w, rel, err := s.write(c, q, func(ctx context.Context, t conversation, rel relation) (total written, err error) {
		total.body = []byte("[]")
		if c.prefer.representation == "headers-only" {
			q.items = nil
			for _, name := range rel.primary {
				q.items = append(q.items, item{field: field{column: name}})
			}
			c.media = media{contentType: jsonType}
		}
		for _, g := range groups {
			w, err := insertGroup(ctx, t, c, rel, q, g)
			if err != nil {
				return total, err
			}
			total = total.add(w)
		}
		return total, nil
	})
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if c.prefer.resolution == "merge-duplicates" && w.inserted <= 0 {
		status = http.StatusOK
	}
	if at := location(rel, w); at != "" && c.prefer.representation == "headers-only" {
		c.w.Header().Set("Location", at)
	}
	c.answerInsert(w, status)
	return nil
}

// answerInsert differs from other changes: an upsert of nothing new is 200 and not 204.
func (c *call) answerInsert(w written, status int) {
	if c.prefer.representation == "representation" || status == http.StatusCreated {
		c.answerWrite(w, status, "*")
		return
	}
	c.w.Header().Set("Content-Range", "*/*")
	c.send(status, nil)
}

// add joins what two groups of one request brought: two lists, or two tables of which one loses its heading.
func (w written) add(other written) written {
	a, b := bytes.TrimSpace(w.body), bytes.TrimSpace(other.body)
	switch {
	case len(a) == 0 || string(a) == "[]":
	case len(b) == 0 || string(b) == "[]":
		other.body = w.body
	case a[0] != '[':
		_, lines, _ := bytes.Cut(b, []byte("\n"))
		other.body = append(append(bytes.Clone(a), '\n'), lines...)
	default:
		joined := append(bytes.Clone(a[:len(a)-1]), ", "...)
		other.body = append(joined, b[1:]...)
	}
	other.shown += w.shown
	other.affected += w.affected
	other.inserted += w.inserted
	return other
}

// insertGroup writes the objects of one group with one statement.
func insertGroup(ctx context.Context, t conversation, c *call, rel relation, q query, g group) (written, error) {
	if err := known(rel, g.columns); err != nil {
		return written{}, err
	}
	if err := known(rel, q.onConflict); err != nil {
		return written{}, err
	}
	r := tableRows(&rel, q)
	target := q.onConflict
	if target == nil {
		target = rel.primary
	}
	resolution := c.prefer.resolution
	if len(target) == 0 {
		resolution = ""
	}
	ch := change{rows: r, c: c, merges: resolution == "merge-duplicates"}
	ch.sql = func(s *statement) {
		s.sql("insert into ").name(rel.schema, rel.name).sql(" as ").name(r.alias)
		if len(g.columns) > 0 {
			s.sql(" (").names("", g.columns).sql(") select ").names("pgrst_body", g.columns)
			s.sql(" from json_to_recordset(").value(g.text).sql("::json) as pgrst_body(")
			definitions(s, rel, g.columns)
			s.sql(")")
			rows{alias: "pgrst_body", rel: &rel, where: g.where}.conditions(s)
		} else {
			s.sql(" default values")
		}
		conflict(s, g.columns, target, resolution)
	}
	return ch.run(ctx, t)
}

// conflict adds what happens to rows that are there already.
func conflict(s *statement, columns, target []string, resolution string) {
	switch {
	case resolution == "ignore-duplicates", resolution == "merge-duplicates" && len(columns) == 0:
		s.sql(" on conflict (").names("", target).sql(") do nothing")
	case resolution == "merge-duplicates":
		s.sql(" on conflict (").names("", target).sql(") do update set ")
		s.join(", ", len(columns), func(i int) { s.name(columns[i]).sql(" = excluded.").name(columns[i]) })
		s.sql(` where set_config('pgrst.merged', (current_setting('pgrst.merged')::bigint + 1)::text, true) <> ''`)
	}
}
