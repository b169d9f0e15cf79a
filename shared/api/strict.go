package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// strict refuses what encoding/json lets pass without a word: a key that is there
// twice, of which the last one would win, and a key in other letters than the field's.
// data is valid JSON; t is what it was decoded into.
//
// It looks at the text itself: what encoding/json tells token by token costs five times as
// much as the decoding, for a request of thousands of pods.
func strict(data []byte, t reflect.Type) error {
	s := &strictness{data: data}
	s.value(t)
	return s.c.err()
}

// misfits is strict for what could not be decoded: it also finds all values that are none of
// their type. encoding/json tells of the first one, and not in which entry of an array.
func misfits(data []byte, t reflect.Type) error {
	s := &strictness{data: data, fits: true}
	s.value(t)
	return s.c.err()
}

type strictness struct {
	data []byte // valid JSON
	fits bool   // values are to be of their type
	at   int
	path []step
	c    checker
}

// step is a key, or the number of an entry.
type step struct {
	key   string
	index int // -1 for a key
}

// value reads one value of type t, nil for any.
func (s *strictness) value(t reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch s.next() {
	case '{':
		s.fit(t, s.data[s.at:s.at+1])
		s.object(t)
	case '[':
		s.fit(t, s.data[s.at:s.at+1])
		s.array(t)
	case '"':
		text, plain := s.quoted()
		s.fit(t, text)
		if !plain && (len(s.path) != 1 || s.path[0].key != rawField) {
			s.text(unquoted(text))
		}
	default:
		start := s.at
		if s.at = bytes.IndexAny(s.data[start:], ",]} \t\r\n") + start; s.at < start {
			s.at = len(s.data) // all there is
		}
		s.fit(t, s.data[start:s.at])
	}
}

// fit refuses a value of another type. Of objects and arrays it is given the bracket.
func (s *strictness) fit(t reflect.Type, value []byte) {
	if !s.fits || t == nil || s.c.more > 0 || plainly(t.Kind(), value[0]) {
		return
	}
	switch value[0] {
	case '{':
		value = []byte("{}")
	case '[':
		value = []byte("[]")
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](json.Unmarshal(value, reflect.New(t).Interface())); ok {
		s.c.misfit(s.where(), e)
	}
}

// plainly reports whether a value that begins so surely is of that kind.
func plainly(k reflect.Kind, first byte) bool {
	switch first {
	case '{':
		return k == reflect.Struct || k == reflect.Map
	case '[':
		return k == reflect.Slice
	case '"':
		return k == reflect.String
	case 't', 'f':
		return k == reflect.Bool
	default:
		return first == 'n'
	}
}

func (s *strictness) array(t reflect.Type) {
	if t != nil && t.Kind() == reflect.Slice {
		t = t.Elem()
	} else {
		t = nil
	}
	s.path = append(s.path, step{})
	last := len(s.path) - 1
	for s.at++; s.next() != ']'; s.comma() {
		s.value(t)
		s.path[last].index++
	}
	s.path = s.path[:last]
	s.at++
}

// next gives the first byte of what comes next.
func (s *strictness) next() byte {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0 // never: the data has been decoded before
}

func (s *strictness) comma() {
	if s.next() == ',' {
		s.at++
	}
}

// quoted reads a text with its quotes, and tells whether it stands there as it is.
func (s *strictness) quoted() (text []byte, plain bool) {
	start := s.at
	plain = true
	for s.at++; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			plain = false
			s.at++
		}
	}
	s.at++
	return s.data[start:min(s.at, len(s.data))], plain
}

func unquoted(quoted []byte) string {
	var text string
	_ = json.Unmarshal(quoted, &text) // it has been decoded before
	return text
}

// rawField alone is no text of ours: it goes to Storage byte by byte.
const rawField = "bundleContent"

// text refuses what Postgres cannot keep in a text or in JSON. Only an escape can say it.
func (s *strictness) text(text string) {
	if strings.ContainsRune(text, 0) {
		s.c.add(s.where(), fault.FieldInvalidFormat, "must not contain NUL characters")
	}
}

// where is the path of what is being read, as far as a fault tells it: keys of maps may be
// as long as a request, and there may be many faults below one.
func (s *strictness) where() string {
	const most = maxFaultPath + 1 // of which it is seen that there was more
	var at []byte
	for i, step := range s.path {
		switch {
		case step.index >= 0:
			at = append(strconv.AppendInt(append(at, '['), int64(step.index), 10), ']')
		case i > 0:
			at = append(at, '.')
			fallthrough
		default:
			at = append(at, step.key[:min(len(step.key), most)]...)
		}
		if len(at) >= most {
			return string(at[:most])
		}
	}
	return string(at)
}

func (s *strictness) object(t reflect.Type) {
	known := fields(t)
	var seen keys
	for s.at++; s.next() != '}'; s.comma() {
		quoted, plain := s.quoted()
		key := string(quoted[1 : len(quoted)-1])
		if !plain || !utf8.ValidString(key) {
			key = unquoted(quoted)
		}
		s.next() // the colon
		s.at++
		s.path = append(s.path, step{key, -1})
		var next reflect.Type
		twice := seen.again(key)
		switch {
		case known != nil && known[key] == nil:
			s.c.add(s.where(), fault.FieldUnknown, "is not a field of this request%s", meant(known, key))
		case twice:
			s.c.add(s.where(), fault.FieldDuplicate, "is given more than once")
		case known != nil:
			next = known[key]
		case t != nil && t.Kind() == reflect.Map:
			next = t.Elem()
		}
		if !plain {
			s.text(key)
		}
		s.value(next)
		s.path = s.path[:len(s.path)-1]
	}
	s.at++
}

// keys are those of one object. Most have few.
type keys struct {
	few  [16]string
	n    int // of few
	many map[string]bool
}

// again notes a key, and reports whether it was there.
func (k *keys) again(key string) bool {
	if slices.Contains(k.few[:k.n], key) || k.many[key] {
		return true
	}
	switch {
	case k.n < len(k.few):
		k.few[k.n] = key
		k.n++
	case k.many == nil:
		k.many = map[string]bool{key: true}
	default:
		k.many[key] = true
	}
	return false
}

// fieldsOfTypes are those of the types that requests are made of: type -> map[string]reflect.Type.
var fieldsOfTypes sync.Map

// fields gives the keys of a struct that encoding/json reads by itself; nil for all
// else.
func fields(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	if found, ok := fieldsOfTypes.Load(t); ok {
		known, _ := found.(map[string]reflect.Type)
		return known
	}
	known := fieldsOf(t)
	fieldsOfTypes.Store(t, known)
	return known
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
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
