package tokens

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"testing"
)

// These make tokens by hand, since no library makes bad ones willingly.

func signingInput(t *testing.T, header, claims map[string]any) string {
	t.Helper()
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return b64(head) + "." + b64(body)
}

func unsigned(t *testing.T, alg string, claims map[string]any) string {
	t.Helper()
	return signingInput(t, map[string]any{"alg": alg, "typ": "JWT"}, claims) + "."
}

func hs256(t *testing.T, secret []byte, claims map[string]any) string {
	t.Helper()
	input := signingInput(t, map[string]any{"alg": "HS256", "typ": "JWT"}, claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

func es256(t *testing.T, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	head := map[string]any{"alg": "ES256", "typ": "JWT"}
	maps.Copy(head, header)
	input := signingInput(t, head, claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature)
}
