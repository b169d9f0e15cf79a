package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// strict refuses what encoding/json lets pass without a word: a key that is there
// twice, of which the last one would win, and a key in other letters than the field's.
// data is valid JSON; t is what it was decoded into.
func strict(data []byte, t reflect.Type) error {
	s := &strictness{d: json.NewDecoder(bytes.NewReader(data))}
	s.value("", t)
	return s.c.err()
}

type strictness struct {
	d *json.Decoder
	c checker
}

// value reads one value of type t, nil for any.
func (s *strictness) value(path string, t reflect.Type) {
	token, err := s.d.Token()
	if err != nil {
		return // never: the data has been decoded before
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch token {
	case json.Delim('{'):
		s.object(path, t)
	case json.Delim('['):
		if t != nil && t.Kind() == reflect.Slice {
			t = t.Elem()
		} else {
			t = nil
		}
		for s.d.More() {
			s.value(path, t)
		}
	default:
		if text, ok := token.(string); ok && path != rawField {
			s.text(path, text)
		}
		return
	}
	_, _ = s.d.Token() // the closing bracket
}

// rawField alone is no text of ours: it goes to Storage byte by byte.
const rawField = "bundleContent"

// text refuses what Postgres cannot keep in a text or in JSON.
func (s *strictness) text(path, text string) {
	if strings.ContainsRune(text, 0) {
		s.c.add(path, fault.FieldInvalidFormat, "must not contain NUL characters")
	}
}

func (s *strictness) object(path string, t reflect.Type) {
	known := fields(t)
	seen := map[string]bool{}
	for s.d.More() {
		token, err := s.d.Token()
		if err != nil {
			return // never: the data has been decoded before
		}
		key, _ := token.(string)
		at := key
		if path != "" {
			at = path + "." + key
		}
		var next reflect.Type
		switch {
		case known != nil && known[key] == nil:
			s.c.add(at, fault.FieldUnknown, "is not a field of this request%s", meant(known, key))
		case seen[key]:
			s.c.add(at, fault.FieldDuplicate, "is given more than once")
		case known != nil:
			next = known[key]
		case t != nil && t.Kind() == reflect.Map:
			next = t.Elem()
		}
		seen[key] = true
		s.text(at, key)
		s.value(at, next)
	}
}

// fields gives the keys of a struct that encoding/json reads by itself; nil for all
// else.
func fields(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	known := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() || f.Anonymous && name == "":
		case name == "":
			known[f.Name] = f.Type
		default:
			known[name] = f.Type
		}
	}
	return known
}

func meant(known map[string]reflect.Type, key string) string {
	for name := range known {
		if strings.EqualFold(name, key) {
			return ": write " + name
		}
	}
	return ""
}
