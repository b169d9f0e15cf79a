package auth_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stark-orchestrator/stark/server/rest/auth"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Everybody comes with the new key at once, and the endpoint is not next door.
func TestABurstAtARotationIsAdmitted(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.ecKey(t, "k1")
	v := p.verifier(t, func(c *auth.Config) { c.UnknownKIDPeriod = time.Hour })
	start, answer := p.fetches.Load(), make(chan struct{})
	p.hold.Store(&answer)
	token := sign(t, jwt.SigningMethodES256, "k2", p.ecKey(t, "k2"), claims())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Errorf("the rotated key: %v", err)
			}
		})
	}
	p.asked(t, start+1)
	close(answer)
	wg.Wait()
	if n := p.fetches.Load() - start; n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// Made-up key ids that come while an endpoint does not answer hold nobody up who
// comes with a known key.
func TestAFloodAgainstASlowEndpoint(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, nil)
	known := sign(t, jwt.SigningMethodES256, "k1", key, claims())
	forged := sign(t, jwt.SigningMethodES256, "made-up", key, claims())
	start, answer := p.fetches.Load(), make(chan struct{})
	p.hold.Store(&answer)
	var wg sync.WaitGroup
	var refused atomic.Int32
	for range 50 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), forged); err == nil {
				t.Error("a made-up key id is believed")
			}
			refused.Add(1)
		})
	}
	p.asked(t, start+1)
	if _, err := v.Verify(t.Context(), known); err != nil {
		t.Errorf("a known key: %v", err)
	}
	if n := refused.Load(); n > 0 {
		t.Errorf("the known key was held up until %d others were refused", n)
	}
	close(answer)
	wg.Wait()
}

// What answers 200 but is no key set, such as the page of a proxy, takes no key away.
func TestAnAnswerThatIsNoKeySetChangesNothing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"another object": `{"message":"upstream is starting"}`, "a page": "<html>", "nothing": "", "keys that are no list": `{"keys":{}}`,
		"null": `{"keys":null}`, "cut off": `{"keys":[`, "huge": `{"keys":[],"pad":"` + string(make([]byte, 300<<10)) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			key := p.ecKey(t, "k1")
			v := p.verifier(t, func(c *auth.Config) { c.RefreshInterval, c.UnknownKIDPeriod = 10*time.Millisecond, time.Millisecond })
			p.instead.Store(&body)
			seen := p.fetches.Load()
			for deadline := time.Now().Add(time.Minute); p.fetches.Load() < seen+3; wait(t, 5*time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it is not asked again")
				}
			}
			if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, claims())); err != nil {
				t.Errorf("the known key: %v", err)
			}
			if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k9", key, claims())); fault.CodeOf(err) != fault.Unavailable {
				t.Errorf("an unknown key: %v", err)
			}
		})
	}
}

// The endpoint is fixed: what a token's own header points at is never asked.
func TestAHeaderCannotBringItsOwnKey(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(evil.Close)
	p, stranger := newProject(t), newProject(t)
	good := p.ecKey(t, "k1")
	key := stranger.ecKey(t, "k1")
	v := p.verifier(t, nil)
	signed := func(signer any, header map[string]any) string {
		t.Helper()
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims())
		token.Header["kid"] = "k1"
		maps.Copy(token.Header, header)
		s, err := token.SignedString(signer)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, token := range map[string]string{
		"jku":  signed(key, map[string]any{"jku": evil.URL + "/jku"}),
		"x5u":  signed(key, map[string]any{"x5u": evil.URL + "/x5u"}),
		"jwk":  signed(key, map[string]any{"jwk": stranger.keys[0]}),
		"kid":  signed(key, map[string]any{"kid": evil.URL + "/kid"}),
		"path": signed(key, map[string]any{"kid": "../../../../dev/null"}),
		"list": signed(key, map[string]any{"kid": []string{"k1"}}),
		"crit": signed(good, map[string]any{"crit": []string{"b64"}, "b64": true}),
	} {
		if _, err := v.Verify(t.Context(), token); fault.CodeOf(err) != fault.TokenInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("asked %s", <-asked)
	}
}

// Clocks may differ by seconds, in both directions, and not by more.
func TestClockSkewIsBounded(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, nil)
	now := time.Now()
	for name, tt := range map[string]struct {
		claim string
		value any
		want  fault.Code
	}{
		"expired for 5 s":             {"exp", now.Add(-5 * time.Second).Unix(), ""},
		"expired for 15 s":            {"exp", now.Add(-15 * time.Second).Unix(), fault.TokenExpired},
		"expired in 1970":             {"exp", 1, fault.TokenExpired},
		"expiry below zero":           {"exp", -1, fault.TokenExpired},
		"expiry that is text":         {"exp", "tomorrow", fault.TokenInvalid},
		"expiry that is null":         {"exp", nil, fault.TokenInvalid},
		"good in 5 s":                 {"nbf", now.Add(5 * time.Second).Unix(), ""},
		"good in 15 s":                {"nbf", now.Add(15 * time.Second).Unix(), fault.TokenInvalid},
		"issued in 5 s":               {"iat", now.Add(5 * time.Second).Unix(), ""},
		"issued in an hour":           {"iat", now.Add(time.Hour).Unix(), fault.TokenInvalid},
		"anonymous that is text":      {"is_anonymous", "false", fault.TokenInvalid},
		"role that is a list":         {"role", []string{"authenticated"}, fault.TokenInvalid},
		"role in other letters":       {"role", "Authenticated", fault.TokenInvalid},
		"audience that is an object":  {"aud", map[string]any{"authenticated": true}, fault.TokenInvalid},
		"an empty list of audiences":  {"aud", []string{}, fault.TokenInvalid},
		"issuer with a slash more":    {"iss", issuer + "/", fault.TokenInvalid},
		"issuer that is a list":       {"iss", []string{issuer}, fault.TokenInvalid},
		"session id that is a number": {"session_id", 7, fault.TokenInvalid},
	} {
		_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { c[tt.claim] = tt.value })))
		if got := fault.CodeOf(err); got != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// Whoever sends a key in place of a token is told so.
func TestAPIKeysAreNoTokens(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	v := p.verifier(t, func(c *auth.Config) { c.Secret = secret })
	legacy := func(role string) string {
		return sign(t, jwt.SigningMethodHS256, "", []byte(secret), jwt.MapClaims{"iss": "supabase-demo", "role": role, "exp": time.Now().Add(time.Hour).Unix()})
	}
	for name, key := range map[string]string{
		"publishable": "sb_publishable_abcdefghijklmnop_12345678", "secret": "sb_secret_abcdefghijklmnop_12345678",
		"anon": legacy("anon"), "service": legacy("service_role"),
		"service with a user": sign(t, jwt.SigningMethodHS256, "", []byte(secret), claims(func(c jwt.MapClaims) { c["role"] = "service_role" })),
	} {
		_, err := v.Verify(t.Context(), key)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.TokenInvalid {
			t.Errorf("%s: %v", name, err)
		} else if want := "this is an API key of the project, not a user's access token; sign in"; f.Message != want && name != "service with a user" {
			t.Errorf("%s: told %q", name, f.Message)
		}
	}
}

// Tokens are judged by the clock that is given, also those that were believed before.
func TestTokensAreJudgedByTheGivenClock(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	now := time.Now()
	v := p.verifier(t, func(c *auth.Config) { c.Now = func() time.Time { return now } })
	fresh := sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) {
		c["iat"], c["exp"] = now.Unix(), now.Add(time.Hour).Unix()
	}))
	for _, s := range []struct {
		later time.Duration
		want  fault.Code
	}{{-10 * time.Minute, fault.TokenInvalid}, {10 * time.Minute, ""}, {70 * time.Minute, fault.TokenExpired}} {
		begin := now
		now = now.Add(s.later)
		if _, err := v.Verify(t.Context(), fresh); fault.CodeOf(err) != s.want {
			t.Errorf("%s after it was issued: %v, want %q", s.later, err, s.want)
		}
		now = begin
	}
}
