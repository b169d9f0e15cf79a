package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// column is one column of a relation. Type is as the catalog prints it, so it may stand in SQL.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// relation is a table or view.
type relation struct {
	oid          uint32
	schema, name string
	columns      []column
	primary      []string // names of the primary key's columns
}

func (r relation) column(name string) (column, bool) {
	i := slices.IndexFunc(r.columns, func(c column) bool { return c.Name == name })
	if i < 0 {
		return column{}, false
	}
	return r.columns[i], true
}

const findRelation = `
select c.oid,
  coalesce((select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) order by a.attnum)
    from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')::text,
  coalesce((select json_agg(a.attname order by array_position(i.indkey::int2[], a.attnum))
    from pg_catalog.pg_index i join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
    where i.indrelid = c.oid and i.indisprimary), '[]')::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')`

func (t conversation) relation(ctx context.Context, schema, name string) (relation, error) {
	r := relation{schema: schema, name: name}
	var columns, primary string
	err := t.tx.QueryRow(ctx, findRelation, schema, name).Scan(&r.oid, &columns, &primary)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, refuse(http.StatusNotFound, "PGRST205",
			"Could not find the table '"+schema+"."+shorten(name)+"' in the schema cache")
	}
	if err != nil {
		return r, fmt.Errorf("find relation: %w", err)
	}
	if err := errors.Join(json.Unmarshal([]byte(columns), &r.columns), json.Unmarshal([]byte(primary), &r.primary)); err != nil {
		return r, fmt.Errorf("read relation: %w", err)
	}
	return r, nil
}

// link is a foreign key seen from one of its two ends, or a table whose primary key consists of two of them.
type link struct {
	Name   string   `json:"name"`   // of the constraint, or of the table in between
	Many   bool     `json:"many"`   // the other end may have several rows
	Own    []string `json:"own"`    // columns at this end
	Others []string `json:"others"` // columns at the other end, in the same order

	// Through is the table in between, or empty; its columns refer to Own and to Others.
	Through string   `json:"through"`
	Here    []string `json:"here"`
	There   []string `json:"there"`

	// Function takes a row of this end and gives the rows of the other, or is empty.
	Function string `json:"function"`
}

const findComputed = `
select c.relname, p.proretset and p.prorows <> 1
from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_type t on t.oid = p.prorettype
  join pg_catalog.pg_class c on c.oid = t.typrelid and c.relnamespace = p.pronamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
where n.nspname = $1 and p.proname = $2 and p.prokind = 'f' and p.pronargs = 1
  and p.proargtypes[0] = (select reltype from pg_catalog.pg_class where oid = $3)`

// computed finds a function that leads from rows of a table to those of another.
func (t conversation) computed(ctx context.Context, schema, name string, from relation) (to relation, l link, found bool, err error) {
	var table string
	err = t.tx.QueryRow(ctx, findComputed, schema, name, from.oid).Scan(&table, &l.Many)
	if errors.Is(err, pgx.ErrNoRows) {
		return to, l, false, nil
	}
	if err != nil {
		return to, l, false, fmt.Errorf("find a function of rows: %w", err)
	}
	l.Name, l.Function = name, name
	to, err = t.relation(ctx, schema, table)
	return to, l, true, err
}

const findLinks = `
with keys as (
  select k.conname, k.conrelid, k.confrelid, k.oid, k.conkey,
    (select json_agg(a.attname order by x.n) from unnest(k.conkey) with ordinality as x(num, n)
       join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = x.num) as from_columns,
    (select json_agg(a.attname order by x.n) from unnest(k.confkey) with ordinality as x(num, n)
       join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = x.num) as to_columns,
    exists (select from pg_catalog.pg_index i where i.indrelid = k.conrelid and i.indisunique and i.indpred is null
       and i.indkey::int2[] <@ k.conkey) as single
  from pg_catalog.pg_constraint k where k.contype = 'f')
select coalesce(json_agg(l), '[]')::text from (
  select conname as name, false as many, from_columns as own, to_columns as others, '' as through, null::json as here, null::json as there
    from keys where conrelid = $1 and confrelid = $2
  union all
  select conname, not single, to_columns, from_columns, '', null, null
    from keys where confrelid = $1 and conrelid = $2 and conrelid <> confrelid
  union all
  select conname, true, to_columns, from_columns, '', null, null from keys where confrelid = $1 and conrelid = $1 and $1 = $2
  union all
  select j.relname, true, a.to_columns, b.to_columns, j.relname, a.from_columns, b.from_columns
    from keys a join keys b on a.conrelid = b.conrelid and a.oid <> b.oid join pg_catalog.pg_class j on j.oid = a.conrelid
    where a.confrelid = $1 and b.confrelid = $2
      and j.relnamespace = (select relnamespace from pg_catalog.pg_class where oid = $1)
      and exists (select from pg_catalog.pg_index i where i.indrelid = j.oid and i.indisprimary
        and (a.conkey || b.conkey) <@ i.indkey::int2[])) l`

// links finds what ties two relations together, from the first one's point of view. A
// view has the foreign keys of those columns that it takes from tables.
func (t conversation) links(ctx context.Context, from, to relation) (found []link, err error) {
	here, err := t.origins(ctx, from.oid, 0)
	if err != nil {
		return nil, err
	}
	there, err := t.origins(ctx, to.oid, 0)
	if err != nil {
		return nil, err
	}
	for _, a := range here {
		for _, b := range there {
			tables, err := t.tableLinks(ctx, a.table, b.table)
			if err != nil {
				return nil, err
			}
			for _, l := range tables {
				var own, others bool
				l.Own, own = a.all(l.Own)
				l.Others, others = b.all(l.Others)
				if own && others {
					found = append(found, l)
				}
			}
		}
	}
	return found, nil
}

func (t conversation) tableLinks(ctx context.Context, from, to uint32) (found []link, err error) {
	var text string
	if err := t.tx.QueryRow(ctx, findLinks, from, to).Scan(&text); err != nil {
		return nil, fmt.Errorf("find foreign keys: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf("read foreign keys: %w", err)
	}
	return found, nil
}

// typeName resolves a type that a request casts to, and prints it as the catalog does.
func (t conversation) typeName(ctx context.Context, name string) (string, error) {
	var found *string
	err := t.tx.QueryRow(ctx, `select format_type(to_regtype($1), null)`, name).Scan(&found)
	unread, isPg := errors.AsType[*pgconn.PgError](err)
	if err == nil && found == nil || isPg && unread.Code == "42601" {
		return "", refuse(http.StatusBadRequest, "42704", fmt.Sprintf("type %q does not exist", shorten(name)))
	}
	if err != nil {
		return "", fmt.Errorf("find type: %w", err)
	}
	return *found, nil
}
