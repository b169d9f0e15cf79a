package tokens

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publicPoint is the project's public key, in the forms in which one may take it
// for a shared secret, and its id.
func publicPoint(t *testing.T, jwks []byte) (id string, forms [][]byte) {
	t.Helper()
	var set struct {
		Keys []struct{ Kid, X, Y string }
	}
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatalf("the key set: %v", err)
	}
	if len(set.Keys) == 0 { // a project that signs with its secret alone
		return "none", [][]byte{jwks}
	}
	x, errX := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	y, errY := base64.RawURLEncoding.DecodeString(set.Keys[0].Y)
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return set.Keys[0].Kid, [][]byte{append(append([]byte{4}, x...), y...), jwks, []byte(set.Keys[0].X)}
}

// attacks are tokens that nobody may get in by, and what they are told.
func (p *project) attacks(t *testing.T, real api.Session) map[string]string {
	t.Helper()
	good := real.AccessToken
	kid, forms := publicPoint(t, p.jwks())
	parts := strings.Split(good, ".")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Sign(claims(t, good, nil))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change map[string]any) string { return p.sign(claims(t, good, change)) }
	same := claims(t, good, nil)
	list := map[string]string{
		"another project's key":                foreign,
		"another project's key, our key id":    es256(t, stranger, map[string]any{"kid": kid}, same),
		"another project's issuer":             with(map[string]any{"iss": "https://other.supabase.co/auth/v1"}),
		"an unknown key id":                    es256(t, stranger, map[string]any{"kid": "unknown"}, same),
		"no key id":                            es256(t, stranger, nil, same),
		"expired":                              with(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"no expiry":                            with(map[string]any{"exp": nil}),
		"not yet":                              with(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"no audience":                          with(map[string]any{"aud": nil}),
		"role anon":                            with(map[string]any{"role": "anon"}),
		"role service_role":                    with(map[string]any{"role": "service_role"}),
		"role postgres":                        with(map[string]any{"role": "postgres"}),
		"no subject":                           with(map[string]any{"sub": nil}),
		"a subject that is SQL":                with(map[string]any{"sub": "' or true --"}),
		"a session that never was":             with(map[string]any{"session_id": api.NewID()}),
		"a user that never was":                with(map[string]any{"sub": api.NewID(), "session_id": nil}),
		"alg none":                             unsigned(t, "none", same),
		"alg None":                             unsigned(t, "None", same),
		"alg nonE with the signature":          unsigned(t, "nonE", same) + parts[2],
		"the signature gone":                   parts[0] + "." + parts[1] + ".",
		"the claims of an admin":               parts[0] + "." + b64([]byte(`{"sub":"`+api.NewID()+`","role":"authenticated"}`)) + "." + parts[2],
		"truncated":                            good[:len(good)-10],
		"cut in the claims":                    good[:len(parts[0])+20],
		"two of them":                          good + "." + good,
		"longer than any token":                with(map[string]any{"pad": strings.Repeat("x", 26<<10)}),
		"HS256 by an empty secret":             hs256(t, nil, same),
		"the refresh token":                    real.RefreshToken,
		"the anon key":                         p.stack.AnonKey,
		"the service-role key":                 p.stack.ServiceRoleKey,
		"the publishable key":                  p.stack.PublishableKey,
		"the secret key":                       p.stack.SecretKey,
		"the service-role key with a user":     hs256(t, []byte(p.stack.JWTSecret), claims(t, good, map[string]any{"role": "service_role"})),
		"a join token that never was":          api.JoinTokenPrefix + strings.Repeat("A", 43),
		"a node credential that never was":     api.NodeCredentialPrefix + strings.Repeat("A", 43),
		"a ticket that never was":              api.TicketPrefix + strings.Repeat("A", 43),
		"text":                                 "admin",
		"a path":                               "../../etc/passwd",
		"a key id that is a path":              es256(t, stranger, map[string]any{"kid": "../../../dev/null"}, same),
		"a key that the token brings along":    es256(t, stranger, map[string]any{"kid": kid, "jwk": map[string]any{"kty": "EC"}}, same),
		"a key set that the token points at":   es256(t, stranger, map[string]any{"kid": kid, "jku": "http://127.0.0.1:1/"}, same),
		"an extension that must be understood": es256(t, stranger, map[string]any{"kid": kid, "crit": []string{"exp"}}, same),
	}
	for i, key := range forms {
		list[fmt.Sprint("HS256 by the public key, form ", i)] = hs256(t, key, same)
	}
	return list
}

func TestNobodyGetsInByATokenThatIsNotTheirs(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	real := p.user("ada@example.com", api.RoleDeveloper)
	if status, code := p.rest(http.MethodGet, p.a+"/auth/me", real.AccessToken, nil); status != http.StatusOK {
		t.Fatalf("the real one: %d %s", status, code)
	}
	attacks := p.attacks(t, real)
	told := map[string]fault.Code{"expired": fault.TokenExpired, "a user that never was": fault.UserNotFound}
	for _, name := range slices.Sorted(maps.Keys(attacks)) {
		token := attacks[name]
		want := told[name]
		if want == "" {
			want = fault.TokenInvalid
		}
		for _, path := range []string{"/auth/me", "/api/pods", "/api/node-tokens"} {
			if status, code := p.rest(http.MethodGet, p.a+path, token, nil); status != http.StatusUnauthorized || code != want {
				t.Errorf("%s at %s: %d %s, want 401 %s", name, path, status, code, want)
			}
		}
		if status, _ := p.rest(http.MethodPost, p.a+"/api/ws-ticket", token, nil); status != http.StatusUnauthorized {
			t.Errorf("%s gets a ticket: %d", name, status)
		}
		if p.dial(p.a, token).known() {
			t.Errorf("%s is believed by a handshake", name)
		}
		s, err := p.dialWith(p.b, http.Header{}, wire.BearerSubprotocolPrefix+b64([]byte(token)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.known() {
			t.Errorf("%s is believed as a subprotocol", name)
		}
		if code := s.ask(wire.TypeAuthenticate, wire.Authenticate{Token: token}); code != want {
			t.Errorf("%s by a message: %q, want %s", name, code, want)
		}
		if code := s.ask(wire.TypeWatch, wire.Watch{WatchID: "w", Kind: "pods"}); code != fault.AuthenticationRequired {
			t.Errorf("%s watches: %q", name, code)
		}
	}
}

// A token as long as a book, and one with NULs, fit into no header: what comes of
// them is an answer, and a server that goes on.
func TestTokensThatAreNoText(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	huge := strings.Repeat("A", 1<<20)
	if status := raw(t, p.a, "GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+huge+"\r\n\r\n"); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a mebibyte: %d", status)
	}
	for name, token := range map[string]string{"a NUL": "a\x00b.c.d", "NULs": "\x00\x00.\x00.\x00", "a line": "a.b.c\x0bd", "no UTF-8": "\xff.\xfe.\xfd"} {
		if status := raw(t, p.a, "GET /auth/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\n\r\n"); status != http.StatusBadRequest && status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
		s := p.dial(p.a, "")
		s.await(wire.TypeConnected)
		if code := s.ask(wire.TypeAuthenticate, wire.Authenticate{Token: token}); code != fault.TokenInvalid {
			t.Errorf("%s by a message: %q", name, code)
		}
		for _, prefix := range []string{api.NodeCredentialPrefix, api.JoinTokenPrefix, api.TicketPrefix} {
			if code := s.ask(wire.TypeAuthenticate, wire.Authenticate{Token: prefix + token}); code != fault.TokenInvalid {
				t.Errorf("%s%s by a message: %q", prefix, name, code)
			}
		}
	}
	s := p.dial(p.a, "")
	s.await(wire.TypeConnected)
	s.send(wire.TypeAuthenticate, wire.Authenticate{Token: huge})
	if code := s.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("a mebibyte by a message: closed with %d", code)
	}
	long := p.dial(p.a, "")
	long.await(wire.TypeConnected)
	if code := long.ask(wire.TypeAuthenticate, wire.Authenticate{Token: huge[:900<<10]}); code != fault.TokenInvalid {
		t.Errorf("900 KiB by a message: %q", code)
	}
	if _, err := p.admin.Whoami(t.Context()); err != nil {
		t.Errorf("the server afterwards: %v", err)
	}
}

// raw sends bytes and gives the status of the answer.
func raw(t *testing.T, url, request string) int {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write([]byte(request)) }() // the server may hang up before it has all of it
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Whatever a token or its user says about roles, the table decides.
func TestRolesComeFromTheTableAlone(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada := p.user("ada@example.com", api.RoleViewer)
	admin := map[string]any{"roles": []string{"admin"}, "role": "admin", "stark": map[string]any{"roles": []string{"admin"}}}
	status, _ := p.rest(http.MethodPut, p.stack.URL+"/auth/v1/user?apikey="+p.stack.PublishableKey, ada.AccessToken, map[string]any{"data": admin})
	if status != http.StatusOK {
		t.Fatalf("the user writes their metadata: %d", status)
	}
	for name, token := range map[string]string{
		"user metadata":        p.signIn("ada@example.com").AccessToken,
		"the hook's claim":     p.sign(claims(t, ada.AccessToken, map[string]any{"stark": admin["stark"]})),
		"app metadata":         p.sign(claims(t, ada.AccessToken, map[string]any{"app_metadata": admin, "user_roles": []string{"admin"}})),
		"a claim named roles":  p.sign(claims(t, ada.AccessToken, map[string]any{"roles": []string{"admin"}, "user_role": "admin"})),
		"an is_admin claim":    p.sign(claims(t, ada.AccessToken, map[string]any{"is_admin": true, "is_super_admin": true})),
		"metadata at the root": p.sign(claims(t, ada.AccessToken, map[string]any{"user_metadata": admin})),
	} {
		u, err := p.client(token, p.a).Whoami(t.Context())
		if err != nil || len(u.Roles) != 1 || u.Roles[0] != api.RoleViewer {
			t.Errorf("%s: %v, %v", name, u.Roles, err)
		}
		for _, try := range []struct{ method, path string }{
			{http.MethodGet, "/auth/users"}, {http.MethodPost, "/api/node-tokens"}, {http.MethodPost, "/api/packs"},
		} {
			if status, code := p.rest(try.method, p.a+try.path, token, map[string]any{}); status != http.StatusForbidden || code != fault.Forbidden {
				t.Errorf("%s: %s %s: %d %s", name, try.method, try.path, status, code)
			}
		}
		s := p.dial(p.a, token)
		s.await(wire.TypeConnected)
		if code := s.ask(wire.TypeRegister, register("mine")); code != fault.Forbidden {
			t.Errorf("%s registers a node: %q", name, code)
		}
	}
	anonymous := p.sign(claims(t, p.user("admin2@example.com", api.RoleAdmin).AccessToken, map[string]any{"is_anonymous": true}))
	if status, code := p.rest(http.MethodGet, p.a+"/auth/users", anonymous, nil); status != http.StatusForbidden {
		t.Errorf("an anonymous token of an admin: %d %s", status, code)
	}
	if p.dial(p.a, anonymous).known() {
		t.Error("an anonymous token opens a socket")
	}
}

func register(name string) wire.Register {
	return wire.Register{RegisterNodeRequest: api.RegisterNodeRequest{
		Name: name, RuntimeType: api.RuntimeNode, Allocatable: &api.Capacity{CPU: 1000, Memory: 512, Pods: 5},
	}}
}
