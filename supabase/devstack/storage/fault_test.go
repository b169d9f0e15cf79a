package storage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

func TestErrorsCarryStorageCodes(t *testing.T) {
	t.Parallel()
	r := newRig(t, `"file_size_limit":2000`, `"allowed_mime_types":["text/plain","image/*"]`)
	r.put(t, "there", "content")
	tests := []struct {
		name                       string
		got                        func(t *testing.T) answer
		statusCode, errName, code string
	}{
		{"bucket absent", func(t *testing.T) answer { return r.get(t, "/bucket/none", service()) }, "404", "Bucket not found", "NoSuchBucket"},
		{"bucket hidden", func(t *testing.T) answer { return r.get(t, "/bucket/"+r.bucket, anon()) }, "404", "Bucket not found", "NoSuchBucket"},
		{"object in absent bucket", func(t *testing.T) answer { return r.get(t, "/object/none/x", service()) }, "404", "Bucket not found", "NoSuchBucket"},
		{"object absent", func(t *testing.T) answer { return r.get(t, r.object("none"), service()) }, "404", "not_found", "NoSuchKey"},
		{"object hidden", func(t *testing.T) answer { return r.get(t, r.object("there"), user(alice)) }, "404", "not_found", "NoSuchKey"},
		{"bucket exists", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":"`+r.bucket+`"}`) }, "409", "Duplicate", "BucketAlreadyExists"},
		{"object exists", func(t *testing.T) answer { return r.do(t, "POST", r.object("there"), service(), strings.NewReader("x"), "Content-Type: text/plain") }, "409", "Duplicate", "KeyAlreadyExists"},
		{"sign-upload of existing", func(t *testing.T) answer { return r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/there", service(), `{}`) }, "409", "Duplicate", "KeyAlreadyExists"},
		{"policies refuse insert", func(t *testing.T) answer { return r.do(t, "POST", r.object("new"), user(alice), strings.NewReader("x"), "Content-Type: text/plain") }, "403", "Unauthorized", "AccessDenied"},
		{"policies refuse bucket", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", user(alice), `{"name":"x`+r.bucket+`"}`) }, "403", "Unauthorized", "AccessDenied"},
		{"policies refuse delete", func(t *testing.T) answer { return r.do(t, "DELETE", r.object("there"), user(alice), nil) }, "403", "Unauthorized", "AccessDenied"},
		{"garbage token", func(t *testing.T) answer { return r.get(t, "/bucket", "garbage") }, "403", "Unauthorized", "AccessDenied"},
		{"expired token", func(t *testing.T) answer {
			return r.get(t, "/bucket", token(map[string]any{"role": "anon", "exp": time.Now().Add(-time.Hour).Unix()}))
		}, "403", "Unauthorized", "AccessDenied"},
		{"no authorization", func(t *testing.T) answer { return r.get(t, "/bucket", "") }, "400", "Error", "InvalidRequest"},
		{"no authorization for a private object", func(t *testing.T) answer { return r.get(t, r.object("there"), "") }, "400", "Error", "InvalidRequest"},
		{"too large by length", func(t *testing.T) answer { return r.do(t, "POST", r.object("big"), service(), strings.NewReader(strings.Repeat("x", 2001)), "Content-Type: text/plain") }, "413", "Payload too large", "EntityTooLarge"},
		{"too large in chunks", func(t *testing.T) answer { return r.do(t, "POST", r.object("big"), service(), unsized(2001), "Content-Type: text/plain") }, "413", "Payload too large", "EntityTooLarge"},
		{"type not allowed", func(t *testing.T) answer { return r.do(t, "POST", r.object("t"), service(), strings.NewReader("x"), "Content-Type: text/plain;charset=UTF-8") }, "415", "invalid_mime_type", "InvalidMimeType"},
		{"no type at all", func(t *testing.T) answer { return r.do(t, "POST", r.object("t"), service(), strings.NewReader("x")) }, "415", "invalid_mime_type", "InvalidMimeType"},
		{"bad key", func(t *testing.T) answer { return r.do(t, "POST", r.object("a%23b"), service(), strings.NewReader("x"), "Content-Type: text/plain") }, "400", "InvalidKey", "InvalidKey"},
		{"dots in a key", func(t *testing.T) answer { return r.do(t, "POST", r.object("a/%2e%2e/b"), service(), strings.NewReader("x"), "Content-Type: text/plain") }, "400", "InvalidKey", "InvalidKey"},
		{"foreign letters in a key", func(t *testing.T) answer { return r.get(t, r.object("%C3%A4"), service()) }, "400", "InvalidKey", "InvalidKey"},
		{"long key", func(t *testing.T) answer { return r.get(t, r.object(strings.Repeat("k", 1025)), service()) }, "400", "InvalidKey", "InvalidKey"},
		{"bad bucket name", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":"a/b"}`) }, "400", "Invalid Input", "InvalidBucketName"},
		{"padded bucket name", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":" a"}`) }, "400", "Invalid Input", "InvalidBucketName"},
		{"missing field", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{}`) }, "400", "Error", "InvalidRequest"},
		{"wrong field type", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":5}`) }, "400", "Error", "InvalidRequest"},
		{"body is null", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `null`) }, "400", "Error", "InvalidRequest"},
		{"body of another type", func(t *testing.T) answer { return r.do(t, "POST", "/bucket", service(), strings.NewReader(`{"name":"x"}`), "Content-Type: text/plain") }, "400", "Error", "InvalidRequest"},
		{"malformed JSON", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":`) }, "400", "FastifyError", "InvalidRequest"},
		{"empty JSON", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), ``) }, "400", "FastifyError", "InvalidRequest"},
		{"huge JSON", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":"`+strings.Repeat("x", 1<<20)+`"}`) }, "413", "FastifyError", "InvalidRequest"},
		{"bucket not empty", func(t *testing.T) answer { return r.do(t, "DELETE", "/bucket/"+r.bucket, anon(), nil) }, "409", "ResourceNotEmpty", "ResourceNotEmpty"},
		{"signed URL, bad token", func(t *testing.T) answer { return r.get(t, "/object/sign/"+r.bucket+"/there?token=x", "") }, "400", "InvalidJWT", "InvalidJWT"},
		{"limit above the server's", func(t *testing.T) answer { return r.json(t, "POST", "/bucket", service(), `{"name":"x`+r.bucket+`","file_size_limit":"1MB"}`) }, "413", "Payload too large", "EntityTooLarge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r.refused(t, tt.got(t), tt.statusCode, tt.errName, tt.code)
		})
	}
}

func TestTokenRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if got := r.get(t, "/bucket?search="+r.bucket, token(map[string]any{"sub": alice})); got.status != 200 || got.body != "[]\n" {
		t.Errorf("without role: got %d %s, want the empty list of anon", got.status, got.body)
	}
	r.want(t, r.get(t, "/bucket", token(map[string]any{"role": "nobody_knows"})), 500, "DatabaseError")
	r.want(t, r.get(t, "/bucket", token(map[string]any{"role": "supabase_admin"})), 500, "DatabaseError")
	if got := r.do(t, "GET", "/bucket/"+r.bucket, "", nil, "Authorization: "+service()); got.status != 200 {
		t.Errorf("raw token without Bearer: got %d %s", got.status, got.body)
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	r := bare(t, pool)
	for _, path := range []string{"/nothing", "/object", "/bucket/a/b", "/object/sign/", "/render/image/a/b"} {
		got := r.get(t, path, service())
		var m map[string]any
		got.decode(t, &m)
		if _, hasCode := m["code"]; got.status != 404 || m["statusCode"] != float64(404) || hasCode {
			t.Errorf("GET %s: got %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"/status", "/health"} {
		if got := r.get(t, path, ""); got.status != 200 {
			t.Errorf("GET %s: got %d", path, got.status)
		}
	}
}

func TestPostgresDown(t *testing.T) {
	t.Parallel()
	p, err := pgxpool.New(t.Context(), server.ConnString("supabase_storage_admin", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	r := bare(t, p)
	p.Close()
	got := r.get(t, "/bucket", service())
	r.want(t, got, 500, "InternalError")
	if got.field(t, "error") != "Internal" {
		t.Errorf("got %s", got.body)
	}
	if got := r.get(t, "/status", ""); got.status != 200 {
		t.Errorf("/status: got %d, want 200", got.status)
	}
}
