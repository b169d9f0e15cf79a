package storage_test

import (
	"context"
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
)

func TestErrorsCarryStorageCodes(t *testing.T) {
	t.Parallel()
	r := newRig(t, `"file_size_limit":2000`, `"allowed_mime_types":["text/plain","image/*"]`)
	r.put(t, "there", "content")
	tests := []struct {
		name                      string
		got                       request
		statusCode, errName, code string
	}{
		{"bucket absent", get("/bucket/none", service()), "404", "Bucket not found", "NoSuchBucket"},
		{"bucket hidden", get("/bucket/"+r.bucket, anon()), "404", "Bucket not found", "NoSuchBucket"},
		{"object in absent bucket", get("/object/none/x", service()), "404", "Bucket not found", "NoSuchBucket"},
		{"object absent", get(r.object("none"), service()), "404", "not_found", "NoSuchKey"},
		{"object hidden", get(r.object("there"), user(alice)), "404", "not_found", "NoSuchKey"},
		{"bucket exists", sendJSON("POST", "/bucket", service(), `{"name":"`+r.bucket+`"}`), "409", "Duplicate", "BucketAlreadyExists"},
		{"object exists", send("POST", r.object("there"), service(), strings.NewReader("x"), "Content-Type: text/plain"), "409", "Duplicate", "KeyAlreadyExists"},
		{"sign-upload of existing", sendJSON("POST", "/object/upload/sign/"+r.bucket+"/there", service(), `{}`), "409", "Duplicate", "KeyAlreadyExists"},
		{"policies refuse insert", send("POST", r.object("new"), user(alice), strings.NewReader("x"), "Content-Type: text/plain"), "403", "Unauthorized", "AccessDenied"},
		{"policies refuse bucket", sendJSON("POST", "/bucket", user(alice), `{"name":"x`+r.bucket+`"}`), "403", "Unauthorized", "AccessDenied"},
		{"policies refuse delete", send("DELETE", r.object("there"), user(alice), nil), "403", "Unauthorized", "AccessDenied"},
		{"garbage token", get("/bucket", "garbage"), "403", "Unauthorized", "AccessDenied"},
		{"expired token", get("/bucket", token(map[string]any{"role": "anon", "exp": time.Now().Add(-time.Hour).Unix()})), "403", "Unauthorized", "AccessDenied"},
		{"no authorization", get("/bucket", ""), "400", "Error", "InvalidRequest"},
		{"no authorization for a private object", get(r.object("there"), ""), "400", "Error", "InvalidRequest"},
		{"too large by length", send("POST", r.object("big"), service(), strings.NewReader(strings.Repeat("x", 2001)), "Content-Type: text/plain"), "413", "Payload too large", "EntityTooLarge"},
		{"too large in chunks", send("POST", r.object("big"), service(), unsized(2001), "Content-Type: text/plain"), "413", "Payload too large", "EntityTooLarge"},
		{"type not allowed", send("POST", r.object("t"), service(), strings.NewReader("x"), "Content-Type: text/plain;charset=UTF-8"), "415", "invalid_mime_type", "InvalidMimeType"},
		{"no type at all", send("POST", r.object("t"), service(), strings.NewReader("x")), "415", "invalid_mime_type", "InvalidMimeType"},
		{"bad key", send("POST", r.object("a%23b"), service(), strings.NewReader("x"), "Content-Type: text/plain"), "400", "InvalidKey", "InvalidKey"},
		{"dots in a key", send("POST", r.object("a/%2e%2e/b"), service(), strings.NewReader("x"), "Content-Type: text/plain"), "400", "InvalidKey", "InvalidKey"},
		{"foreign letters in a key", get(r.object("%C3%A4"), service()), "400", "InvalidKey", "InvalidKey"},
		{"long key", get(r.object(strings.Repeat("k", 1025)), service()), "400", "InvalidKey", "InvalidKey"},
		{"bad bucket name", sendJSON("POST", "/bucket", service(), `{"name":"a/b"}`), "400", "Invalid Input", "InvalidBucketName"},
		{"padded bucket name", sendJSON("POST", "/bucket", service(), `{"name":" a"}`), "400", "Invalid Input", "InvalidBucketName"},
		{"missing field", sendJSON("POST", "/bucket", service(), `{}`), "400", "Error", "InvalidRequest"},
		{"wrong field type", sendJSON("POST", "/bucket", service(), `{"name":5}`), "400", "Error", "InvalidRequest"},
		{"body is null", sendJSON("POST", "/bucket", service(), `null`), "400", "Error", "InvalidRequest"},
		{"body of another type", send("POST", "/bucket", service(), strings.NewReader(`{"name":"x"}`), "Content-Type: text/plain"), "400", "Error", "InvalidRequest"},
		{"malformed JSON", sendJSON("POST", "/bucket", service(), `{"name":`), "400", "FastifyError", "InvalidRequest"},
		{"empty JSON", sendJSON("POST", "/bucket", service(), ``), "400", "FastifyError", "InvalidRequest"},
		{"huge JSON", sendJSON("POST", "/bucket", service(), `{"name":"`+strings.Repeat("x", 1<<20)+`"}`), "413", "FastifyError", "InvalidRequest"},
		{"bucket not empty", send("DELETE", "/bucket/"+r.bucket, anon(), nil), "409", "ResourceNotEmpty", "ResourceNotEmpty"},
		{"signed URL, bad token", get("/object/sign/"+r.bucket+"/there?token=x", ""), "400", "InvalidJWT", "InvalidJWT"},
		{"limit above the server's", sendJSON("POST", "/bucket", service(), `{"name":"x`+r.bucket+`","file_size_limit":"1MB"}`), "413", "Payload too large", "EntityTooLarge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r.refused(t, r.send(t, tt.got), tt.statusCode, tt.errName, tt.code)
		})
	}
}

func TestTextThatPostgresCannotStore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, q := range []request{
		get(r.object("a%00b"), service()), get(r.object("a%FFb"), service()), get("/bucket/%00", service()),
	} {
		r.want(t, r.send(t, q), 400, "InvalidKey")
	}
	nul := `"\u0000"`
	for _, q := range []request{
		sendJSON("DELETE", "/object/"+r.bucket, service(), `{"prefixes":[`+nul+`]}`),
		sendJSON("POST", "/object/list/"+r.bucket, service(), `{"prefix":`+nul+`}`),
		sendJSON("POST", "/object/sign/"+r.bucket, service(), `{"expiresIn":1,"paths":[`+nul+`]}`),
		sendJSON("POST", "/object/copy", service(), `{"bucketId":"`+r.bucket+`","sourceKey":`+nul+`,"destinationKey":"k"}`),
		send("POST", r.object("k"), service(), strings.NewReader("x"),
			"X-Metadata: "+base64.StdEncoding.EncodeToString([]byte(`{"a":`+nul+`}`))),
	} {
		got := r.send(t, q)
		if code := got.field(t, "code"); got.status != 400 || (code != "InvalidRequest" && code != "InvalidKey") {
			t.Errorf("%s %s: got %d %s", q.method, q.path, got.status, got.body)
		}
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
	own, err := pg.Start(t.Context(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := own.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	p, err := pgxpool.New(t.Context(), own.ConnString("supabase_storage_admin", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := bare(t, p)
	r.want(t, r.json(t, "POST", "/bucket", service(), `{"name":"`+r.bucket+`"}`), 200, "")
	stop()
	// The pool first finds its connections dead, and then nobody to connect to.
	for range 3 {
		got := r.get(t, "/bucket", service())
		r.want(t, got, 500, "InternalError")
		if got.field(t, "error") != "Internal" {
			t.Errorf("got %s", got.body)
		}
	}
	r.want(t, r.do(t, "POST", r.object("k"), service(), strings.NewReader("x")), 500, "InternalError")
	if files := r.files(t); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
	if got := r.get(t, "/status", ""); got.status != 200 {
		t.Errorf("/status: got %d, want 200", got.status)
	}
}

// request is one row's question.
type request struct {
	method, path, token string
	body                io.Reader
	headers             []string
}

func send(method, path, token string, body io.Reader, headers ...string) request {
	return request{method, path, token, body, headers}
}

func get(path, token string) request { return send("GET", path, token, nil) }

func sendJSON(method, path, token, body string) request {
	return send(method, path, token, strings.NewReader(body), "Content-Type: application/json")
}

func (r *rig) send(t *testing.T, q request) answer {
	t.Helper()
	return r.do(t, q.method, q.path, q.token, q.body, q.headers...)
}
