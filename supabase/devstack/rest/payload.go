package rest

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
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

// payload reads rows, or the named arguments of a function.
func (s *service) payload(c *call) (p payload, err error) {
	kind, err := c.bodyType(bodies)
	if err != nil {
		return p, err
	}
	if p.text, err = s.body(c); err != nil {
		return p, err
	}
	switch kind {
	case csvType:
		p.text, err = csvRows(p.text)
	case formType:
		p.text, err = formFields(p.text)
	}
	if err != nil {
		return p, err
	}
	p.text = bytes.TrimSpace(p.text)
	return p, p.parse()
}

// bodyType is the form in which the body comes: JSON when the request does not say.
func (c *call) bodyType(known []string) (string, error) {
	text := c.r.Header.Get("Content-Type")
	if text == "" {
		return "application/json", nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err != nil || !slices.Contains(known, kind) {
		return "", invalidBody("Content-Type not acceptable: " + shorten(text))
	}
	return kind, nil
}

// body reads all of the body, within the limits of size and time.
func (s *service) body(c *call) ([]byte, error) {
	control := http.NewResponseController(c.w)
	// A writer without deadlines (a test recorder) has no network to wait for.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, s.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		f := invalidBody("The request body is too large")
		f.status = http.StatusRequestEntityTooLarge
		return nil, f.because("At most %d bytes are taken.", s.MaxBody)
	}
	if err != nil {
		return nil, invalidBody("The request body ended early")
	}
	return text, nil
}

const (
	csvType  = "text/csv"
	formType = "application/x-www-form-urlencoded"
)

// bodies are the forms that a body may have.
var bodies = []string{"application/json", objectType, arrayType, csvType, formType}

// csvRows makes a JSON array of lines below a heading of names. NULL is null, and
// everything else a text, of which Postgres makes what the column is.
func csvRows(text []byte) ([]byte, error) {
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if errors.Is(err, csv.ErrFieldCount) {
		return nil, invalidBody("All lines must have same number of fields")
	}
	if err != nil || len(lines) == 0 {
		return nil, invalidBody("Empty or invalid csv")
	}
	objects := make([]map[string]*string, 0, len(lines))
	for _, line := range lines[1:] {
		o := map[string]*string{}
		for i, name := range lines[0] {
			if o[name] = &line[i]; line[i] == "NULL" {
				o[name] = nil
			}
		}
		objects = append(objects, o)
	}
	return json.Marshal(objects)
}

// formFields makes a JSON object of the fields of a form.
func formFields(text []byte) ([]byte, error) {
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, invalidBody("Empty or invalid form")
	}
	o := map[string]string{}
	for name := range values {
		o[name] = values.Get(name)
	}
	return json.Marshal(o)
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

// list is the body as an array, also when it is one object.
func (p payload) list() string {
	if p.isArray {
		return string(p.text)
	}
	return "[" + string(p.text) + "]"
}

// group is objects that give the same columns.
type group struct {
	columns []string
	text    string // a JSON array
	where   []node // conditions that an object must meet to be written
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
		return []group{{columns: columns, text: p.list()}}, nil
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
