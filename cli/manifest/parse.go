package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 1 << 20

// FileError is one thing that is wrong in a file.
type FileError struct {
	File         string
	Line, Column int
	Field        string // "" for the file as such
	Message      string
}

// Error is file:line:column: field message.
func (f FileError) Error() string {
	text := f.File
	if f.Line > 0 {
		text += fmt.Sprintf(":%d:%d", f.Line, f.Column)
	}
	if f.Field != "" {
		return text + ": " + f.Field + " " + f.Message
	}
	return text + ": " + f.Message
}

// Parse reads all documents of a file, in YAML or JSON, and reports every fault of all of
// them, joined.
func Parse(file string, data []byte) ([]Object, error) { return parse(file, data, false) }

// ParseCluster is Parse for the description of a cluster that need not exist: nodes have
// a status too, with what they offer.
func ParseCluster(file string, data []byte) ([]Object, error) { return parse(file, data, true) }

func parse(file string, data []byte, cluster bool) ([]Object, error) {
	if len(data) > MaxSize {
		return nil, FileError{File: file, Message: fmt.Sprintf("is larger than %d bytes", MaxSize)}
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, syntaxFault(file, err)
	}
	var out []Object
	var faults []error
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		r := reading{file: file, body: doc.Body}
		if o, ok := r.read(); ok {
			if o.Offer != nil && !cluster {
				r.add("status", "is what the node itself says when it registers: only a description for \"stark sim\" gives it")
			}
			out = append(out, o)
		}
		faults = append(faults, r.faults...)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(out) == 0 {
		return nil, FileError{File: file, Message: "holds no object"}
	}
	return out, nil
}

// ParseAffinity reads a file with what stands below spec.affinity of a pod.
func ParseAffinity(file string, data []byte) (node *api.NodeAffinity, pods, anti *api.PodAffinity, err error) {
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, nil, nil, syntaxFault(file, err)
	}
	if len(data) > MaxSize || len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return nil, nil, nil, FileError{File: file, Message: "must be one object with nodeAffinity, podAffinity or podAntiAffinity"}
	}
	r := reading{file: file, body: tree.Docs[0].Body}
	var raw any
	var a affinity
	if err := yaml.NodeToValue(r.body, &raw); err != nil {
		return nil, nil, nil, syntaxFault(file, err)
	}
	r.unknownFields(r.body, "", reflect.TypeOf(a))
	text, err := json.Marshal(raw)
	if err == nil && len(r.faults) == 0 {
		if err := api.Decode(text, &a); err != nil {
			r.take(KindPriorityClass, err, false) // whose fields stay where they are
		}
	}
	return a.NodeAffinity, a.PodAffinity, a.PodAntiAffinity, errors.Join(append(r.faults, err)...)
}

// syntaxFault takes the place and the reason from the parser's report.
func syntaxFault(file string, err error) error {
	f := FileError{File: file, Message: err.Error()}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		f.Message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	return f
}

// reading reads one document.
type reading struct {
	file   string
	body   ast.Node
	faults []error
}

func (r *reading) add(path, message string, args ...any) {
	f := FileError{File: r.file, Field: path, Message: fmt.Sprintf(message, args...)}
	if t := locate(r.body, path).GetToken(); t != nil && t.Position != nil {
		f.Line, f.Column = t.Position.Line, t.Position.Column
	}
	r.faults = append(r.faults, f)
}

func (r *reading) read() (Object, bool) {
	var raw any
	if err := yaml.NodeToValue(r.body, &raw); err != nil {
		r.faults = append(r.faults, syntaxFault(r.file, err))
		return Object{}, false
	}
	tree, ok := raw.(map[string]any)
	if !ok {
		r.add("", "must be an object with kind, metadata and spec")
		return Object{}, false
	}
	kind, _ := tree["kind"].(string)
	if !r.known(tree, kind) {
		return Object{}, false
	}
	d := documents[kind]()
	if r.unknownFields(r.body, "", reflect.TypeOf(d).Elem()); len(r.faults) > 0 {
		return Object{}, false
	}
	data, err := json.Marshal(quantities(raw, reflect.TypeOf(d)))
	if err != nil {
		r.add("", "cannot be read: %s", err)
		return Object{}, false
	}
	if err := api.Decode(data, d); err != nil {
		r.take(kind, err, false)
		return Object{}, false
	}
	o := Object{Kind: kind, Where: fmt.Sprintf("%s:%d", r.file, r.body.GetToken().Position.Line), Document: tree}
	if m, ok := tree["metadata"].(map[string]any); ok {
		o.Name, _ = m["name"].(string)
		o.Namespace, _ = m["namespace"].(string)
	}
	if err := d.object(&o); err != nil {
		r.take(kind, err, true)
		return Object{}, false
	}
	return o, len(r.faults) == 0
}

// known checks kind and version.
func (r *reading) known(tree map[string]any, kind string) bool {
	switch version, given := tree["apiVersion"]; {
	case given && version != "v1" && version != "stark.io/v1":
		r.add("apiVersion", "must be stark.io/v1")
	case kind == "":
		r.add("kind", "is required: one of %s", strings.Join(Kinds, ", "))
	case documents[kind] == nil:
		r.add("kind", "%q is not known: want one of %s", kind, strings.Join(Kinds, ", "))
	default:
		return true
	}
	return false
}

// take turns faults of fields into faults of the file.
func (r *reading) take(kind string, err error, ofRequest bool) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || len(f.Details) == 0 {
		r.add("", "%s", err)
		return
	}
	for _, path := range slices.Sorted(keys(f.Details)) {
		field, ok := f.Details[path].(fault.Field)
		if !ok {
			continue
		}
		if ofRequest {
			path = inFile(kind, path)
		}
		r.add(path, "%s", field.Message)
	}
}

func keys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// unknownFields finds keys that the type has no field for.
func (r *reading) unknownFields(n ast.Node, path string, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		fields := fieldsOf(t)
		for _, v := range entries(n) {
			name := v.Key.GetToken().Value
			at := strings.TrimPrefix(path+"."+name, ".")
			field, ok := fields[name]
			if !ok {
				r.addAt(v.Key, at, "is not known"+suggestion(name, fields))
				continue
			}
			r.unknownFields(v.Value, at, field)
		}
	case reflect.Map:
		for _, v := range entries(n) {
			r.unknownFields(v.Value, path+"."+v.Key.GetToken().Value, t.Elem())
		}
	case reflect.Slice:
		if list, ok := n.(*ast.SequenceNode); ok {
			for i, v := range list.Values {
				r.unknownFields(v, path+"["+strconv.Itoa(i)+"]", t.Elem())
			}
		}
	default:
	}
}

func (r *reading) addAt(n ast.Node, path, message string) {
	p := n.GetToken().Position
	r.faults = append(r.faults, FileError{File: r.file, Line: p.Line, Column: p.Column, Field: path, Message: message})
}

// fieldsOf lists the fields of a struct by their JSON names.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		if f.Anonymous {
			maps.Copy(out, fieldsOf(f.Type))
			continue
		}
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out[name] = f.Type
		}
	}
	return out
}

// entries are the keys and values of a mapping, none where it is none.
func entries(n ast.Node) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	case *ast.AnchorNode:
		return entries(m.Value)
	default:
		return nil
	}
}

// locate gives the node that a path names, or the nearest around it. Keys may hold dots.
func locate(n ast.Node, path string) ast.Node {
	if path == "" {
		return n
	}
	if strings.HasPrefix(path, "[") {
		index, rest, _ := strings.Cut(path[1:], "]")
		i, err := strconv.Atoi(index)
		list, ok := n.(*ast.SequenceNode)
		if err != nil || !ok || i < 0 || i >= len(list.Values) {
			return n
		}
		return locate(list.Values[i], strings.TrimPrefix(rest, "."))
	}
	for _, v := range entries(n) {
		rest, ok := strings.CutPrefix(path, v.Key.GetToken().Value)
		switch {
		case !ok:
		case rest == "":
			return v.Key
		case rest[0] == '.':
			return locate(v.Value, rest[1:])
		case rest[0] == '[':
			return locate(v.Value, rest)
		}
	}
	return n
}
