package rest

import (
	"encoding/json"
	"strings"
)

// ref points to a parameter of the description.
func ref(name string) object { return object{"$ref": "#/parameters/" + name} }

func refs(names ...string) []object {
	list := make([]object, 0, len(names))
	for _, name := range names {
		list = append(list, ref(name))
	}
	return list
}

// operation starts one with what a comment says: its first line, and the rest.
func operation(tag, comment string, status int, description string) object {
	o := object{"tags": []string{tag}, "responses": answers(status, description)}
	summary, more, _ := strings.Cut(comment, "\n")
	if summary != "" {
		o["summary"] = summary
	}
	if more = strings.TrimLeft(more, "\n"); more != "" {
		o["description"] = more
	}
	return o
}

func (t described) path() object {
	filters := make([]string, 0, len(t.Columns))
	for _, c := range t.Columns {
		filters = append(filters, "rowFilter."+t.Name+"."+c.Name)
	}
	with := func(o object, parameters ...string) object {
		o["parameters"] = refs(parameters...)
		return o
	}
	read := operation(t.Name, t.Description, 200, "OK")
	read["responses"] = object{
		"200": object{"description": "OK", "schema": object{"type": "array", "items": object{"$ref": "#/definitions/" + t.Name}}},
		"206": object{"description": "Partial Content"},
	}
	filtered := func(more ...string) []string { return append(append([]string{}, filters...), more...) }
	path := object{"get": with(read, filtered("select", "order", "range", "rangeUnit", "offset", "limit", "preferCount")...)}
	if t.Writable {
		body := "body." + t.Name
		path["post"] = with(operation(t.Name, t.Description, 201, "Created"), body, "select", "preferPost")
		path["patch"] = with(operation(t.Name, t.Description, 204, "No Content"), filtered(body, "preferReturn")...)
		path["delete"] = with(operation(t.Name, t.Description, 204, "No Content"), filtered("preferReturn")...)
	}
	return path
}

func (t described) parameters() object {
	p := object{"body." + t.Name: object{
		"name": t.Name, "in": "body", "description": t.Name, "required": false, "schema": object{"$ref": "#/definitions/" + t.Name},
	}}
	for _, c := range t.Columns {
		filter := object{"name": c.Name, "in": "query", "required": false, "type": "string"}
		if c.Description != "" {
			filter["description"] = c.Description
		}
		p["rowFilter."+t.Name+"."+c.Name] = filter
	}
	return p
}

func (t described) definition() object {
	properties, required := object{}, []string{}
	for _, c := range t.Columns {
		properties[c.Name] = c.property()
		if c.NotNull {
			required = append(required, c.Name)
		}
	}
	d := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		d["required"] = required
	}
	if t.Description != "" {
		d["description"] = t.Description
	}
	return d
}

func (c describedColumn) property() object {
	p := typed(c.Type)
	if c.MaxLength > 0 {
		p["maxLength"] = c.MaxLength
	}
	if len(c.Labels) > 0 {
		p["enum"] = c.Labels
	}
	if value, ok := c.initial(); ok {
		p["default"] = value
	}
	var notes []string
	if c.Primary {
		notes = append(notes, "This is a Primary Key.<pk/>")
	}
	if len(c.Refers) == 2 {
		table, column := c.Refers[0], c.Refers[1]
		notes = append(notes, "This is a Foreign Key to `"+table+"."+column+"`.<fk table='"+table+"' column='"+column+"'/>")
	}
	description := c.Description
	if len(notes) > 0 {
		if description != "" {
			description += "\n\n"
		}
		description += "Note:\n" + strings.Join(notes, "\n")
	}
	if description != "" {
		p["description"] = description
	}
	return p
}

// initial is the default as JSON. A text is one in any case; an expression of another type is none.
func (c describedColumn) initial() (value any, ok bool) {
	if c.Default == "" {
		return nil, false
	}
	if kind, _ := swaggerType(c.Type); kind == "string" {
		if literal, isLiteral := strings.CutSuffix(c.Default, "::"+c.Type); isLiteral {
			return strings.Trim(literal, "'"), true
		}
		return c.Default, true
	}
	if json.Unmarshal([]byte(c.Default), &value) != nil {
		return nil, false
	}
	return value, true
}

// swaggerType is the type of JSON that a type of Postgres becomes; ok is false where it may be any.
func swaggerType(name string) (kind string, ok bool) {
	switch name {
	case "boolean":
		return "boolean", true
	case "smallint", "integer", "bigint":
		return "integer", true
	case "numeric", "real", "double precision":
		return "number", true
	case "json", "jsonb":
		return "", false
	}
	if strings.HasSuffix(name, "[]") {
		return "array", true
	}
	return "string", true
}

func typed(name string) object {
	p := object{"format": name}
	kind, ok := swaggerType(name)
	if ok {
		p["type"] = kind
	}
	if kind == "array" {
		p["items"] = object{}
		if inner, ok := swaggerType(strings.TrimSuffix(name, "[]")); ok {
			p["items"] = object{"type": inner}
		}
	}
	return p
}

// nameless tells whether no request can call f: arguments without names are for bodies of certain types alone.
func (f function) nameless() bool {
	for _, a := range f.Arguments {
		if a.Name != "" {
			continue
		}
		for _, types := range wholes {
			if f.takesWhole(&whole{types: types}) {
				return false
			}
		}
		return true
	}
	return false
}

func (f function) path() object {
	properties, required, query := object{}, []string{}, []object{}
	for _, a := range f.Arguments {
		properties[a.Name] = typed(a.Type)
		if !a.Optional && !a.Variadic {
			required = append(required, a.Name)
		}
		one := typed(a.Type)
		if _, ok := one["type"].(string); !ok || one["type"] == "array" {
			one["type"] = "string" // as {a,b} in a query
			delete(one, "items")
		}
		one["name"], one["in"], one["required"] = a.Name, "query", !a.Optional && !a.Variadic
		query = append(query, one)
	}
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	if _, unnamed := properties[""]; unnamed {
		schema = typed(f.Arguments[0].Type)
	}
	if f.Description != "" {
		schema["description"] = f.Description
	}
	op := func(parameters []object) object {
		o := operation("(rpc) "+f.Name, f.Description, 200, "OK")
		o["produces"], o["parameters"] = mediaTypes[:3], parameters
		return o
	}
	path := object{"post": op([]object{{"name": "args", "in": "body", "required": true, "schema": schema}, ref("preferReturn")})}
	if _, unnamed := properties[""]; !f.Volatile && !unnamed {
		path["get"] = op(query)
	}
	return path
}
