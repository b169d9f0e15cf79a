package dispatch

import (
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestEventsAreEncodedAsAllFrames(t *testing.T) {
	t.Parallel()
	for _, e := range []wire.WatchEvent{
		{Event: wire.EventPut, Object: json.RawMessage(`{"id":"a","labels":{"x":"y"}}`), Cursor: `1.2.3:4:5,"6"`},
		{Event: wire.EventDelete, Object: json.RawMessage(`{"id":"a"}`)},
	} {
		const id = "w\"\n</script>\u2028"
		want, err := encode(wire.TypeEvent, "", 0, wire.Event{WatchID: id, Event: e.Event, Object: e.Object, Cursor: e.Cursor})
		if err != nil {
			t.Fatal(err)
		}
		if got := encodeEvent(id, e); string(got) != string(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
