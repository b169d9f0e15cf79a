package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// TestMessagesAreFlat pins the names that agents of other versions rely on where
// Go embeds one type in another.
func TestMessagesAreFlat(t *testing.T) {
	t.Parallel()
	key := api.RunKey{PodID: "p", Incarnation: 2, Attempt: 3}
	for want, message := range map[string]any{
		`{"podId":"p","incarnation":2,"attempt":3,"status":"running"}`:                                             wire.RunState{RunKey: key, Status: api.RunRunning},
		`{"podId":"p","incarnation":2,"attempt":3,"status":"exited","final":true,"at":"2026-01-02T03:04:05Z"}`:     wire.RunReport{RunKey: key, Status: api.RunExited, Final: true, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		`{"name":"n","runtimeType":"node","runs":[{"podId":"p","incarnation":2,"attempt":3,"status":"starting"}]}`: wire.Register{RegisterNodeRequest: api.RegisterNodeRequest{Name: "n", RuntimeType: api.RuntimeNode}, Runs: []wire.RunState{{RunKey: key, Status: api.RunStarting}}},
		`{"type":"runs:set","payload":{"runs":[]},"seq":7}`:                                                        wire.Envelope{Type: wire.TypeRunsSet, Payload: json.RawMessage(`{"runs":[]}`), Seq: 7},
	} {
		got, err := json.Marshal(message)
		if err != nil || string(got) != want {
			t.Errorf("%T is written as %s, %v, want %s", message, got, err, want)
		}
		back := reflect.New(reflect.TypeOf(message))
		if err := json.Unmarshal(got, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), message) {
			t.Errorf("%s is read as %+v, %v, want %+v", got, back.Elem().Interface(), err, message)
		}
	}
}

// A frame that is written in one pass is the one that its parts make.
func TestFrame(t *testing.T) {
	t.Parallel()
	for _, payload := range []any{
		nil,
		wire.LogsClose{StreamID: "<s>"},
		&wire.LogsMore{StreamID: "s", Bytes: 7}, json.RawMessage(`{"a": 1}`),
		wire.LogsChunk{StreamID: "s", Lines: []api.LogLine{{Line: "\u2028 \xff <b>", Stream: "log"}}, Ring: "r", Next: 7},
	} {
		e := wire.Envelope{Type: wire.TypeLogsChunk, CorrelationID: "c", Seq: 3}
		got, err := wire.Frame(e, payload)
		if err != nil {
			t.Fatal(err)
		}
		if e.Payload, err = json.Marshal(payload); err != nil {
			t.Fatal(err)
		}
		if want, err := json.Marshal(e); err != nil || string(got) != string(want) {
			t.Errorf("got %s, want %s, %v", got, want, err)
		}
	}
	if _, err := wire.Frame(wire.Envelope{}, func() {}); err == nil {
		t.Error("a function was encoded")
	}
}
