package watch_test

import (
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// What is put together by hand is what encoding/json writes.
func TestAppendObject(t *testing.T) {
	t.Parallel()
	for _, e := range []wire.WatchEvent{
		{Event: wire.EventPut, Object: json.RawMessage(`{"id":"a","labels":{"x":"y"}}`), Cursor: "1.2.3:4:5,6"},
		{Event: wire.EventPut, Object: json.RawMessage(`{}`), Cursor: "a\"b\\c\n<é\xff>&\u2028\x7f"},
		{Event: wire.EventDelete, Object: json.RawMessage(`{"id":"a"}`)},
	} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := append(watch.AppendObject([]byte("{"), e), '}'); string(got) != string(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
