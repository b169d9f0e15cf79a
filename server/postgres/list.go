package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// where gathers the conditions of a list. Conditions are constant text; what the
// caller sent travels as arguments only.
type where struct {
	conditions []string
	args       pgx.StrictNamedArgs
}

func (w *where) and(condition, name string, value any) {
	if w.args == nil {
		w.args = pgx.StrictNamedArgs{}
	}
	w.conditions = append(w.conditions, condition)
	w.args[name] = value
}

// with is a copy with one more condition.
func (w where) with(condition, name string, value any) where {
	w.conditions, w.args = slices.Clone(w.conditions), maps.Clone(w.args)
	w.and(condition, name, value)
	return w
}

// labels adds a Kubernetes label selector over a jsonb column, and gives what it says.
func (w *where) labels(column, selector string) (api.Selector, error) {
	if selector == "" {
		return nil, nil
	}
	parsed, err := api.ParseSelector(selector)
	if err != nil {
		return nil, api.InvalidField("labelSelector", "INVALID_FORMAT", "%s", err)
	}
	for i, r := range parsed {
		key, values := "label"+strconv.Itoa(i), "values"+strconv.Itoa(i)
		value := column + " ->> @" + key
		switch r.Operator {
		case api.OpExists:
			w.and(column+" ? @"+key, key, r.Key)
			continue
		case api.OpDoesNotExist:
			w.and("not "+column+" ? @"+key, key, r.Key)
			continue
		case api.OpIn:
			w.and(value+" = any (@"+values+"::text[])", key, r.Key)
		case api.OpNotIn:
			w.and("("+value+") is null or "+value+" <> all (@"+values+"::text[])", key, r.Key)
		case api.OpGt:
			w.and(number(value)+" > (@"+values+"::text[])[1]::numeric", key, r.Key)
		case api.OpLt:
			w.and(number(value)+" < (@"+values+"::text[])[1]::numeric", key, r.Key)
		}
		w.args[values] = r.Values
	}
	return parsed, nil
}

// number reads a label as a whole number, null where it is none.
func number(value string) string {
	return "case when " + value + " ~ '^-?[0-9]{1,18}$' then (" + value + ")::numeric end"
}

func (w *where) sql() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " where (" + strings.Join(w.conditions, ") and (") + ")"
}

// query names the arguments of a statement; with none there is nothing to name.
func (w *where) query(b *pgx.Batch, sql string) *pgx.QueuedQuery {
	return b.Queue(sql, w.arguments()...)
}

// arguments are those of a statement that is not queued in a batch.
func (w *where) arguments() []any {
	if len(w.args) == 0 {
		return nil
	}
	return []any{w.args}
}

// listing is one list under the caller's rights.
type listing[T any] struct {
	op, columns, from, order string
	where                    where
	scan                     pgx.RowToFunc[T]
	limit, offset            int
}

// list reads one page, the total and a cursor in one round trip and one transaction.
// The cursor is read first: what is committed in between comes again in a watch that
// goes on from it.
//
// The rows are looked through once, for the page and the total together: row level
// security lets no condition on labels use an index, so each look is at all of them.
func list[T any](ctx context.Context, db *DB, id access.Identity, l listing[T]) (api.Page[T], error) {
	var items []T
	var total int
	var at position
	table, alias, _ := strings.Cut(l.from, " ")
	found := "(" + pageSQL(alias+".id as found_id, count(*) over () as found_total", l.from, l.order, l.where, l.limit, l.offset) + ") f"
	sql := "select " + l.columns + ", f.found_total from " + found + " join " + table + " " + alias + " on " + alias + ".id = f.found_id order by " + l.order
	err := db.readAs(ctx, l.op, id, func(b *pgx.Batch) {
		b.Queue("select pg_current_snapshot()::text, " + positionSQL).
			QueryRow(func(row pgx.Row) error { return row.Scan(&at.snap, &at.at, &at.born) })
		l.where.query(b, sql).Query(all(&items, func(row pgx.CollectableRow) (T, error) { return l.scan(withTotal{row, &total}) }))
	})
	if err == nil && len(items) == 0 && l.offset > 0 { // beyond the last page nothing tells how many there are
		err = db.readAs(ctx, l.op, id, func(b *pgx.Batch) {
			l.where.query(b, "select count(*) from "+l.from+l.where.sql()).Query(one(&total, scanInt))
		})
	}
	return api.Page[T]{Items: items, Total: total, Cursor: at.String()}, err
}

// pageSQL reads some columns of the rows of one page.
func pageSQL(columns, from, order string, w where, limit, offset int) string {
	return "select " + columns + " from " + from + w.sql() + " order by " + order + " limit " + strconv.Itoa(limit) + " offset " + strconv.Itoa(offset)
}

// withTotal is a row that ends with the number of all rows found.
type withTotal struct {
	pgx.CollectableRow
	total *int
}

// Scan reads the row that it wraps, and the total.
func (r withTotal) Scan(dest ...any) error { return r.CollectableRow.Scan(append(dest, r.total)...) }

// paged is list for the queries of the API.
func paged[T any](ctx context.Context, db *DB, id access.Identity, q api.PageQuery, l listing[T]) (api.Page[T], error) {
	q = q.Normalize()
	l.limit, l.offset = q.Limit(), q.Offset()
	page, err := list(ctx, db, id, l)
	page.Page, page.PageSize = q.Page, q.PageSize
	return page, err
}
