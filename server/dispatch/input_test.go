package dispatch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// hostilePayloads are sent with each type of message; what is added here is tried with
// all of them, and so is every type that is added to the table of handlers.
var hostilePayloads = map[string]string{
	"null": "null", "a text": `"x"`, "a number": "1", "a list": "[]", "nothing known": `{"a":1}`, "an object": "{}", "twice": `{"podId":"a","podId":"b"}`,
	"wrong ids": `{"podId":"../../x","nodeId":7,"id":null,"watchId":{},"keys":"x","runs":[1]}`, "no text": `{"podId":"\u0000","watchId":"\u0000","token":"\u0000","name":"\u0000"}`,
	"bidi": `{"name":"a\u202eb","runtimeType":"node"}`, "bad UTF-8": "{\"name\":\"\xff\",\"token\":\"\xff\"}",
	"huge numbers": `{"incarnation":99999999999999999999,"attempt":-1,"seq":1e400}`, "negative": `{"podId":"0190b2f5-7c1a-7d3e-9f00-000000000001","incarnation":-1,"attempt":-5,"status":"running"}`,
	"unknown words": `{"podId":"0190b2f5-7c1a-7d3e-9f00-000000000001","incarnation":1,"attempt":1,"status":"exploded","kind":"planets","watchId":"w","reason":"x"}`,
	"long":          `{"name":"` + strings.Repeat("x", 100000) + `","watchId":"` + strings.Repeat("w", 100000) + `","token":"` + strings.Repeat("t", 100000) + `"}`,
	"deep":          `{"runs":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "many": `{"runs":[` + strings.Repeat(`{},`, 5000) + `{}],"conditions":[` + strings.Repeat("null,", 500) + `null]}`,
	"a date of no calendar": `{"at":"2026-13-45T99:00:00Z","since":"yesterday"}`, "a wrong cursor": `{"watchId":"w","kind":"pods","since":"'; drop table pods; --"}`,
	"a selector of nothing": `{"watchId":"w","kind":"pods","labelSelector":"a in (","namespace":"../x"}`,
}

// TestHostileMessages says to the server what nobody should, as an admin and as a
// node: each answer that is an error has a code, none is an internal one, and the
// server goes on.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	for _, typ := range dispatch.MessageTypes() {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, newFakeDB(), dispatch.Config{})
			for what, payload := range hostilePayloads {
				for _, as := range []string{"admin", "node"} {
					sayHostile(t, r, as, what, fmt.Sprintf(`{"type":%q,"correlationId":"c","payload":%s}`, typ, payload))
				}
			}
			p := r.dial(t, "token admin")
			p.expect(wire.TypeConnected, nil)
			p.send(wire.TypePing, "alive", struct{}{})
			p.expect(wire.TypePong, nil)
		})
	}
}

// as opens a session of an admin, or of a node.
func (r *rig) as(t *testing.T, who string) *peer {
	t.Helper()
	if who == "node" {
		p, _ := r.agent(t)
		return p
	}
	p := r.dial(t, "token admin")
	p.expect(wire.TypeConnected, nil)
	return p
}

func sayHostile(t *testing.T, r *rig, as, what, frame string) {
	t.Helper()
	p := r.as(t, as)
	p.sayHostile(as+": "+what, frame)
	_ = p.conn.CloseNow()
}

// sayHostile sends one frame, and a ping behind it, and judges all that comes back. It
// reports whether the session goes on.
func (p *peer) sayHostile(what, frame string) bool {
	p.t.Helper()
	p.raw(frame)
	p.send(wire.TypePing, "behind", struct{}{})
	for {
		select {
		case e := <-p.got:
			if e.Type == wire.TypePong && e.CorrelationID == "behind" {
				return true
			}
			judgeMessage(p.t, what, e)
		case err := <-p.end: // a session may be ended for what was said, by a close that says so
			if _, said := errors.AsType[websocket.CloseError](err); !said {
				p.t.Errorf("%s: the session broke off: %v", what, err)
			}
			return false
		}
	}
}

func judgeMessage(t *testing.T, what string, e wire.Envelope) {
	t.Helper()
	if !strings.HasSuffix(e.Type, wire.ErrorSuffix) && e.Type != wire.TypeError && e.Type != wire.TypeAuthError {
		return
	}
	var f wire.Failure
	if err := json.Unmarshal(e.Payload, &f); err != nil || f.Code == "" || f.Message == "" {
		t.Errorf("%s: %s %.200s is no error with code and message", what, e.Type, e.Payload)
	}
	if f.Code == string(fault.Internal) || strings.Contains(f.Message, ".go") || strings.Contains(f.Message, "json:") {
		t.Errorf("%s: %s %.200s shows what is inside", what, e.Type, e.Payload)
	}
	if e.CorrelationID != "c" && !slices.Contains([]string{wire.CodeInvalidJSON, wire.CodeInvalidMessage}, f.Code) {
		t.Errorf("%s: %s %.200s does not say what it answers", what, e.Type, e.Payload)
	}
}
