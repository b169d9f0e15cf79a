package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// argument is one input of a function. Type is as the catalog prints it.
type argument struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Variadic bool   `json:"variadic"`
	Optional bool   `json:"optional"`
}

// function is one of the functions that share a name.
type function struct {
	schema, name string
	Arguments    []argument `json:"arguments"`
	Set          bool       `json:"set"`       // returns rows
	Composite    bool       `json:"composite"` // a row has columns
	Void         bool       `json:"void"`
	Volatile     bool       `json:"volatile"`
	// Rows is the table whose rows it returns, in the schema of the function; empty for other results.
	Rows string `json:"rows"`
	// Name, Description and Callable, for the caller, are for lists of functions.
	Name        string `json:"name"`
	Description string `json:"description"`
	Callable    bool   `json:"callable"`

	unnamed bool // it is called with the whole body as its one argument
}

const findFunctions = `
select coalesce(json_agg(json_build_object(
  'name', p.proname, 'description', coalesce(obj_description(p.oid, 'pg_proc'), ''),
  'callable', has_function_privilege(p.oid, 'execute'),
  'arguments', coalesce((
    select json_agg(json_build_object('name', coalesce(x.name, ''), 'type', format_type(x.type, null),
      'variadic', x.mode = 'v', 'optional', x.place > p.pronargs - p.pronargdefaults) order by x.place)
    from (
      select y.name, y.type, coalesce(y.mode, 'i') as mode, row_number() over (order by y.n) as place
      from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes, p.proargnames)
        with ordinality as y(type, mode, name, n)
      where coalesce(y.mode, 'i') in ('i', 'b', 'v')) x), '[]'),
  'set', p.proretset,
  'composite', t.typtype = 'c' or coalesce(p.proargmodes && '{o,b,t}', false),
  'void', p.prorettype = 'void'::regtype,
  'volatile', p.provolatile = 'v',
  'rows', coalesce((select c.relname from pg_catalog.pg_class c
    where c.oid = t.typrelid and c.relnamespace = p.pronamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')), '')) order by p.oid), '[]')::text
from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
  join pg_catalog.pg_type t on t.oid = p.prorettype
where n.nspname = $1 and ($2::text is null or p.proname = $2) and p.prokind = 'f'
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)`

// functions are those of a schema, or those of one name in it.
func (t conversation) functions(ctx context.Context, schema string, name *string) (all []function, err error) {
	var text string
	if err := t.tx.QueryRow(ctx, findFunctions, schema, name).Scan(&text); err != nil {
		return nil, fmt.Errorf("find functions: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("read functions: %w", err)
	}
	return all, nil
}

// function picks the one that takes exactly the given arguments, else the one that takes the whole body.
func (t conversation) function(ctx context.Context, schema, name string, in invocation) (function, error) {
	all, err := t.functions(ctx, schema, &name)
	if err != nil {
		return function{}, err
	}
	var fitting, fallback []function
	for _, f := range all {
		switch {
		case in.isNamed() && f.takes(in.given):
			fitting = append(fitting, f)
		case f.takesWhole(in.whole):
			f.unnamed = true
			fallback = append(fallback, f)
		}
	}
	if len(fitting) == 0 {
		fitting = fallback
	}
	switch len(fitting) {
	case 0:
		if in.whole != nil && in.whole.list && slices.ContainsFunc(all, func(f function) bool { return !f.takesWhole(in.whole) }) {
			return function{}, invalidBody("A function takes one JSON object")
		}
		return function{}, noFunction(schema, name, in)
	case 1:
		f := fitting[0]
		f.schema, f.name = schema, name
		return f, nil
	default:
		f := refuse(http.StatusMultipleChoices, "PGRST203",
			"Could not choose the best candidate function between several of the name "+schema+"."+name)
		f.Hint = "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
		return function{}, f
	}
}

func noFunction(schema, name string, in invocation) error {
	list, searched := "("+shorten(strings.Join(in.given, ", "))+")", "parameters "+shorten(strings.Join(in.given, ", "))
	if len(in.given) == 0 {
		list, searched = " without parameters", "without parameters"
	} else {
		searched = "with " + searched
	}
	if w := in.whole; w != nil && w.only {
		searched = "with a single unnamed " + strings.Join(w.types, "/") + " parameter"
	} else if w != nil {
		searched += " or with a single unnamed " + strings.Join(w.types, "/") + " parameter"
	}
	called := schema + "." + shorten(name)
	return refuse(http.StatusNotFound, "PGRST202", "Could not find the function "+called+list+" in the schema cache").
		because("Searched for the function %s %s, but no matches were found in the schema cache.", called, searched)
}

// takesWhole tells whether the one argument of f has no name and is of a type that the body may be.
func (f function) takesWhole(w *whole) bool {
	return w != nil && len(f.Arguments) == 1 && f.Arguments[0].Name == "" && !f.Arguments[0].Variadic &&
		slices.Contains(w.types, f.Arguments[0].Type)
}

func (f function) argument(name string) (argument, bool) {
	i := slices.IndexFunc(f.Arguments, func(a argument) bool { return a.Name == name && name != "" })
	if i < 0 {
		return argument{}, false
	}
	return f.Arguments[i], true
}

func (f function) takes(given []string) bool {
	for _, name := range given {
		if _, ok := f.argument(name); !ok {
			return false
		}
	}
	for _, a := range f.Arguments {
		if !a.Optional && !a.Variadic && !slices.Contains(given, a.Name) {
			return false
		}
	}
	return true
}

// call adds the function's rows as a FROM item whose columns are the function's, or one named scalar.
// Arguments are either texts by name or one JSON object that holds them all, or the body itself.
func (f function) call(s *statement, in invocation) {
	texts, object, given := in.texts, in.text, in.given
	s.sql("select pgrst_call.* from ")
	if f.unnamed {
		object, given = "", nil
	}
	if object != "" && len(given) > 0 {
		s.sql("json_to_record(").value(object).sql("::json) as pgrst_args(")
		s.join(", ", len(given), func(i int) {
			a, _ := f.argument(given[i])
			s.name(a.Name).sql(" " + a.Type)
		}).sql("), lateral ")
	}
	s.name(f.schema, f.name).sql("(")
	if f.unnamed {
		s.value(in.whole.text).sql("::" + f.Arguments[0].Type)
	}
	s.join(", ", len(given), func(i int) {
		a, _ := f.argument(given[i])
		if a.Variadic {
			s.sql("variadic ")
		}
		s.name(a.Name).sql(" => ")
		if object != "" {
			s.name("pgrst_args", a.Name)
		} else {
			s.value(texts[a.Name]).sql("::" + a.Type)
		}
	}).sql(") as pgrst_call")
	if !f.Composite {
		s.sql("(pgrst_scalar)")
	}
}
