package storage_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
	"github.com/stark-orchestrator/stark/supabase/devstack/storage"
)

// One Postgres serves the package; each test has buckets and policies of its own.
var (
	server *pg.Server
	pool   *pgxpool.Pool // as Storage logs in
	admin  *pgxpool.Pool // for policies
)

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "storage tests:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	ctx := context.Background()
	server, err = pg.Start(ctx, pg.Options{})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop(ctx)) }()
	if pool, err = pgxpool.New(ctx, server.ConnString("supabase_storage_admin", "postgres")); err != nil {
		return 1, err
	}
	defer pool.Close()
	if admin, err = pgxpool.New(ctx, server.ConnString("postgres", "postgres")); err != nil {
		return 1, err
	}
	defer admin.Close()
	return m.Run(), nil
}

var secret = []byte("a secret of the tests that is long enough for HS256")

func sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString(payload)
	return text + "." + enc.EncodeToString(mac(text)), nil
}

func mac(text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func verify(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("Invalid Compact JWS")
	}
	sum, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(sum, mac(parts[0]+"."+parts[1])) {
		return nil, errors.New("signature verification failed")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, err
	}
	if exp, ok := claims["exp"].(float64); ok && time.Now().Unix() >= int64(exp) {
		return nil, errors.New("token is expired")
	}
	return claims, nil
}

func token(claims map[string]any) string {
	text, err := sign(claims)
	if err != nil {
		panic(err)
	}
	return text
}

func service() string { return token(map[string]any{"role": "service_role"}) }
func anon() string    { return token(map[string]any{"role": "anon"}) }
func user(id string) string {
	return token(map[string]any{"role": "authenticated", "sub": id, "exp": time.Now().Add(time.Hour).Unix()})
}

// rig is one storage service with a bucket of its own.
type rig struct {
	url    string
	dir    string
	bucket string
}

const maxBytes = 4000

func newRig(t *testing.T, options ...string) *rig {
	t.Helper()
	r := bare(t, pool)
	body := `{"name":"` + r.bucket + `"` + strings.Join(append([]string{""}, options...), ",") + `}`
	r.want(t, r.json(t, "POST", "/bucket", service(), body), 200, "")
	return r
}

func bare(t *testing.T, p *pgxpool.Pool) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), bucket: "b-" + strings.ToLower(rand.Text()[:12])}
	r.serve(t, p)
	return r
}

func (r *rig) serve(t *testing.T, p *pgxpool.Pool) {
	t.Helper()
	h, err := storage.New(storage.Config{
		Pool: p, Dir: r.dir, Verify: verify, Sign: sign, MaxBytes: maxBytes, Durable: true,
		Logger: loggingtest.New(t).Logger,
	})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	r.url = srv.URL
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
}

func (a answer) field(t *testing.T, name string) string {
	t.Helper()
	var m map[string]any
	a.decode(t, &m)
	return fmt.Sprint(m[name])
}

func (r *rig) do(t *testing.T, method, path, tok string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if tok != "" {
		req.Header.Set("Authorization", "Bearer "+tok)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func (r *rig) json(t *testing.T, method, path, tok, body string, headers ...string) answer {
	t.Helper()
	return r.do(t, method, path, tok, strings.NewReader(body), append([]string{"Content-Type: application/json"}, headers...)...)
}

func (r *rig) get(t *testing.T, path, tok string, headers ...string) answer {
	t.Helper()
	return r.do(t, "GET", path, tok, nil, headers...)
}

// put uploads as the service, which must succeed.
func (r *rig) put(t *testing.T, key, content string, headers ...string) {
	t.Helper()
	headers = append([]string{"Content-Type: text/plain", "X-Upsert: true"}, headers...)
	r.want(t, r.do(t, "POST", r.object(key), service(), strings.NewReader(content), headers...), 200, "")
}

func (r *rig) object(key string) string { return "/object/" + r.bucket + "/" + key }

// want checks status and code; an error's body must have exactly Storage's four fields.
func (r *rig) want(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got status %d %s, want %d %s", a.status, a.body, status, code)
	}
	if code == "" {
		return
	}
	var m map[string]any
	a.decode(t, &m)
	if m["code"] != code {
		t.Fatalf("got code %v (%s), want %s", m["code"], a.body, code)
	}
	for _, name := range []string{"statusCode", "error", "message", "code"} {
		if text, ok := m[name].(string); !ok || text == "" {
			t.Errorf("%s of %s is no text", name, a.body)
		}
	}
	if len(m) != 4 {
		t.Errorf("fields of an error: %v", maps.Keys(m))
	}
}

// refused is want for Storage's usual status line.
func (r *rig) refused(t *testing.T, a answer, statusCode, name, code string) {
	t.Helper()
	r.want(t, a, 400, code)
	if a.field(t, "statusCode") != statusCode || a.field(t, "error") != name {
		t.Errorf("got %s, want statusCode %s and error %q", a.body, statusCode, name)
	}
}

// allow writes one policy for signed-in users on this rig's objects.
func (r *rig) allow(t *testing.T, verbs ...string) {
	t.Helper()
	for _, verb := range verbs {
		clause := "using (bucket_id = '" + r.bucket + "')"
		if verb == "insert" {
			clause = "with check (bucket_id = '" + r.bucket + "')"
		}
		execute(t, fmt.Sprintf(`create policy "%s %s" on storage.objects for %s to authenticated %s`,
			r.bucket, verb, verb, clause))
	}
}

func execute(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := admin.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

const (
	alice = "11111111-1111-4111-8111-111111111111"
	bob   = "22222222-2222-4222-8222-222222222222"
)

// unsized hides a body's length, so that it is sent in chunks.
func unsized(n int) io.Reader {
	return io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("x"), n)))
}
