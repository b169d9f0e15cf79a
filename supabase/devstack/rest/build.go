package rest

import (
	"slices"
	"strconv"
	"strings"
)

// rows are the rows of one source: a table, or what a function returned.
type rows struct {
	from  func(*statement)
	alias string
	rel   *relation // nil where columns are not known
	items []item
	where []node
	order []order
	page  page
}

// tableRows reads from a table under its own name, which error messages of Postgres then repeat.
func tableRows(rel *relation, q query) rows {
	return rows{
		from: func(s *statement) { s.name(rel.schema, rel.name).sql(" as ").name(rel.name) }, alias: rel.name,
		rel: rel, items: q.items, where: q.where, order: q.order, page: q.page,
	}
}

// sql adds the query of r, as many rows as its page has.
func (r rows) sql(s *statement, maxRows int64) {
	s.sql("select ")
	r.list(s, maxRows)
	s.sql(" from ")
	r.from(s)
	r.conditions(s)
	r.sorted(s)
	r.page.sql(s, maxRows)
}

func (p page) sql(s *statement, maxRows int64) {
	limit := p.limit
	if maxRows > 0 && (limit < 0 || limit > maxRows) {
		limit = maxRows
	}
	if limit >= 0 {
		s.sql(" limit ").value(strconv.FormatInt(limit, 10)).sql("::bigint")
	}
	if p.offset > 0 {
		s.sql(" offset ").value(strconv.FormatInt(p.offset, 10)).sql("::bigint")
	}
}

// count adds, as one more column, how many rows there are on all pages.
func (r rows) count(s *statement) {
	s.sql(", (select count(*) from ")
	r.from(s)
	r.conditions(s)
	s.sql(")::text")
}

// shown is one column of the answer, under its name.
type shown struct {
	name string
	sql  func(*statement)
}

// list adds the select list.
func (r rows) list(s *statement, maxRows int64) {
	separator := ""
	for _, i := range r.items {
		if i.all {
			s.sql(separator).name(r.alias).sql(".*")
			separator = ", "
			continue
		}
		for _, c := range r.shown(i, maxRows) {
			s.sql(separator)
			c.sql(s)
			s.sql(" as ").name(c.name)
			separator = ", "
		}
	}
}

// shown are the columns that an entry of the select list brings: none, when a table
// is embedded for the sake of its filters alone, or those of a table that is spread.
func (r rows) shown(i item, maxRows int64) (list []shown) {
	e := i.embed
	switch {
	case i.all:
		for _, c := range r.rel.columns {
			list = append(list, shown{c.Name, func(s *statement) { s.name(r.alias, c.Name) }})
		}
	case e == nil:
		alias := i.alias
		if alias == "" {
			alias = i.field.last()
		}
		list = append(list, shown{alias, func(s *statement) { r.item(s, i) }})
	case e.spread:
		inner := r.inside(e)
		for _, one := range e.items {
			for _, c := range inner.shown(one, maxRows) {
				list = append(list, shown{c.name, func(s *statement) { r.spread(s, e, c, maxRows) }})
			}
		}
	case len(e.items) > 0:
		list = append(list, shown{e.shown(), func(s *statement) { r.embedded(s, e, maxRows) }})
	}
	return list
}

// spread adds one column of an embedded table: its value, or the list of its values
// where several rows belong to one of r.
func (r rows) spread(s *statement, e *embed, c shown, maxRows int64) {
	inner := r.inside(e)
	if e.link.Many {
		s.sql("(select coalesce(json_agg(_pgrst_value), '[]'::json) from (select ")
	} else {
		s.sql("(select ")
	}
	c.sql(s)
	s.sql(" as _pgrst_value from ")
	r.joined(s, e)
	if e.link.Many {
		inner.sorted(s)
		inner.page.sql(s, maxRows)
		s.sql(") as _pgrst_list")
	}
	s.sql(")")
}

func (r rows) item(s *statement, i item) {
	if i.castType == "" {
		r.field(s, i.field)
		return
	}
	s.sql("cast(")
	r.field(s, i.field)
	s.sql(" as " + i.castType + ")")
}

// field adds a column, or what lies within one.
func (r rows) field(s *statement, f field) {
	if len(f.path) == 0 {
		s.name(r.alias, f.column)
		return
	}
	isJSON := false
	if r.rel != nil {
		c, _ := r.rel.column(f.column)
		isJSON = c.Type == "json" || c.Type == "jsonb"
	}
	s.sql("(")
	if isJSON {
		s.name(r.alias, f.column)
	} else {
		s.sql("to_jsonb(").name(r.alias, f.column).sql(")")
	}
	for _, p := range f.path {
		s.sql("->")
		if p.asText {
			s.sql(">")
		}
		s.value(p.key)
		if p.index {
			s.sql("::int")
		} else {
			s.sql("::text")
		}
	}
	s.sql(")")
}

// inside are the embedded rows that belong to one row of r.
func (r rows) inside(e *embed) rows {
	inner := tableRows(&e.rel, query{items: e.items, where: e.where, order: e.order, page: e.page})
	inner.alias = e.as
	inner.from = func(s *statement) { s.name(e.rel.schema, e.rel.name).sql(" as ").name(e.as) }
	if e.link.Function != "" {
		inner.from = func(s *statement) {
			s.name(e.rel.schema, e.link.Function).sql("(").name(r.alias).sql("::").name(r.rel.schema, r.rel.name).sql(") as ").name(e.as)
		}
	}
	return inner
}

// joined adds the condition that ties embedded rows to their row of r, and the filters of the embedded rows.
func (r rows) joined(s *statement, e *embed) {
	inner := r.inside(e)
	inner.from(s)
	equal := func(table string, columns []string, other string, others []string) {
		s.join(" and ", len(columns), func(i int) { s.name(table, columns[i]).sql(" = ").name(other, others[i]) })
	}
	if l := e.link; l.Function != "" {
		s.sql(" where true")
	} else if l.Through != "" {
		between := e.as + "_through"
		s.sql(", ").name(e.rel.schema, l.Through).sql(" as ").name(between).sql(" where ")
		equal(between, l.Here, r.alias, l.Own)
		s.sql(" and ")
		equal(between, l.There, e.as, l.Others)
	} else {
		s.sql(" where ")
		equal(e.as, l.Others, r.alias, l.Own)
	}
	inner.further(s)
}

func (r rows) embedded(s *statement, e *embed, maxRows int64) {
	if e.link.Many {
		s.sql("(select coalesce(json_agg(_pgrst_row), '[]'::json) from (select ")
	} else {
		s.sql("(select row_to_json(_pgrst_row) from (select ")
	}
	inner := r.inside(e)
	inner.list(s, maxRows)
	s.sql(" from ")
	r.joined(s, e)
	inner.sorted(s)
	inner.page.sql(s, maxRows)
	s.sql(") as _pgrst_row)")
}

// conditions adds WHERE, when there is something to ask.
func (r rows) conditions(s *statement) {
	if r.restricted() {
		s.sql(" where true")
		r.further(s)
	}
}

func (r rows) restricted() bool {
	return len(r.where) > 0 || slices.ContainsFunc(r.items, func(i item) bool { return i.embed != nil && i.embed.inner })
}

// further adds conditions behind others.
func (r rows) further(s *statement) {
	for _, n := range r.where {
		s.sql(" and ")
		r.node(s, n)
	}
	for _, i := range r.items {
		if i.embed != nil && i.embed.inner {
			s.sql(" and ")
			r.exists(s, i.embed)
		}
	}
}

func (r rows) exists(s *statement, e *embed) {
	s.sql("exists (select from ")
	r.joined(s, e)
	s.sql(")")
}

func (r rows) node(s *statement, n node) {
	if n.not {
		s.sql("not ")
	}
	s.sql("(")
	if n.join != "" {
		s.join(" "+n.join+" ", len(n.nodes), func(i int) { r.node(s, n.nodes[i]) })
	} else {
		r.comparison(s, n)
	}
	s.sql(")")
}

func (r rows) comparison(s *statement, n node) {
	if e, ok := find(r.items, []string{n.field.column}); ok && n.operator == "is" && n.value == "null" {
		s.sql("not ")
		r.exists(s, e)
		return
	}
	if function, ok := searches[n.operator]; ok {
		r.search(s, n, function)
		return
	}
	r.field(s, n.field)
	switch n.operator {
	case "in":
		s.sql(" = any (").value(arrayText(n.list)).sql(")")
		return
	case "is":
		s.sql(" is " + states[n.value])
		return
	}
	value := n.value
	if n.operator == "like" || n.operator == "ilike" {
		value = strings.ReplaceAll(value, "*", "%")
	}
	s.sql(" " + operators[n.operator] + " ")
	switch n.extra {
	case "any":
		s.sql("any (").value(value).sql(")")
	case "all":
		s.sql("all (").value(value).sql(")")
	default:
		s.value(value)
	}
}

// search adds a full text search; n.extra names its language.
func (r rows) search(s *statement, n node, function string) {
	language := func() {
		if n.extra != "" {
			s.value(n.extra).sql("::regconfig, ")
		}
	}
	isVector := false
	if r.rel != nil && len(n.field.path) == 0 {
		c, _ := r.rel.column(n.field.column)
		isVector = c.Type == "tsvector"
	}
	if isVector {
		r.field(s, n.field)
	} else {
		s.sql("to_tsvector(")
		language()
		r.field(s, n.field)
		s.sql(")")
	}
	s.sql(" @@ " + function + "(")
	language()
	s.value(n.value).sql(")")
}

func (r rows) sorted(s *statement) {
	if len(r.order) == 0 {
		return
	}
	s.sql(" order by ").join(", ", len(r.order), func(i int) {
		o := r.order[i]
		if e, ok := find(r.items, []string{o.embed}); ok {
			s.sql("(select ")
			r.inside(e).field(s, o.field)
			s.sql(" from ")
			r.joined(s, e)
			s.sql(")")
		} else {
			r.field(s, o.field)
		}
		if o.desc {
			s.sql(" desc")
		}
		if o.nulls != "" {
			s.sql(" nulls " + o.nulls)
		}
	})
}
