package keys

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func load(t *testing.T, dir string) *Set {
	t.Helper()
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadKeepsTheKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := load(t, dir), load(t, dir)
	if first.AnonKey != second.AnonKey || first.SecretKey != second.SecretKey || first.KeyID != second.KeyID {
		t.Error("the second load gave other keys")
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode().Perm())
	}
	if other := load(t, t.TempDir()); other.JWTSecret == first.JWTSecret {
		t.Error("two folders share a secret")
	}
}

func TestLoadRefusesADamagedFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{}", "[", `{"jwtSecret":"a","anonKey":"b","serviceRoleKey":"c","publishableKey":"d","secretKey":"e","keyId":"f","privateKey":"g"}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("Load(%q) = %v, want a damaged file", text, err)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s, other := load(t, t.TempDir()), load(t, t.TempDir())
	claims := map[string]any{"sub": "me", "exp": time.Now().Add(time.Hour).Unix()}
	sign := func(f func(map[string]any) (string, error), claims map[string]any) string {
		token, err := f(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims(claims)).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, token string
		ok          bool
	}{
		{"ES256", sign(s.Sign, claims), true},
		{"HS256", sign(s.SignLegacy, claims), true},
		{"anon key", s.AnonKey, true},
		{"expired", sign(s.Sign, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), false},
		{"another stack's", sign(other.Sign, claims), false},
		{"another secret", sign(other.SignLegacy, claims), false},
		{"none", none, false},
		{"garbage", "garbage", false},
	} {
		got, err := s.Verify(test.token)
		if (err == nil) != test.ok {
			t.Errorf("%s: Verify = %v, %v; want ok = %v", test.name, got, err, test.ok)
		}
	}
}

func TestJWKSHoldsThePublicKeyOnly(t *testing.T) {
	t.Parallel()
	s := load(t, t.TempDir())
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(s.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != s.KeyID || set.Keys[0]["alg"] != "ES256" {
		t.Errorf("keys = %v", set.Keys)
	}
	if _, private := set.Keys[0]["d"]; private || strings.Contains(string(s.JWKS()), s.JWTSecret) {
		t.Error("a secret is in the public set")
	}
}
