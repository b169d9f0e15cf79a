package watch

import (
	"encoding/json"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/stark-orchestrator/stark/shared/api"
)

// encodedKept is small: watchers of one change ask within milliseconds, and a pod may
// have half a megabyte.
const encodedKept = 64

// Encoded keeps what has just been encoded, for the other watchers of the same change:
// encoding is most of what a watcher costs. It is safe for concurrent use.
type Encoded struct {
	objects *lru.Cache[change, json.RawMessage]
}

// change names one state of one pod. The cursor alone does not: all events of a batch but
// the last carry the one of the batch before.
type change struct{ id, version, cursor string }

// NewEncoded makes an empty Encoded.
func NewEncoded() *Encoded {
	objects, err := lru.New[change, json.RawMessage](encodedKept)
	if err != nil {
		panic(err) // the size is not positive
	}
	return &Encoded{objects: objects}
}

// of gives the JSON of a pod as it is at a cursor. Without a cursor or a version, or in
// nil, it is encoded each time.
func (e *Encoded) of(c change, p api.Pod) (json.RawMessage, error) {
	if e == nil || c.cursor == "" || c.version == "" {
		return json.Marshal(p)
	}
	if raw, ok := e.objects.Get(c); ok {
		return raw, nil
	}
	raw, err := json.Marshal(p)
	if err == nil {
		e.objects.Add(c, raw)
	}
	return raw, err
}
