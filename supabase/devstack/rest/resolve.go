package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
)

// mostEmbedded bounds the tables of one request; each costs some questions to the catalog.
const mostEmbedded = 30

// resolve looks up what a select list names besides columns: the types it casts to, and the embedded tables
// with the foreign keys that lead there. parent is nil where rows belong to no table.
func (t conversation) resolve(ctx context.Context, schema string, parent *relation, items []item, number *int) (err error) {
	for i := range items {
		if items[i].cast != "" {
			if items[i].castType, err = t.typeName(ctx, items[i].cast); err != nil {
				return err
			}
		}
		e := items[i].embed
		if e == nil {
			continue
		}
		if parent == nil {
			return noRelationship(schema, "the result of a function", e)
		}
		if *number++; *number > mostEmbedded {
			return unreadable("select parameter", "too many embedded tables")
		}
		e.as = e.name + "_" + strconv.Itoa(*number)
		if err := t.connect(ctx, schema, *parent, e); err != nil {
			return err
		}
		if err := t.resolve(ctx, schema, &e.rel, e.items, number); err != nil {
			return err
		}
	}
	return nil
}

// related refuses to sort by a column of a table that is not embedded, or that has
// several rows for one.
func related(name string, items []item, sort []order) error {
	for _, o := range sort {
		if o.embed == "" {
			continue
		}
		e, ok := find(items, []string{o.embed})
		if !ok {
			return notEmbedded(o.embed)
		}
		if e.link.Many {
			return refuse(http.StatusBadRequest, "PGRST118", "A related order on '"+shorten(o.embed)+"' is not possible").
				because("'%s' and '%s' do not form a many-to-one or one-to-one relationship", name, shorten(o.embed))
		}
	}
	for _, i := range items {
		if i.embed == nil {
			continue
		}
		if err := related(i.embed.name, i.embed.items, i.embed.order); err != nil {
			return err
		}
	}
	return nil
}

// notEmbedded is said of a name that should be one of the select list.
func notEmbedded(name string) error {
	f := refuse(http.StatusBadRequest, "PGRST108", "'"+shorten(name)+"' is not an embedded resource in this request")
	f.Hint = "Verify that '" + shorten(name) + "' is included in the 'select' query parameter."
	return f
}

// connect finds the one way from parent to e. What is embedded is named by its table, or by the
// constraint, the column that refers to it, or the table in between; a function of the parent's
// rows goes before tables of its name.
func (t conversation) connect(ctx context.Context, schema string, parent relation, e *embed) (err error) {
	rel, computed, found, err := t.computed(ctx, schema, e.name, parent)
	if err != nil || found && e.hint == "" {
		e.rel, e.link = rel, computed
		return err
	}
	if e.rel, err = t.relation(ctx, schema, e.name); err != nil {
		return noRelationship(schema, parent.name, e)
	}
	links, err := t.links(ctx, parent, e.rel)
	if err != nil {
		return err
	}
	if e.hint != "" {
		links = slices.DeleteFunc(links, func(l link) bool {
			byColumn := len(l.Own) == 1 && l.Through == "" && (l.Own[0] == e.hint && !l.Many || l.Others[0] == e.hint && l.Many)
			return l.Name != e.hint && !byColumn
		})
	}
	switch len(links) {
	case 0:
		return noRelationship(schema, parent.name, e)
	case 1:
		e.link = links[0]
		return nil
	}
	names := make([]string, 0, len(links))
	for _, l := range links {
		names = append(names, l.Name)
	}
	f := refuse(http.StatusMultipleChoices, "PGRST201",
		"Could not embed because more than one relationship was found for '"+parent.name+"' and '"+e.name+"'")
	f.Details = names
	f.Hint = "Try changing '" + e.name + "' to one of the following: '" + e.name + "!" + names[0] +
		"', '" + e.name + "!" + names[1] + "'. Find the desired relationship in the 'details' key."
	return f
}

func noRelationship(schema, parent string, e *embed) error {
	return refuse(http.StatusBadRequest, "PGRST200",
		"Could not find a relationship between '"+parent+"' and '"+shorten(e.name)+"' in the schema cache").
		because("Searched for a foreign key relationship between '%s' and '%s' in the schema '%s', but no matches were found.",
			parent, shorten(e.name), schema)
}
