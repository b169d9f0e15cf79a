package manifest

import (
	"fmt"
	"reflect"
	"strconv"

	"github.com/stark-orchestrator/stark/shared/api"
)

// quantities writes the plain numbers of quantities as text, in place: in a file of
// Kubernetes' shape `cpu: 2` is two cores and `memory: 1073741824` so many bytes, while a
// number of the API is in millicores and MiB.
func quantities(raw any, t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[api.Millicores]() || t == reflect.TypeFor[api.Mebibytes]() {
		switch v := raw.(type) {
		case int, int64, uint64:
			return fmt.Sprint(v)
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		default:
			return raw
		}
	}
	switch v := raw.(type) {
	case map[string]any:
		of := func(string) (reflect.Type, bool) { return nil, false }
		switch t.Kind() {
		case reflect.Struct:
			fields := fieldsOf(t)
			of = func(key string) (reflect.Type, bool) { f, ok := fields[key]; return f, ok }
		case reflect.Map:
			of = func(string) (reflect.Type, bool) { return t.Elem(), true }
		default:
		}
		for key, value := range v {
			if field, ok := of(key); ok {
				v[key] = quantities(value, field)
			}
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for i, value := range v {
				v[i] = quantities(value, t.Elem())
			}
		}
	default:
	}
	return raw
}
