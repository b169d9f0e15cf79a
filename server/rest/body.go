package rest

import (
	"encoding/json"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// validator is what requests of shared/api are: rules about their own fields.
type validator[T any] interface {
	*T
	Validate() error
}

// Body is the JSON body of a request. It keeps the fault of decoding instead of
// returning it to huma, which would keep the text of it alone.
type Body[T any, P validator[T]] struct {
	value T
	err   error
	seen  bool
}

// Schema tells huma to document the body as T.
func (Body[T, P]) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// decode satisfies decoder.
func (b *Body[T, P]) decode(data []byte) {
	b.seen = true
	b.err = api.Decode(data, &b.value)
}

// get gives the body when it is well-formed and valid.
func (b *Body[T, P]) get() (T, error) {
	var zero T
	if !b.seen {
		return zero, api.InvalidField("input", fault.FieldRequired, "a JSON object is required")
	}
	if b.err != nil {
		return zero, b.err
	}
	if err := P(&b.value).Validate(); err != nil {
		return zero, err
	}
	return b.value, nil
}

type decoder interface{ decode(data []byte) }

// jsonFormat is how huma reads and writes JSON here: unknown fields are refused.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
	Unmarshal: func(data []byte, v any) error {
		if d, ok := v.(decoder); ok {
			d.decode(data)
			return nil
		}
		return json.Unmarshal(data, v)
	},
}
