package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/stark-orchestrator/stark/server/rest/auth"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

const (
	issuer = "http://project.example/auth/v1"
	secret = "a-shared-secret-of-at-least-32-characters"
	userID = "0190b2f5-7c1a-7d3e-9f00-00000000aaaa"
)

// project is a JWKS endpoint whose keys can change and which can go away.
type project struct {
	srv     *httptest.Server
	fetches atomic.Int32
	down    atomic.Bool
	hold    atomic.Pointer[chan struct{}] // closed when answers may go out; nil holds none back
	instead atomic.Pointer[string]        // what is answered in place of the keys

	mu   sync.Mutex
	keys []map[string]any
}

func newProject(t *testing.T) *project {
	t.Helper()
	p := &project{}
	p.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		if p.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if body := p.instead.Load(); body != nil {
			_, _ = w.Write([]byte(*body))
			return
		}
		if hold := p.hold.Load(); hold != nil {
			select {
			case <-*hold:
			case <-t.Context().Done():
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": p.keys}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(p.srv.Close)
	return p
}

// asked waits until the endpoint was asked so often.
func (p *project) asked(t *testing.T, n int32) {
	t.Helper()
	for p.fetches.Load() < n {
		if t.Context().Err() != nil {
			t.Fatal("the endpoint is not asked")
		}
		wait(t, time.Millisecond)
	}
}

func (p *project) add(key map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, key)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *project) ecKey(t *testing.T, kid string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p.add(map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:])})
	return key
}

func (p *project) verifier(t *testing.T, change func(*auth.Config)) *auth.Verifier {
	t.Helper()
	c := auth.Config{JWKSURL: p.srv.URL, Issuer: issuer}
	c.Logger = loggingtest.New(t).Logger
	if change != nil {
		change(&c)
	}
	v, err := auth.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func claims(change ...func(jwt.MapClaims)) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": issuer, "sub": userID, "aud": "authenticated", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"role": "authenticated", "email": "a@b.example", "session_id": "s1", "is_anonymous": false, "stark": map[string]any{"roles": []string{"admin"}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, kid string, key any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVerifyES256(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, nil)
	c := claims()
	id, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, c))
	if err != nil {
		t.Fatal(err)
	}
	if id.UserID != userID || id.Email != "a@b.example" || id.SessionID != "s1" || id.Anonymous || len(id.Roles) != 0 || id.ExpiresAt.Before(time.Now()) {
		t.Errorf("got %+v", id)
	}
	var raw map[string]any
	if err := json.Unmarshal(id.Claims, &raw); err != nil || raw["sub"] != userID || raw["role"] != "authenticated" {
		t.Errorf("claims %s: %v", id.Claims, err)
	}
	c["aud"], c["is_anonymous"] = []string{"other", "authenticated"}, true
	if id, err = v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, c)); err != nil || !id.Anonymous {
		t.Errorf("a list as audience: %+v %v", id, err)
	}
}

func TestVerifyRS256(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.add(map[string]any{"kty": "RSA", "kid": "r1", "alg": "RS256", "use": "sig", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())})
	v := p.verifier(t, nil)
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS256, "r1", key, claims())); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodRS512, "r1", key, claims())); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("RS512: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	// An HMAC secret in the key set, as the Supabase CLI publishes it, must sign nothing.
	p.add(map[string]any{"kty": "oct", "kid": "o1", "alg": "HS256", "k": b64([]byte(secret))})
	v := p.verifier(t, nil)
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) string {
		return sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { c[name] = value }))
	}
	without := func(name string) string {
		return sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { delete(c, name) }))
	}
	good := sign(t, jwt.SigningMethodES256, "k1", key, claims())
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"empty": "", "garbage": "a.b.c", "two parts": "a.b", "api key": "sb_publishable_abc",
		"none":                         sign(t, jwt.SigningMethodNone, "k1", jwt.UnsafeAllowNoneSignatureType, claims()),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"HS256 without configuration":  sign(t, jwt.SigningMethodHS256, "", []byte(secret), claims()),
		"HS256 by the set's secret":    sign(t, jwt.SigningMethodHS256, "o1", []byte(secret), claims()),
		"HS256 by the public key":      sign(t, jwt.SigningMethodHS256, "k1", point, claims()),
		"ES256 naming the oct key":     sign(t, jwt.SigningMethodES256, "o1", key, claims()),
		"a stranger's key":             sign(t, jwt.SigningMethodES256, "k1", stranger, claims()),
		"no key id":                    sign(t, jwt.SigningMethodES256, "", key, claims()),
		"changed claims":               parts[0] + "." + b64([]byte(`{"sub":"`+userID+`"}`)) + "." + parts[2],
		"wrong issuer":                 with("iss", "https://evil.example/auth/v1"),
		"no issuer":                    without("iss"),
		"wrong audience":               with("aud", "anon"),
		"no audience":                  without("aud"),
		"no expiry":                    without("exp"),
		"not yet":                      with("nbf", time.Now().Add(time.Hour).Unix()),
		"service role":                 with("role", "service_role"),
		"no role":                      without("role"),
		"no subject":                   without("sub"),
		"a subject that is no user id": with("sub", "root"),
		"a subject that is no string":  with("sub", 7),
		"huge":                         with("pad", strings.Repeat("x", 64<<10)),
	} {
		if id, err := v.Verify(t.Context(), token); fault.CodeOf(err) != fault.TokenInvalid || id.UserID != "" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestVerifyExpiry(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, nil)
	at := func(d time.Duration) error {
		_, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, claims(func(c jwt.MapClaims) { c["exp"] = time.Now().Add(d).Unix() })))
		return err
	}
	if err := at(-time.Minute); fault.CodeOf(err) != fault.TokenExpired {
		t.Errorf("a minute ago: %v", err)
	}
	if err := at(-3 * time.Second); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged := sign(t, jwt.SigningMethodES256, "k1", stranger, claims(func(c jwt.MapClaims) { c["exp"] = 1 }))
	if _, err := v.Verify(t.Context(), forged); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("expired and forged: %v", err)
	}
}

func TestVerifyHS256(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, func(c *auth.Config) { c.Secret = secret })
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, "", []byte(secret), claims())); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, "", []byte("another secret of some length, too"), claims())); fault.CodeOf(err) != fault.TokenInvalid {
		t.Errorf("another secret: %v", err)
	}
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, claims())); err != nil {
		t.Errorf("ES256 beside it: %v", err)
	}
}

// A new key is taken in after one fetch; made-up key ids cost no more than that.
func TestRotationAndKeyFlood(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.ecKey(t, "k1")
	v := p.verifier(t, func(c *auth.Config) { c.UnknownKIDPeriod = time.Hour })
	start := p.fetches.Load()
	next := p.ecKey(t, "k2")
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k2", next, claims())); err != nil {
		t.Errorf("the rotated key: %v", err)
	}
	for i := range 50 {
		if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, fmt.Sprint("bogus", i), next, claims())); fault.CodeOf(err) != fault.TokenInvalid {
			t.Fatalf("made-up key id: %v", err)
		}
	}
	if n := p.fetches.Load() - start; n != 1 {
		t.Errorf("%d fetches for one new key and 50 made-up ones", n)
	}
}

// While the endpoint is down the known keys stay good, and an unknown one is an
// outage, not a forgery. When it is back, it is asked soon.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, func(c *auth.Config) { c.UnknownKIDPeriod = 20 * time.Millisecond })
	p.down.Store(true)
	late := p.ecKey(t, "k2")
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, claims())); err != nil {
		t.Errorf("a known key: %v", err)
	}
	token := sign(t, jwt.SigningMethodES256, "k2", late, claims())
	if _, err := v.Verify(t.Context(), token); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an unknown key: %v", err)
	}
	p.down.Store(false)
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := v.Verify(t.Context(), token)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not accepted: %v", err)
		}
		wait(t, 10*time.Millisecond)
	}
}

func TestRefreshDropsRevokedKeys(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	key := p.ecKey(t, "k1")
	v := p.verifier(t, func(c *auth.Config) { c.RefreshInterval = 20 * time.Millisecond })
	token := sign(t, jwt.SigningMethodES256, "k1", key, claims())
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.keys = []map[string]any{}
	p.mu.Unlock()
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := v.Verify(t.Context(), token); fault.CodeOf(err) == fault.TokenInvalid {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a revoked key is still believed")
		}
		wait(t, 10*time.Millisecond)
	}
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := auth.New(t.Context(), auth.Config{JWKSURL: "http://127.0.0.1:1"}); err == nil {
		t.Error("no issuer is accepted")
	}
	if _, err := auth.New(t.Context(), auth.Config{JWKSURL: "no url", Issuer: issuer}); err == nil {
		t.Error("a bad address is accepted")
	}
	v, err := auth.New(t.Context(), auth.Config{JWKSURL: "http://127.0.0.1:1/jwks", Issuer: issuer})
	if err != nil {
		t.Fatalf("a project that is away at start: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodES256, "k1", key, maps.Clone(claims()))); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no key was ever seen: %v", err)
	}
}
