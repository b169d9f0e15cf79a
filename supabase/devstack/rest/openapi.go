package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// object is a JSON object of the description, which encoding/json writes with its keys in order.
type object = map[string]any

// described is a table or view of which the caller may do anything at all.
type described struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Writable    bool              `json:"writable"`
	Columns     []describedColumn `json:"columns"`
}

type describedColumn struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"` // without its modifier
	Description string   `json:"description"`
	Default     string   `json:"default"`
	NotNull     bool     `json:"not_null"`
	Primary     bool     `json:"primary"`
	MaxLength   int      `json:"max_length"` // zero without a limit
	Labels      []string `json:"labels"`     // of an enum
	// Refers is the table and column that a foreign key of this column alone leads to.
	Refers []string `json:"refers"`
}

const describeTables = `
select coalesce(json_agg(json_build_object(
  'name', c.relname, 'description', coalesce(obj_description(c.oid, 'pg_class'), ''),
  'writable', c.relkind in ('r', 'p') or pg_relation_is_updatable(c.oid, true) & 28 > 0,
  'columns', coalesce((select json_agg(json_build_object(
    'name', a.attname, 'type', format_type(a.atttypid, null), 'description', coalesce(col_description(c.oid, a.attnum), ''),
    'default', case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), '') else '' end,
    'not_null', a.attnotnull,
    'primary', exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any (i.indkey)),
    'max_length', case when a.atttypid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 4 then a.atttypmod - 4 else 0 end,
    'labels', (select json_agg(e.enumlabel order by e.enumsortorder) from pg_catalog.pg_enum e where e.enumtypid = a.atttypid),
    'refers', (select json_build_array(f.relname, t.attname) from pg_catalog.pg_constraint k
      join pg_catalog.pg_class f on f.oid = k.confrelid and f.relnamespace = c.relnamespace
      join pg_catalog.pg_attribute t on t.attrelid = f.oid and t.attnum = k.confkey[1]
      where k.contype = 'f' and k.conrelid = c.oid and k.conkey = array[a.attnum] order by k.oid limit 1)) order by a.attnum)
    from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]')) order by c.relname), '[]')::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and (has_table_privilege(c.oid, 'select, insert, update, delete') or has_any_column_privilege(c.oid, 'select, insert, update'))`

// describe answers with the OpenAPI description of a schema: what the caller's role has rights to, and no more.
func describe(s *service, c *call) error {
	var text string
	var functions []function
	var about *string
	err := s.as(c.r.Context(), c, true, func(ctx context.Context, t conversation) (err error) {
		if err := t.tx.QueryRow(ctx, describeTables, c.schema).Scan(&text); err != nil {
			return fmt.Errorf("describe tables: %w", err)
		}
		if functions, err = t.functions(ctx, c.schema, nil); err != nil {
			return err
		}
		return t.tx.QueryRow(ctx, `select obj_description(to_regnamespace(quote_ident($1)), 'pg_namespace')`, c.schema).Scan(&about)
	})
	if err != nil {
		return err
	}
	var tables []described
	if err := json.Unmarshal([]byte(text), &tables); err != nil {
		return fmt.Errorf("read tables: %w", err)
	}
	functions = slices.DeleteFunc(functions, func(f function) bool { return !f.Callable || f.nameless() })
	document := c.document(tables, functions)
	if about != nil && *about != "" {
		title, description, _ := strings.Cut(*about, "\n")
		document["info"] = object{"title": title, "description": strings.TrimLeft(description, "\n"), "version": apiVersion}
	}
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode the description: %w", err)
	}
	c.send(200, body)
	return nil
}

// apiVersion is the one of PostgREST whose answers this package gives.
const apiVersion = "14"

func (c *call) document(tables []described, functions []function) object {
	paths := object{"/": object{"get": object{
		"tags": []string{"Introspection"}, "summary": "OpenAPI description (this document)",
		"produces": []string{openType, "application/json"}, "responses": answers(200, "OK"),
	}}}
	definitions, parameters := object{}, commonParameters()
	for _, t := range tables {
		paths["/"+t.Name] = t.path()
		definitions[t.Name] = t.definition()
		maps.Copy(parameters, t.parameters())
	}
	for _, f := range functions {
		paths["/rpc/"+f.Name] = f.path()
	}
	return object{
		"swagger": "2.0", "host": c.r.Host, "basePath": "/rest/v1", "schemes": []string{"http"},
		"info": object{
			"title": "standard public schema", "version": apiVersion,
			"description": "Tables and functions of this project, as the role that asks may use them",
		},
		"consumes": mediaTypes, "produces": mediaTypes,
		"paths": paths, "definitions": definitions, "parameters": parameters,
		"externalDocs": object{"description": "PostgREST Documentation", "url": "https://docs.postgrest.org/en/v" + apiVersion + "/references/api.html"},
	}
}

var mediaTypes = []string{
	"application/json", objectType + ";nulls=stripped", objectType, csvType,
}

func answers(status int, description string) object {
	return object{fmt.Sprint(status): object{"description": description}}
}

// commonParameters are what every table understands.
func commonParameters() object {
	one := func(name, in, description string) object {
		return object{"name": name, "in": in, "description": description, "required": false, "type": "string"}
	}
	prefer := func(values ...string) object {
		p := one("Prefer", "header", "Preference")
		p["enum"] = values
		return p
	}
	unit := one("Range-Unit", "header", "Limiting and Pagination")
	unit["default"] = "items"
	returning := []string{"return=representation", "return=minimal", "return=headers-only"}
	return object{
		"preferReturn": prefer(returning...), "preferCount": prefer("count=exact", "count=planned", "count=estimated"),
		"preferPost": prefer(append(returning, "resolution=ignore-duplicates", "resolution=merge-duplicates")...),
		"select":     one("select", "query", "Filtering Columns"), "on_conflict": one("on_conflict", "query", "On Conflict"),
		"order": one("order", "query", "Ordering"), "range": one("Range", "header", "Limiting and Pagination"), "rangeUnit": unit,
		"offset": one("offset", "query", "Limiting and Pagination"), "limit": one("limit", "query", "Limiting and Pagination"),
	}
}
