package dispatch_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestGreetingTellsWhetherATokenIsNeeded(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	for token, want := range map[string]bool{"": true, "token viewer": false, "nonsense": true, credential: false, joinToken: false} {
		var c wire.Connected
		r.dial(t, token).expect(wire.TypeConnected, &c)
		if c.RequiresAuth != want || c.ConnectionID == "" {
			t.Errorf("token %q: got %+v, want requiresAuth %v", token, c, want)
		}
	}
}

func TestTokenBySubprotocol(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	conn, _, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{Subprotocols: []string{ //nolint:bodyclose // of an upgraded connection there is none
		wire.Subprotocol, wire.BearerSubprotocolPrefix + base64.RawURLEncoding.EncodeToString([]byte("token viewer")),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var c wire.Connected
	newPeer(t, conn).expect(wire.TypeConnected, &c)
	if c.RequiresAuth {
		t.Error("the token of the subprotocol was not taken")
	}
	if conn.Subprotocol() != wire.Subprotocol {
		t.Errorf("got subprotocol %q, want %q", conn.Subprotocol(), wire.Subprotocol)
	}
}

func TestTokenInTheURLIsIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	r.url += "?token=token+viewer"
	var c wire.Connected
	r.dial(t, "").expect(wire.TypeConnected, &c)
	if !c.RequiresAuth {
		t.Error("a token in the URL was taken")
	}
}

func TestAuthenticateByMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeAuthenticate, "a", wire.Authenticate{Token: "nonsense"})
	if code := p.expectFailure(wire.TypeAuthError); code != string(fault.TokenInvalid) {
		t.Errorf("got %s, want TOKEN_INVALID", code)
	}
	p.send(wire.TypeAuthenticate, "b", wire.Authenticate{})
	p.expectFailure(wire.TypeAuthError)
	p.send(wire.TypeAuthenticate, "c", wire.Authenticate{Token: "token admin"})
	var a wire.Authenticated
	if e := p.expect(wire.TypeAuthenticated, &a); e.CorrelationID != "c" || a.UserID != "admin" {
		t.Errorf("got %+v %+v, want admin with the correlation id", e, a)
	}
	p.send(wire.TypeAuthenticate, "d", wire.Authenticate{Token: "token viewer"})
	if code := p.expectFailure(wire.TypeAuthError); code != string(fault.Forbidden) {
		t.Errorf("got %s, want FORBIDDEN for another user", code)
	}
}

func TestSocketWithoutIdentityIsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{AuthTimeout: 50 * time.Millisecond})
	p := r.dial(t, "")
	if code := p.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("got %d, want 1008", code)
	}
}

func TestAJoinTokenThatRegistersNothingIsShutOut(t *testing.T) {
	t.Parallel()
	short := dispatch.Config{AuthTimeout: 100 * time.Millisecond, RegisterTimeout: 100 * time.Millisecond}
	r := newRig(t, newFakeDB(), short)
	p := r.dial(t, joinToken)
	p.expect(wire.TypeConnected, nil)
	if code := p.expectClose(); code != websocket.StatusPolicyViolation {
		t.Errorf("got %d, want 1008", code)
	}
}

func TestExpiredTokenEndsTheSessionUnlessRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where a renewal is never late
		w := newWired(t, newFakeDB())
		w.run()
		expired, renewed := newPeer(t, w.dial(t, "token viewer 10s")), newPeer(t, w.dial(t, "token viewer 10s"))
		renewed.expect(wire.TypeConnected, nil)
		renewed.send(wire.TypeAuthenticate, "", wire.Authenticate{Token: "token viewer 1h"})
		renewed.expect(wire.TypeAuthenticated, nil)
		if code := expired.expectClose(); code != websocket.StatusPolicyViolation {
			t.Errorf("got %d, want 1008", code)
		}
		renewed.send(wire.TypePing, "p", struct{}{})
		renewed.expect(wire.TypePong, nil)
	})
}

func TestFramesThatAreNotUnderstood(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "token admin")
	p.expect(wire.TypeConnected, nil)
	for frame, want := range map[string]string{
		"{":                                  wire.CodeInvalidJSON,
		`"text"`:                             wire.CodeInvalidJSON,
		`{"payload":{}}`:                     wire.CodeInvalidMessage,
		`{"type":"pod:explode"}`:             wire.CodeUnknownMessageType,
		`{"type":17}`:                        wire.CodeInvalidJSON,
		`{"type":"runs:set","payload":null}`: wire.CodeUnknownMessageType,
	} {
		p.raw(frame)
		if code := p.expectFailure(wire.TypeError); code != want {
			t.Errorf("%s: got %s, want %s", frame, code, want)
		}
	}
	p.raw(`{"type":"node:register"}`)
	if code := p.expectFailure(wire.TypeRegister + wire.ErrorSuffix); code != string(fault.Validation) {
		t.Errorf("got %s, want VALIDATION_ERROR without a payload", code)
	}
	p.raw(`{"type":"node:register","payload":{"name":7}}`)
	if code := p.expectFailure(wire.TypeRegister + wire.ErrorSuffix); code != string(fault.Validation) {
		t.Errorf("got %s, want VALIDATION_ERROR for a wrong shape", code)
	}
}

func TestTooLongAFrameIsAnsweredAndEndsTheSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "token admin")
	p.expect(wire.TypeConnected, nil)
	p.raw(`{"type":"ping","payload":"` + strings.Repeat("x", wire.MaxMessage) + `"}`)
	if code := p.expectFailure(wire.TypeError); code != wire.CodeMessageTooLarge {
		t.Errorf("got %s, want MESSAGE_TOO_LARGE", code)
	}
	if code := p.expectClose(); code != websocket.StatusMessageTooBig {
		t.Errorf("got %d, want 1009", code)
	}
}

func TestBinaryFramesAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "token admin")
	if err := p.conn.Write(t.Context(), websocket.MessageBinary, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if code := p.expectClose(); code != websocket.StatusUnsupportedData {
		t.Errorf("got %d, want 1003", code)
	}
}

func TestHalfOpenSocketIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where the node registers before it is missed
		db := newFakeDB()
		w := newWired(t, db)
		w.run()
		p := newPeer(t, w.dial(t, credential, func(o *websocket.DialOptions) {
			o.OnPingReceived = func(context.Context, []byte) bool { return false } // a peer that no longer answers
		}))
		p.send(wire.TypeRegister, "r", aRegister())
		if got := receive(t, db.statuses, "the node to be suspect"); got != (statusCall{"n1", api.NodeSuspect}) {
			t.Errorf("got %+v, want n1 suspect", got)
		}
	})
}

func TestFullServerRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{MaxSessions: 1})
	r.dial(t, "token admin").expect(wire.TypeConnected, nil)
	conn, resp, err := websocket.Dial(t.Context(), r.url, nil)
	if err == nil {
		_ = conn.CloseNow()
		t.Fatal("a second connection was taken")
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d, want 503 with Retry-After", resp.StatusCode)
	}
}

func TestHandshakeIsRefusedWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.roles = func(string) ([]api.Role, bool, error) { return nil, false, fault.New(fault.Unavailable, "no database") }
	r := newRig(t, db, dispatch.Config{})
	conn, resp, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer token admin"}}})
	if err == nil {
		_ = conn.CloseNow()
		t.Fatal("the connection was taken")
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", resp.StatusCode)
	}
}

func TestShutdownSaysGoodbye(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p := r.dial(t, "token admin")
	p.expect(wire.TypeConnected, nil)
	if err := r.d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.expect(wire.TypeDisconnect, nil)
	if code := p.expectClose(); code != websocket.StatusGoingAway {
		t.Errorf("got %d, want 1001", code)
	}
}
