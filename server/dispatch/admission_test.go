package dispatch_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// turnedAway dials as a node and gives what the server says instead of letting it in.
func (r *rig) turnedAway(t *testing.T, token string) (header string, said fault.Envelope) {
	t.Helper()
	_, resp, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}, Subprotocols: []string{wire.Subprotocol},
	})
	if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, want status 503", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("Retry-After"), said
}

// While as many nodes as may are on their way in, others are told when to come again,
// before anything is asked of the database, and users are let in all the same.
func TestWhoFindsNoPlaceIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	registering, goOn := make(chan struct{}), make(chan struct{})
	db.register = func(_ dispatch.Registrar, req api.RegisterNodeRequest) (dispatch.Registration, error) {
		registering <- struct{}{}
		<-goOn
		return dispatch.Registration{Node: api.Node{ID: "n1", Name: req.Name, Status: api.NodeOnline}, CredentialID: "c1"}, nil
	}
	r := newRig(t, db, dispatch.Config{MaxEntering: 1})
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeRegister, "r", aRegister())
	receive(t, registering, "a registration")

	for _, token := range []string{credential, joinToken} {
		header, said := r.turnedAway(t, token)
		if said.Error.Code != fault.Unavailable || said.Error.RetryAfter < 1 || said.Error.Details[wire.DetailTurn] != true || header == "" {
			t.Errorf("got %+v and Retry-After %q", said, header)
		}
	}
	// Who has no header to show a token in is told by a frame.
	tab := r.dial(t, "")
	tab.expect(wire.TypeConnected, nil)
	tab.send(wire.TypeAuthenticate, "a", wire.Authenticate{Token: credential})
	var no wire.Failure
	tab.expect(wire.TypeAuthError, &no)
	if no.Code != string(fault.Unavailable) || no.RetryAfter < 1 || no.Details[wire.DetailTurn] != true {
		t.Errorf("got %+v", no)
	}
	// So is a user who registers a node; what else users do needs no place.
	user := r.dial(t, "token developer")
	user.expect(wire.TypeConnected, nil)
	user.send(wire.TypeRegister, "r", aRegister())
	no = wire.Failure{}
	user.expect(wire.TypeRegister+wire.ErrorSuffix, &no)
	if no.Code != string(fault.Unavailable) || no.RetryAfter < 1 || no.Details[wire.DetailTurn] != true {
		t.Errorf("got %+v", no)
	}

	close(goOn)
	p.expect(wire.TypeRegister+wire.AckSuffix, nil)
	tab.send(wire.TypeAuthenticate, "a", wire.Authenticate{Token: credential})
	tab.expect(wire.TypeAuthenticated, nil)
	tab.send(wire.TypeRegister, "r", aRegister())
	receive(t, registering, "a registration")
	tab.expect(wire.TypeRegister+wire.AckSuffix, nil)
}

// A node that is refused, or goes, leaves its place to the next one.
func TestWhoIsRefusedLeavesThePlace(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{MaxEntering: 1})
	for range 3 {
		p := r.dial(t, api.NodeCredentialPrefix+"unknown") // its place is free with the answer
		var c wire.Connected
		p.expect(wire.TypeConnected, &c)
		if !c.RequiresAuth {
			t.Error("the server knows nobody by this credential")
		}
	}
	r.agent(t)
	p := r.dial(t, credential)
	p.expect(wire.TypeConnected, nil)
	if err := p.conn.CloseNow(); err != nil {
		t.Fatal(err)
	}
	for {
		conn, resp, err := websocket.Dial(t.Context(), r.url, &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + credential}}, Subprotocols: []string{wire.Subprotocol},
		})
		if err == nil {
			_ = conn.CloseNow()
			return
		}
		if resp == nil || resp.StatusCode != http.StatusServiceUnavailable { // until the server has seen that it is gone
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}
