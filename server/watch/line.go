package watch

import (
	"encoding/json"
	"slices"

	"github.com/stark-orchestrator/stark/shared/wire"
)

// AppendObject appends the members of a JSON object that tell of a change: event, object
// and, where there is one, cursor. It puts them together by hand: encoding them as others
// would go through the object, which is encoded already, twice more for each watcher.
func AppendObject(b []byte, e wire.WatchEvent) []byte {
	const most = 64 // bytes beside those
	b = slices.Grow(b, len(e.Object)+len(e.Cursor)+most)
	b = append(b, `"event":"`...)
	b = append(b, e.Event...)
	b = append(b, `","object":`...)
	b = append(b, e.Object...)
	if e.Cursor != "" {
		b = AppendString(append(b, `,"cursor":`...), e.Cursor)
	}
	return b
}

// AppendString appends a text as encoding/json writes it.
func AppendString(b []byte, text string) []byte {
	if !plain(text) {
		if quoted, err := json.Marshal(text); err == nil { // as it always is
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// plain reports whether a text stands for itself in JSON.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
