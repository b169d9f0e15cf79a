package dispatch_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// payloads names the payload of each message that a peer may send; nil for none.
var payloads = map[string]any{
	wire.TypeAuthenticate: wire.Authenticate{}, wire.TypePing: nil, wire.TypePong: nil, wire.TypeRegister: wire.Register{}, wire.TypeHeartbeat: wire.Heartbeat{},
	wire.TypeUnregister: nil, wire.TypeRunsAck: wire.RunsAck{}, wire.TypeRunsResync: nil, wire.TypeRunReport: wire.RunReports{}, wire.TypeBundleURL: wire.BundleURL{},
	wire.TypeLogsChunk: wire.LogsChunk{}, wire.TypeLogsEnd: wire.LogsEnd{}, wire.TypeLogsCheckpoint: wire.LogCheckpoints{}, wire.TypeWatch: wire.Watch{}, wire.TypeUnwatch: wire.Unwatch{},
}

// hostileFields stand for each field of each message in turn.
var hostileFields = []string{
	"null", "true", "0", "-1", "1.5", "99999999999999999999999", "1e999", `""`, `"x"`, `" "`, `"a\u0000b"`, `"\udfff"`, "\"\xc3\x28\"", `"../../x"`,
	`"'; drop table pods; --"`, `"12"`, `"` + strings.Repeat("x", 70000) + `"`, "[]", "[null]", "[[[]]]", `[1,"a",null,{}]`, "[" + strings.Repeat("{},", 5000) + "{}]",
	"{}", `{"a":null}`, `{"a":{"b":{}}}`, `{"":""}`, `{"a":"1","a":"2"}`, strings.Repeat("[", 9000) + strings.Repeat("]", 9000), `"0000-00-00T00:00:00Z"`, `"9999-12-31T23:59:59.999999999+23:59"`,
}

// fieldsOf lists the names of a message's fields, those of embedded types too.
func fieldsOf(typ reflect.Type) []string {
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, fieldsOf(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}

// TestHostileFields puts what nobody should into each field of each message, as a
// node and as an admin: no answer is an internal error, and the server goes on.
func TestHostileFields(t *testing.T) {
	t.Parallel()
	for _, typ := range dispatch.MessageTypes() {
		payload, known := payloads[typ]
		if !known {
			t.Errorf("%s is missing in the table of payloads", typ)
		}
		if payload == nil {
			continue
		}
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newFakeDB(), dispatch.Config{})
			names := fieldsOf(reflect.TypeOf(payload))
			if len(names) == 0 {
				t.Fatal("the message has no fields")
			}
			for _, as := range []string{"admin", "node"} {
				var p *peer
				for _, name := range names {
					for _, value := range hostileFields {
						if p == nil {
							p = r.as(t, as)
						}
						frame := fmt.Sprintf(`{"type":%q,"correlationId":"c","payload":{%q:%s}}`, typ, name, value)
						if !p.sayHostile(fmt.Sprintf("%s: %s: %.60s", as, name, value), frame) {
							p = nil
						}
					}
				}
			}
		})
	}
}

// TestNobodyIsToldAnything says everything before it has said who it is: all but the
// signs of life are refused, by code, and nothing is done.
func TestNobodyIsToldAnything(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	r := newRig(t, db, dispatch.Config{})
	open := []string{wire.TypePing, wire.TypePong, wire.TypeAuthenticate}
	ofStreams := []string{wire.TypeLogsChunk, wire.TypeLogsEnd} // what belongs to no stream is late, and dropped
	for _, typ := range dispatch.MessageTypes() {
		if slices.Contains(open, typ) {
			continue
		}
		for what, payload := range hostilePayloads {
			p := r.dial(t, "")
			p.expect(wire.TypeConnected, nil)
			p.raw(fmt.Sprintf(`{"type":%q,"correlationId":"c","payload":%s}`, typ, payload))
			p.send(wire.TypePing, "behind", struct{}{})
			answered := false
			for over := false; !over; {
				select {
				case e := <-p.got:
					if e.Type == wire.TypePong {
						over = true
						break
					}
					answered = true
					var f wire.Failure
					if err := json.Unmarshal(e.Payload, &f); err != nil || !slices.Contains([]fault.Code{
						fault.AuthenticationRequired, fault.Validation, fault.NotFound, fault.Code(wire.CodeInvalidJSON),
					}, fault.Code(f.Code)) {
						t.Errorf("%s: %s: got %s %.200s", typ, what, e.Type, e.Payload)
					}
				case err := <-p.end:
					t.Errorf("%s: %s: the connection ended: %v", typ, what, err)
					over = true
				}
			}
			if !answered && !slices.Contains(ofStreams, typ) {
				t.Errorf("%s: %s: nothing was answered", typ, what)
			}
			_ = p.conn.CloseNow()
		}
	}
	if len(db.reports) > 0 || len(db.statuses) > 0 || len(db.leases) > 0 {
		t.Error("something was done for nobody")
	}
}

// Envelopes that are none are answered, with what they are about where that is known.
func TestHostileEnvelopes(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "token admin")
	p.expect(wire.TypeConnected, nil)
	long := strings.Repeat("x", 300)
	for frame, want := range map[string]string{
		"":                                    wire.CodeInvalidJSON,
		"null":                                wire.CodeInvalidMessage,
		"[]":                                  wire.CodeInvalidJSON,
		"{}{}":                                wire.CodeInvalidJSON,
		`{"type":"ping"`:                      wire.CodeInvalidJSON,
		`{"type":null}`:                       wire.CodeInvalidMessage,
		`{"type":["ping"]}`:                   wire.CodeInvalidJSON,
		`{"type":"ping","seq":-1}`:            wire.CodeInvalidJSON,
		`{"type":"ping","seq":NaN}`:           wire.CodeInvalidJSON,
		`{"type":"ping","seq":1e400}`:         wire.CodeInvalidJSON,
		`{"type":"ping","correlationId":7}`:   wire.CodeInvalidJSON,
		`{"type":"ping\u0000"}`:               wire.CodeUnknownMessageType,
		`{"type":"` + long + `"}`:             wire.CodeUnknownMessageType,
		`{"type":"Ping"}`:                     wire.CodeUnknownMessageType,
		"{\"type\":\"\xff\"}":                 wire.CodeUnknownMessageType,
		"\ufeff{\"type\":\"ping\"}":           wire.CodeInvalidJSON,
		"\x1f\x8b":                            wire.CodeInvalidJSON,
		`{"type":"` + wire.TypeRunsSet + `"}`: wire.CodeUnknownMessageType, // a server's word
		`{"type":"ping","payload":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`: wire.CodeInvalidJSON,
		`{"type":"ping","correlationId":"` + long + `"}`:                                              wire.CodeInvalidMessage,
	} {
		p.raw(frame)
		if code := p.expectFailure(wire.TypeError); code != want {
			t.Errorf("%.80q: got %s, want %s", frame, code, want)
		}
	}
	p.send(wire.TypePing, strings.Repeat("c", 256), nil)
	p.expect(wire.TypePong, nil)
}
