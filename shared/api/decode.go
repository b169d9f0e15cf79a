package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// Decode reads one JSON object into v and gives every failure as a validation
// fault that names the field. Fields that are unknown, doubled or in other letters
// are refused: they would otherwise be ignored, or win, without a word.
func Decode(data []byte, v any) error {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		return InvalidField("input", fault.FieldRequired, "a JSON object is required")
	}
	if b, ok := v.(limited); ok {
		if err := b.bounds(trimmed); err != nil {
			return err
		}
	}
	if decodeOnce(trimmed, v) {
		return nil
	}
	return decodeWhole(trimmed, v)
}

func decodeWhole(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeFault(err, text, reflect.TypeOf(v))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return InvalidField("input", fault.FieldInvalidFormat, "must be one JSON object")
	}
	return strict(text, reflect.TypeOf(v))
}

// limited is a request whose text may hold more than it may have: an entry of two bytes
// takes hundreds when it is decoded.
type limited interface{ bounds(text []byte) error }

// entriesWithin reports whether no array right below the top of a text has more entries than
// that. Of what is no JSON it may report either.
func entriesWithin(text []byte, most int) bool {
	depth, array, entries := 0, false, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth++; depth == 2 {
				array, entries = text[i] == '[', 1
			}
		case ']', '}':
			depth--
		case ',':
			if depth == 2 && array {
				if entries++; entries > most {
					return false
				}
			}
		}
	}
	return true
}

// decodeFault tells why a text could not be decoded.
func decodeFault(err error, text []byte, t reflect.Type) error {
	e, mistyped := errors.AsType[*json.UnmarshalTypeError](err)
	name, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !mistyped && !unknown {
		return notJSON(err)
	}
	if all := misfits(text, t); all != nil {
		return all
	}
	if unknown {
		return InvalidField(strings.Trim(name, `"`), fault.FieldUnknown, "is not a field of this request")
	}
	var c checker
	c.misfit(e.Field, e)
	return c.err()
}

// misfit tells of a value that is of another type than its field.
func (c *checker) misfit(path string, e *json.UnmarshalTypeError) {
	if path == "" {
		path = "input"
	}
	if text, ok := strings.CutPrefix(e.Value, "quantity "); ok {
		c.add(path, fault.FieldInvalidFormat, "%s", text)
		return
	}
	c.add(path, fault.FieldInvalidType, "must be %s", jsonKind(e.Type))
}

// notJSON tells where a text ends to be JSON.
func notJSON(err error) error {
	where := ""
	if e, ok := errors.AsType[*json.SyntaxError](err); ok && e.Offset > 0 {
		where = fmt.Sprintf(" (at byte %d)", e.Offset)
	}
	f := fault.Wrap(err, fault.Validation, "the request body is not valid JSON%s", where)
	f.Details = map[string]any{"input": fault.Field{Code: fault.FieldInvalidFormat, Message: "must be one JSON object in UTF-8" + where}}
	return f
}

// jsonKind names a Go type for somebody who writes JSON.
func jsonKind(t reflect.Type) string {
	if t == reflect.TypeFor[Millicores]() || t == reflect.TypeFor[Mebibytes]() {
		return `an integer or a quantity such as "500m" or "1Gi"`
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Slice, reflect.Array:
		return "an array"
	default:
		return "an object"
	}
}
