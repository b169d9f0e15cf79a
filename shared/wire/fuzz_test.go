package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/shared/wire"
)

// payloads makes one of each message, those of agents, servers and watchers alike.
var payloads = []func() any{
	func() any { return new(wire.Envelope) }, func() any { return new(wire.Failure) }, func() any { return new(wire.Connected) },
	func() any { return new(wire.Authenticate) }, func() any { return new(wire.Authenticated) }, func() any { return new(wire.Register) },
	func() any { return new(wire.Registered) }, func() any { return new(wire.Heartbeat) }, func() any { return new(wire.HeartbeatAck) },
	func() any { return new(wire.RunsSet) }, func() any { return new(wire.RunsDelta) }, func() any { return new(wire.RunsAck) },
	func() any { return new(wire.RunReports) }, func() any { return new(wire.RunReportsAck) }, func() any { return new(wire.BundleURL) },
	func() any { return new(wire.BundleURLAck) }, func() any { return new(wire.LogsOpen) }, func() any { return new(wire.LogsMore) },
	func() any { return new(wire.LogsClose) }, func() any { return new(wire.LogsChunk) }, func() any { return new(wire.LogCheckpoints) },
	func() any { return new(wire.StoredLogs) }, func() any { return new(wire.LogsEnd) }, func() any { return new(wire.Watch) },
	func() any { return new(wire.Unwatch) }, func() any { return new(wire.WatchEvent) }, func() any { return new(wire.Event) },
}

// FuzzMessages reads each message: what can be read is written and read as the same, so
// that no hop changes it.
func FuzzMessages(f *testing.F) {
	for i := range payloads {
		for _, seed := range []string{
			`{}`, `null`, ``, `[]`, `"x"`, `1`, `{`, `{"type":"ping","payload":{},"correlationId":"a","seq":1}`, `{"type":"a","type":"b"}`, `{"TYPE":"a"}`, `{"seq":-1}`, `{"seq":1e400}`,
			`{"name":"n","runtimeType":"node","credential":"stark_node_x","runs":[{"podId":"p","incarnation":1,"attempt":1,"status":"running"}],"conditions":[]}`,
			`{"name":"\u0000","labels":{"":""},"taints":null,"allocatable":{"cpu":"500m","memory":"1e3Gi"}}`, `{"conditions":null,"usage":{"cpuMillis":-1}}`,
			`{"runs":[{"podId":"p","incarnation":1,"lastAttempt":0,"desire":"run","pod":{"name":"n","limits":{"cpu":1},"metadata":{"a":{"b":[null,1e5]}},"deadlineSeconds":1}}],"more":true}`,
			`{"reports":[{"podId":"p","incarnation":1,"attempt":2,"status":"exited","termination":{"reason":"Error","exitCode":1},"final":true,"at":"2026-01-02T03:04:05Z"}]}`,
			`{"at":"0000-00-00T00:00:00Z"}`, `{"since":"2026-01-02T03:04:05.123456789+23:59"}`, `{"lines":[{"at":"2026-01-02T03:04:05Z","line":"\ud800"}],"ring":"r","next":18446744073709551615}`,
			"{\"name\":\"\xff\"}", `{"tail":99999999999999999999}`, `{"after":{"ring":"r","next":-1}}`, `{"object":{"a":1},"event":"put"}`, `{"payload":` + nest(200) + `}`,
		} {
			f.Add(i, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		fresh := payloads[((which%len(payloads))+len(payloads))%len(payloads)]
		read := fresh()
		if json.Unmarshal(data, read) != nil {
			return
		}
		written, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("%T: %q cannot be written: %v", read, data, err)
		}
		again := fresh()
		if err := json.Unmarshal(written, again); err != nil {
			t.Fatalf("%T: %q is written as %s, which gives %v", read, data, written, err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(written, twice) {
			t.Fatalf("%T: %s is written anew as %s, %v", read, written, twice, err)
		}
	})
}

func nest(n int) string {
	return string(bytes.Repeat([]byte("["), n)) + string(bytes.Repeat([]byte("]"), n))
}
