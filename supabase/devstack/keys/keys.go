// Package keys makes, keeps and uses the secrets of one local stack: the ES256 key that signs access
// tokens, the symmetric secret of the older kind, and the API keys of both generations. They are made at
// the first start of a state folder and are worth nothing outside it.
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

// Set holds the keys. It is safe for concurrent use.
type Set struct {
	JWTSecret      string // signs and verifies HS256
	AnonKey        string // JWT of role anon
	ServiceRoleKey string // JWT of role service_role: bypasses row level security
	PublishableKey string // sb_publishable_..., stands for AnonKey
	SecretKey      string // sb_secret_..., stands for ServiceRoleKey
	KeyID          string // of the ES256 key

	private *ecdsa.PrivateKey
	jwks    []byte
}

// file is the form on disk.
type file struct {
	JWTSecret      string `json:"jwtSecret"`
	AnonKey        string `json:"anonKey"`
	ServiceRoleKey string `json:"serviceRoleKey"`
	PublishableKey string `json:"publishableKey"`
	SecretKey      string `json:"secretKey"`
	KeyID          string `json:"keyId"`
	PrivateKey     string `json:"privateKey"`
}

const fileName = "keys.json"

// Load reads the keys of state folder dir, and makes them there when it has none. The caller keeps others
// from doing the same at the same time.
func Load(dir string) (*Set, error) {
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s is damaged (remove it to make new keys): %w", path, err)
	}
	s, err := f.set()
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (remove it to make new keys): %w", path, err)
	}
	return s, nil
}

func create(path string) (*Set, error) {
	f, err := generate()
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	// Written aside and renamed: a start that is killed here leaves no half a file.
	partial := path + ".partial"
	if err := os.WriteFile(partial, text, 0o600); err != nil {
		return nil, fmt.Errorf("write the keys: %w", err)
	}
	if err := os.Rename(partial, path); err != nil {
		return nil, fmt.Errorf("write the keys: %w", err)
	}
	return f.set()
}

func generate() (file, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return file{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return file{}, err
	}
	f := file{
		JWTSecret:      rand.Text() + rand.Text(),
		PublishableKey: "sb_publishable_" + rand.Text(),
		SecretKey:      "sb_secret_" + rand.Text() + rand.Text(),
		KeyID:          uuid.NewString(),
		PrivateKey:     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
	expires := time.Now().AddDate(10, 0, 0).Unix()
	for role, key := range map[string]*string{"anon": &f.AnonKey, "service_role": &f.ServiceRoleKey} {
		claims := jwt.MapClaims{"iss": "supabase-demo", "role": role, "exp": expires}
		if *key, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(f.JWTSecret)); err != nil {
			return file{}, err
		}
	}
	return f, nil
}

func (f file) set() (*Set, error) {
	if f.JWTSecret == "" || f.AnonKey == "" || f.ServiceRoleKey == "" || f.PublishableKey == "" || f.SecretKey == "" || f.KeyID == "" {
		return nil, errors.New("a key is missing")
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	if block == nil {
		return nil, errors.New("the private key is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an elliptic curve key")
	}
	jwks, err := publicSet(f.KeyID, &private.PublicKey)
	if err != nil {
		return nil, err
	}
	return &Set{
		JWTSecret: f.JWTSecret, AnonKey: f.AnonKey, ServiceRoleKey: f.ServiceRoleKey,
		PublishableKey: f.PublishableKey, SecretKey: f.SecretKey, KeyID: f.KeyID,
		private: private, jwks: jwks,
	}, nil
}

func publicSet(id string, public *ecdsa.PublicKey) ([]byte, error) {
	point, err := public.Bytes() // 0x04, x, y
	if err != nil {
		return nil, err
	}
	half := (len(point) - 1) / 2
	coordinate := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]any{"keys": []any{map[string]any{
		"alg": "ES256", "crv": "P-256", "key_ops": []string{"verify"}, "kid": id, "kty": "EC", "use": "sig",
		"x": coordinate(point[1 : 1+half]), "y": coordinate(point[1+half:]),
	}}})
}

// JWKS is the public key set as JSON. The symmetric secret is never part of it.
func (s *Set) JWKS() []byte { return s.jwks }

// Sign makes an access token with the ES256 key.
func (s *Set) Sign(claims map[string]any) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims(claims))
	token.Header["kid"] = s.KeyID
	signed, err := token.SignedString(s.private)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed, nil
}

// SignLegacy makes a token with the symmetric secret.
func (s *Set) SignLegacy(claims map[string]any) (string, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString([]byte(s.JWTSecret))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed, nil
}

// Verify checks signature and expiry of a token of either kind and returns its claims.
func (s *Set) Verify(token string) (map[string]any, error) {
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		if t.Method.Alg() == jwt.SigningMethodHS256.Alg() {
			return []byte(s.JWTSecret), nil
		}
		if kid, ok := t.Header["kid"].(string); ok && kid != s.KeyID {
			return nil, errors.New("unknown key id")
		}
		return &s.private.PublicKey, nil
	}, jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg(), jwt.SigningMethodES256.Alg()}))
	if err != nil {
		return nil, err
	}
	return claims, nil
}
