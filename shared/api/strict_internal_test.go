package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// FuzzStrict compares what is refused with what is refused by the tokens of encoding/json.
func FuzzStrict(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"packName":"a","packName":"b"}`, `{"PackName":"a"}`, `{"labels":{"a":"b","a":"c"},"metadata":{"x":{"y":[{"z":1,"z":2}]}}}`,
		`{"labels":{"a\u0000":"b\u0000"},"env":{"A":"\\u0000\"}{"}}`, ` { "items" : [ { "packId" : null , "nope" : -1.5e3 } , {} ] } `,
		`{"scheduling":{"nodeSelector":{"a":"b"},"nodeSelector":{}},"tolerations":[{"key":"a","Key":"b"}]}`,
		"{\"labels\":{\"\xff\":\"\",\"\xfe\":\"\"}}", `{"bundleContent":"\u0000","metadata":{"bundleContent":"\u0000"}}`, `{"a":true,"b":[],"c":{}}`,
		`{"metadata":{` + strings.TrimSuffix(strings.Repeat(`"k":1,`, 3)+strings.Join(strings.Split("abcdefghijklmnopqrst", ""), `":1,"`), ",") + `}}`,
		`{"metadata":{"` + strings.Join(strings.Split("abcdefghijklmnopqrstat", ""), `":1,"`) + `":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.TrimSpace(data)
		if !json.Valid(data) || len(data) > 0 && data[0] != '{' || bytes.Contains(data, []byte(`"":`)) { // the path of an empty key is written otherwise
			return
		}
		for _, v := range []any{&CreatePodRequest{}, &CreatePodsRequest{}, &CreatePackRequest{}, &map[string]any{}} {
			got, want := strict(data, reflect.TypeOf(v)), strictByTokens(data, reflect.TypeOf(v))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s as %T: %v, want %v", data, v, got, want)
			}
		}
	})
}

func strictByTokens(data []byte, t reflect.Type) error {
	s := &tokenStrictness{d: json.NewDecoder(bytes.NewReader(data))}
	s.value("", t)
	return s.c.err()
}

type tokenStrictness struct {
	d *json.Decoder
	c checker
}

// value reads one value of type t, nil for any.
func (s *tokenStrictness) value(path string, t reflect.Type) {
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
		for i := 0; s.d.More(); i++ {
			s.value(index(path, i), t)
		}
	default:
		if text, ok := token.(string); ok && path != rawField {
			s.text(path, text)
		}
		return
	}
	_, _ = s.d.Token() // the closing bracket
}

// text refuses what Postgres cannot keep in a text or in JSON.
func (s *tokenStrictness) text(path, text string) {
	if strings.ContainsRune(text, 0) {
		s.c.add(path, fault.FieldInvalidFormat, "must not contain NUL characters")
	}
}

func (s *tokenStrictness) object(path string, t reflect.Type) {
	var known map[string]reflect.Type
	if t != nil && t.Kind() == reflect.Struct {
		known = fieldsOf(t)
	}
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
