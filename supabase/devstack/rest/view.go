package rest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// deepestView bounds how far views of views are followed.
const deepestView = 10

// origin is a table whose columns a relation shows: the table itself, or what a view
// selects from.
type origin struct {
	table uint32
	shown map[string]string // the relation's name of a column by the table's; nil where they are the same
}

// all gives the relation's names of columns of the table, unless it does not show them all.
func (o origin) all(columns []string) ([]string, bool) {
	if o.shown == nil {
		return columns, true
	}
	names := make([]string, 0, len(columns))
	for _, c := range columns {
		name, ok := o.shown[c]
		if !ok {
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

// origins finds the tables behind a relation. For a table, and for a view of nothing
// but expressions, there is the relation itself.
func (t conversation) origins(ctx context.Context, oid uint32, depth int) ([]origin, error) {
	var action string
	err := t.tx.QueryRow(ctx, `select ev_action::text from pg_catalog.pg_rewrite where ev_class = $1 and rulename = '_RETURN'`, oid).Scan(&action)
	if errors.Is(err, pgx.ErrNoRows) || depth > deepestView {
		return []origin{{table: oid}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find what a view selects: %w", err)
	}
	names, err := t.columnNames(ctx, oid)
	if err != nil {
		return nil, err
	}
	var found []origin
	for _, target := range targets(action) {
		behind, err := t.origins(ctx, target.table, depth+1)
		if err != nil {
			return nil, err
		}
		theirs, err := t.columnNames(ctx, target.table)
		if err != nil {
			return nil, err
		}
		for _, o := range behind {
			for column, shown := range o.names(theirs) {
				if shown == theirs[target.column] {
					found = with(found, o.table, column, names[target.number])
				}
			}
		}
	}
	return found, nil
}

// names gives the relation's names by the table's, given the relation's columns.
func (o origin) names(columns map[int]string) map[string]string {
	if o.shown != nil {
		return o.shown
	}
	same := map[string]string{}
	for _, name := range columns {
		same[name] = name
	}
	return same
}

// with adds a column that a view shows; the first of its names counts.
func with(list []origin, table uint32, column, shown string) []origin {
	i := slices.IndexFunc(list, func(o origin) bool { return o.table == table })
	if i < 0 {
		return append(list, origin{table: table, shown: map[string]string{column: shown}})
	}
	if _, has := list[i].shown[column]; !has {
		list[i].shown[column] = shown
	}
	return list
}

func (t conversation) columnNames(ctx context.Context, oid uint32) (map[int]string, error) {
	rows, err := t.tx.Query(ctx, `select attnum::int, attname::text from pg_catalog.pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped`, oid)
	if err != nil {
		return nil, fmt.Errorf("find columns: %w", err)
	}
	names := map[int]string{}
	var number int
	var name string
	_, err = pgx.ForEachRow(rows, []any{&number, &name}, func() error { names[number] = name; return nil })
	if err != nil {
		return nil, fmt.Errorf("find columns: %w", err)
	}
	return names, nil
}

// target is a column of a view that is one of a table, or of another view.
type target struct {
	number int // of the view's column
	table  uint32
	column int
}

// targets reads the select list of a view's rule. A rule is a tree as text: nodes in
// braces, and a backslash before whatever would be mistaken for a part of it. The
// select lists of subqueries lie deeper.
func targets(action string) (list []target) {
	const listed = ":targetList ("
	depth, inList, start := 0, false, 0
	var own strings.Builder // an entry without the nodes within it
	for i := 0; i < len(action); i++ {
		switch c := action[i]; {
		case c == '\\':
			i++
		case c == '{':
			if depth++; inList && depth == 2 {
				own.Reset()
				start = i + 1
			} else if inList && depth == 3 {
				own.WriteString(action[start:i])
			}
		case c == '}':
			if depth--; inList && depth == 2 {
				start = i + 1
			} else if inList && depth == 1 {
				own.WriteString(action[start:i])
				if one, ok := entry(own.String()); ok {
					list = append(list, one)
				}
			}
		case depth == 1 && !inList && strings.HasPrefix(action[i:], listed):
			inList = true
			i += len(listed) - 1
		case depth == 1 && inList && c == ')':
			return list
		}
	}
	return list
}

// entry reads one column of a select list, if it is one of a table.
func entry(text string) (t target, ok bool) {
	words := strings.Fields(text)
	for i := range words[:max(len(words)-1, 0)] {
		n, err := strconv.ParseUint(words[i+1], 10, 32)
		if err != nil {
			continue
		}
		switch words[i] {
		case ":resno":
			t.number = int(n)
		case ":resorigtbl":
			t.table = uint32(n)
		case ":resorigcol":
			t.column = int(n)
		}
	}
	return t, t.table != 0 && t.column != 0 && t.number != 0
}
