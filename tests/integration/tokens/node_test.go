package tokens

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// node is an agent made of its messages alone.
type node struct {
	*socket
	id, name, credential string
}

// node registers a node of a user with a join token.
func (p *project) node(owner *client.Client, name string) *node {
	p.t.Helper()
	j, err := owner.CreateJoinToken(p.t.Context(), api.CreateJoinTokenRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.join(p.a, name, j.Token)
}

func (p *project) join(url, name, token string) *node {
	p.t.Helper()
	n := &node{socket: p.dial(url, token), name: name}
	if !n.known() {
		p.t.Fatal("the node's token is not believed")
	}
	n.send(wire.TypeRegister, register(name))
	e, err := n.awaitOrEnd(wire.TypeRegister+wire.AckSuffix, wire.TypeRegister+wire.ErrorSuffix)
	if websocket.CloseStatus(err) == websocket.StatusPolicyViolation {
		// A server that hears late of a rotation ends the new connection too, since it
		// still comes with the old credential; nodes come back, and it hears once.
		return p.join(url, name, token)
	}
	if err != nil {
		p.t.Fatalf("register %s: %v", name, err)
	}
	var r wire.Registered
	if err := json.Unmarshal(e.Payload, &r); err != nil || r.Node.ID == "" {
		p.t.Fatalf("register %s: %s", name, e.Payload)
	}
	n.id, n.credential = r.Node.ID, r.Credential
	return n
}

const code = `module.exports.default = async () => {}`

func (p *project) pack(owner *client.Client, name string) api.Pack {
	p.t.Helper()
	pack, err := owner.CreatePack(p.t.Context(), api.CreatePackRequest{Name: name, Version: "1.0.0", RuntimeTag: api.TagNode}, aBundle(code))
	if err != nil {
		p.t.Fatal(err)
	}
	return pack
}

// beats keeps the node alive for as long as its test lasts.
func (n *node) beats() *node {
	n.t.Helper()
	frame, err := json.Marshal(wire.Envelope{Type: wire.TypeHeartbeat, Payload: json.RawMessage(`{"nodeId":"` + n.id + `"}`)})
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	ctx := n.t.Context() // which ends before the clean-up
	go func() {
		defer close(done)
		ticker := time.NewTicker(3 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if n.conn.Write(ctx, websocket.MessageText, frame) != nil {
				return
			}
		}
	}()
	n.t.Cleanup(func() { <-done })
	return n
}

// scheduled makes a pod and waits until its node has been told.
func (p *project) scheduled(owner *client.Client, pack api.Pack, n *node) wire.Assignment {
	p.t.Helper()
	pod, err := owner.CreatePod(p.t.Context(), api.CreatePodRequest{PackID: pack.ID})
	if err != nil {
		p.t.Fatal(err)
	}
	for {
		e := n.await(wire.TypeRunsSet, wire.TypeRunsDelta)
		var told struct {
			Runs, Put []wire.Assignment
		}
		if err := json.Unmarshal(e.Payload, &told); err != nil {
			p.t.Fatal(err)
		}
		n.send(wire.TypeRunsAck, wire.RunsAck{Seq: e.Seq})
		for _, a := range append(told.Runs, told.Put...) {
			if a.PodID == pod.ID {
				return a
			}
		}
	}
}

// A node that has turned against the cluster gets nothing beyond its own row and
// its own pods.
func TestANodeReachesNothingBeyondItself(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	adaSession, eveSession := p.user("ada@example.com", api.RoleDeveloper), p.user("eve@example.com", api.RoleDeveloper)
	ada, eve := p.client(adaSession.AccessToken, p.a), p.client(eveSession.AccessToken, p.a)
	good, bad := p.node(ada, "good").beats(), p.node(eve, "bad").beats()
	pack := p.pack(ada, "secret")
	theirs := p.scheduled(ada, pack, good)
	own := p.scheduled(eve, p.pack(eve, "own"), bad)

	run := func(a wire.Assignment, incarnation, attempt int) api.RunKey {
		return api.RunKey{PodID: a.PodID, Incarnation: incarnation, Attempt: attempt}
	}
	report := func(k api.RunKey, status api.RunStatus) (wire.RunReportsAck, string) {
		t.Helper()
		bad.send(wire.TypeRunReport, wire.RunReports{Reports: []wire.RunReport{{RunKey: k, Status: status, At: time.Now()}}})
		e := bad.await(wire.TypeRunReport+wire.AckSuffix, wire.TypeRunReport+wire.ErrorSuffix)
		var ack wire.RunReportsAck
		if err := json.Unmarshal(e.Payload, &ack); err != nil {
			t.Fatal(err)
		}
		return ack, e.Type
	}
	for name, k := range map[string]api.RunKey{
		"another's pod": run(theirs, theirs.Incarnation, 1), "another's pod, next incarnation": run(theirs, theirs.Incarnation+1, 1),
		"a pod that is not there": {PodID: api.NewID(), Incarnation: 1, Attempt: 1}, "its own pod, an incarnation that never was": run(own, own.Incarnation+7, 1),
	} {
		for _, status := range []api.RunStatus{api.RunRunning, api.RunExited} {
			if ack, typ := report(k, status); len(ack.Accepted) != 0 || (typ == wire.TypeRunReport+wire.AckSuffix && len(ack.Refused) != 1) {
				t.Errorf("a report of %s is taken: %+v", name, ack)
			}
		}
	}
	for name, ask := range map[string]wire.BundleURL{
		"another's pod":                {PodID: theirs.PodID, Incarnation: theirs.Incarnation},
		"a pod that is not there":      {PodID: api.NewID(), Incarnation: 1},
		"a path":                       {PodID: "../" + theirs.PodID, Incarnation: 1},
		"its own, another incarnation": {PodID: own.PodID, Incarnation: own.Incarnation + 1},
	} {
		if got := bad.ask(wire.TypeBundleURL, ask); got == "" {
			t.Errorf("it gets the bundle of %s", name)
		}
	}
	for name, try := range map[string]struct {
		typ     string
		payload any
	}{
		"beats for another":             {wire.TypeHeartbeat, wire.Heartbeat{NodeID: good.id}},
		"takes another's name":          {wire.TypeRegister, register("good")},
		"takes a second name":           {wire.TypeRegister, register("third")},
		"watches pods":                  {wire.TypeWatch, wire.Watch{WatchID: "w", Kind: "pods"}},
		"watches nodes":                 {wire.TypeWatch, wire.Watch{WatchID: "w", Kind: "nodes"}},
		"becomes a user":                {wire.TypeAuthenticate, wire.Authenticate{Token: eveSession.AccessToken}},
		"becomes the other node":        {wire.TypeAuthenticate, wire.Authenticate{Token: good.credential}},
		"registers what is not its own": {wire.TypeRegister, register("stark-system")},
	} {
		if got := bad.ask(try.typ, try.payload); got == "" {
			t.Errorf("a node %s", name)
		}
	}
	for _, path := range []string{"/auth/me", "/api/nodes/" + bad.id, "/api/nodes/" + good.id, "/api/pods/" + own.PodID, "/api/packs/" + pack.ID + "/bundle", "/api/pods/" + theirs.PodID + "/logs"} {
		for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPatch} {
			if status, _ := p.rest(method, p.a+path, bad.credential, map[string]any{}); status != http.StatusUnauthorized && status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s by a node: %d", method, path, status)
			}
		}
	}
	for _, path := range []string{"/rest/v1/pods", "/storage/v1/object/authenticated/" + api.BundleBucket + "/" + pack.BundlePath} {
		if status, _ := p.rest(http.MethodGet, p.stack.URL+path, bad.credential, nil); status < http.StatusBadRequest {
			t.Errorf("%s by a node: %d", path, status)
		}
	}
	// And eve herself has no more power over ada's node than her node has.
	for name, err := range map[string]error{
		"rotates": eve.RotateNodeCredential(t.Context(), good.id), "revokes": eve.RevokeNodeCredential(t.Context(), good.id), "deletes": eve.DeleteNode(t.Context(), good.id),
	} {
		if got := fault.CodeOf(err); got != fault.Forbidden && got != fault.NotFound {
			t.Errorf("another owner %s the node: %v", name, err)
		}
	}
	good.open()
	if pod, err := ada.GetPod(t.Context(), theirs.PodID); err != nil || pod.Status.Terminal() || pod.Status == api.PodRunning {
		t.Errorf("the pod afterwards: %s, %v", pod.Status, err)
	}
	if n, err := ada.GetNode(t.Context(), good.id); err != nil || n.Status != api.NodeOnline || n.Name != "good" {
		t.Errorf("the node afterwards: %+v, %v", n, err)
	}
	bad.open()
}

// A node gets the address of a bundle that it runs: for minutes, for that bundle.
func TestTheAddressOfABundleIsForItAndForMinutes(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada := p.client(p.user("ada@example.com", api.RoleDeveloper).AccessToken, p.a)
	n := p.node(ada, "one").beats()
	pack := p.pack(ada, "mine")
	a := p.scheduled(ada, pack, n)
	n.send(wire.TypeBundleURL, wire.BundleURL{PodID: a.PodID, Incarnation: a.Incarnation})
	var ack wire.BundleURLAck
	if err := json.Unmarshal(n.await(wire.TypeBundleURL+wire.AckSuffix).Payload, &ack); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(ack.ExpiresAt); left <= 0 || left > 5*time.Minute {
		t.Errorf("good for %s", left)
	}
	get := func(url string) int {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if status := get(ack.URL); status != http.StatusOK {
		t.Errorf("its own bundle: %d", status)
	}
	other := p.pack(ada, "other")
	if status := get(strings.Replace(ack.URL, pack.BundlePath, other.BundlePath, 1)); status == http.StatusOK {
		t.Error("the address opens another bundle")
	}
	if _, _, err := ada.StopPod(t.Context(), a.PodID); err != nil {
		t.Fatal(err)
	}
	n.send(wire.TypeRunReport, wire.RunReports{Reports: []wire.RunReport{{
		RunKey: api.RunKey{PodID: a.PodID, Incarnation: a.Incarnation, Attempt: 1}, Status: api.RunExited, Final: true, At: time.Now(),
		Termination: &api.Termination{Reason: "Stopped", FinishedAt: time.Now(), Attempt: 1},
	}}})
	n.await(wire.TypeRunReport + wire.AckSuffix)
	if got := n.ask(wire.TypeBundleURL, wire.BundleURL{PodID: a.PodID, Incarnation: a.Incarnation}); got == "" {
		t.Error("a node gets the bundle of a pod that has ended")
	}
}

func TestACredentialOfANodeIsRotatedAndRevoked(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada := p.client(p.user("ada@example.com", api.RoleDeveloper).AccessToken, p.b) // not the server of the socket
	n := p.node(ada, "one")
	if err := ada.RotateNodeCredential(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	n.closed()
	lost := p.join(p.b, "one", n.credential) // an answer that may not have arrived
	if lost.credential == "" || lost.credential == n.credential || lost.id != n.id {
		t.Fatalf("got %+v", lost)
	}
	back := p.join(p.a, "one", n.credential)
	if back.credential == "" || back.credential == lost.credential {
		t.Fatalf("got %+v", back)
	}
	if got := back.ask(wire.TypeHeartbeat, wire.Heartbeat{NodeID: n.id}); got != "" {
		t.Fatalf("heartbeat: %s", got)
	}
	for name, old := range map[string]string{"the first": n.credential, "the one that was lost": lost.credential} {
		eventually(t, func() bool { return !p.dialKnown(p.b, old) })
		if p.dialKnown(p.a, old) {
			t.Errorf("%s is still good", name)
		}
	}
	back.open()
	again := p.join(p.b, "one", back.credential)
	if again.credential != "" {
		t.Error("it was given another without being asked for")
	}
	if err := ada.RevokeNodeCredential(t.Context(), n.id); err != nil {
		t.Fatal(err)
	}
	again.closed()
	if p.dialKnown(p.a, back.credential) || p.dialKnown(p.b, back.credential) {
		t.Error("a revoked credential is good")
	}
	// The name is its owner's: a new token brings the node back.
	eventually(t, func() bool {
		node, err := ada.GetNode(t.Context(), n.id)
		return err == nil && node.Status != api.NodeOnline
	})
	p.sql(`update public.nodes set status = 'offline'`)
	if fresh := p.node(ada, "one"); fresh.id != n.id || fresh.credential == "" {
		t.Errorf("got %+v", fresh)
	}
}

func TestANodeEndsWithTheRightOfItsOwner(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	session := p.user("ada@example.com", api.RoleDeveloper)
	n := p.node(p.client(session.AccessToken, p.a), "one")
	p.sql(`delete from public.user_roles where user_id = $1 and role = 'developer'`, session.User.ID)
	n.closed()
	if p.dialKnown(p.b, n.credential) {
		t.Error("the credential is still good")
	}
}

func TestJoinTokens(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	adaSession := p.user("ada@example.com", api.RoleDeveloper)
	ada := p.client(adaSession.AccessToken, p.a)
	make1 := func(uses int) api.JoinToken {
		t.Helper()
		j, err := ada.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{
			Uses: uses, TTLSeconds: 60, Labels: map[string]string{"zone": "a"}, Taints: []api.Taint{{Key: "gpu", Effect: api.NoSchedule}},
		})
		if err != nil || j.State != api.TokenActive {
			t.Fatalf("%+v, %v", j, err)
		}
		return j
	}
	used, revoked, expired := make1(1), make1(5), make1(5)
	n := p.join(p.b, "one", used.Token)
	if got, err := ada.GetNode(t.Context(), n.id); err != nil || got.Labels["zone"] != "a" || len(got.Taints) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	waiting := p.dial(p.a, revoked.Token) // it has shown the token, and not used it
	if err := ada.RevokeJoinToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	if got := waiting.ask(wire.TypeRegister, register("two")); got != fault.TokenInvalid {
		t.Errorf("a node joins by a token revoked meanwhile: %q", got)
	}
	p.sql(`update stark.join_tokens set expires_at = now() where id = $1`, expired.ID)
	for name, token := range map[string]string{"used": used.Token, "revoked": revoked.Token, "expired": expired.Token} {
		if p.dialKnown(p.a, token) {
			t.Errorf("a token that was %s opens a socket", name)
		}
		if status, _ := p.rest(http.MethodGet, p.a+"/api/nodes", token, nil); status != http.StatusUnauthorized {
			t.Errorf("a join token at REST: %d", status)
		}
	}
	states := map[string]api.TokenState{}
	list, err := ada.ListJoinTokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range list {
		if j.Token != "" {
			t.Error("a secret is listed")
		}
		states[j.ID] = j.State
	}
	if states[used.ID] != api.TokenUsed || states[revoked.ID] != api.TokenRevoked || states[expired.ID] != api.TokenExpired {
		t.Errorf("states %v", states)
	}
	eve := p.client(p.user("eve@example.com", api.RoleDeveloper).AccessToken, p.a)
	if list, err := eve.ListJoinTokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("another developer sees %v, %v", list, err)
	}
	if got := fault.CodeOf(eve.RevokeJoinToken(t.Context(), expired.ID)); got != fault.NotFound {
		t.Errorf("another developer revokes it: %s", got)
	}
	late := make1(1)
	p.sql(`delete from public.user_roles where user_id = $1 and role = 'developer'`, adaSession.User.ID)
	s := p.dial(p.a, late.Token)
	if got := s.ask(wire.TypeRegister, register("three")); got == "" {
		t.Error("a node joins by the token of somebody who may not register nodes any more")
	}
}
