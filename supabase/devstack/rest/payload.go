package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bodyTimeout is how long a body may take to arrive.
const bodyTimeout = 30 * time.Second

// payload is a JSON body. Values stay as they were sent.
type payload struct {
	text    []byte
	isArray bool
	objects []map[string]json.RawMessage
}

func (s *service) payload(c *call) (p payload, err error) {
	if text := c.r.Header.Get("Content-Type"); text != "" {
		kind, _, err := mime.ParseMediaType(text)
		if err != nil || (kind != "application/json" && kind != objectType && kind != arrayType) {
			return p, invalidBody("Content-Type not acceptable: " + shorten(text))
		}
	}
	control := http.NewResponseController(c.w)
	// A writer without deadlines (a test recorder) has no network to wait for.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	p.text, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, s.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		f := invalidBody("The request body is too large")
		f.status = http.StatusRequestEntityTooLarge
		return p, f.because("At most %d bytes are taken.", s.MaxBody)
	}
	if err != nil {
		return p, invalidBody("The request body ended early")
	}
	p.text = bytes.TrimSpace(p.text)
	return p, p.parse()
}

func (p *payload) parse() error {
	if len(p.text) == 0 || !json.Valid(p.text) {
		return invalidBody("Empty or invalid json")
	}
	p.isArray = p.text[0] == '['
	into := any(&p.objects)
	if !p.isArray {
		p.objects = make([]map[string]json.RawMessage, 1)
		into = &p.objects[0]
	}
	if err := json.Unmarshal(p.text, into); err != nil || slices.ContainsFunc(p.objects, func(o map[string]json.RawMessage) bool { return o == nil }) {
		return invalidBody("All elements of the body must be JSON objects")
	}
	return nil
}

// keys are the sorted keys of an object.
func keys(o map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(o)) }

// group is objects that give the same columns.
type group struct {
	columns []string
	text    string // a JSON array
}

// groups parts the body by the columns that each object gives. It is one group, unless missing columns are
// to get their defaults.
func (p payload) groups(q query, prefer preferences) ([]group, error) {
	columns := q.columns
	if columns == nil && len(p.objects) > 0 {
		columns = keys(p.objects[0])
		for _, o := range p.objects[1:] {
			if !slices.Equal(columns, keys(o)) {
				return nil, invalidBody("All object keys must match")
			}
		}
	}
	if len(columns) == 0 {
		return make([]group, len(p.objects)), nil // each row is all defaults
	}
	if prefer.missing != "default" || len(p.objects) < 2 && q.columns == nil {
		text := string(p.text)
		if !p.isArray {
			text = "[" + text + "]"
		}
		return []group{{columns, text}}, nil
	}
	var found []group
	places := map[string]int{}
	for _, o := range p.objects {
		given := slices.DeleteFunc(slices.Clone(columns), func(name string) bool { _, has := o[name]; return !has })
		text, err := json.Marshal(o)
		if err != nil {
			return nil, invalidBody("Empty or invalid json")
		}
		kind := strings.Join(given, "\x00")
		place, ok := places[kind]
		if !ok {
			place = len(found)
			places[kind] = place
			found = append(found, group{columns: given, text: "["})
		} else {
			found[place].text += ","
		}
		found[place].text += string(text)
	}
	for i := range found {
		found[i].text += "]"
	}
	return found, nil
}
