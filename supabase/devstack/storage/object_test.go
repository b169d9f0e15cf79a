package storage_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
)

func TestUploadAndDownload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	content := "hello object"
	meta := base64.StdEncoding.EncodeToString([]byte(`{"made":"here"}`))
	got := r.do(t, "POST", r.object("dir/a%20b.txt"), user(alice), strings.NewReader(content))
	r.want(t, got, 400, "AccessDenied")
	r.allow(t, "insert", "select")
	got = r.do(t, "POST", r.object("dir/a%20b.txt"), user(alice), strings.NewReader(content),
		"Content-Type: text/plain", "Cache-Control: max-age=60", "X-Metadata: "+meta)
	if got.status != 200 || got.field(t, "Key") != r.bucket+"/dir/a b.txt" || len(got.field(t, "Id")) != 36 {
		t.Fatalf("upload: got %d %s", got.status, got.body)
	}
	sum := md5.Sum([]byte(content))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, path := range []string{r.object("dir/a%20b.txt"), "/object/authenticated/" + r.bucket + "/dir/a%20b.txt"} {
		got = r.get(t, path, user(alice))
		if got.status != 200 || got.body != content {
			t.Fatalf("GET %s: got %d %q", path, got.status, got.body)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/plain", "Content-Length": "12", "Etag": etag, "Accept-Ranges": "bytes",
			"Cache-Control": "max-age=60", "X-Robots-Tag": "none",
		} {
			if got.header.Get(name) != want {
				t.Errorf("GET %s: %s is %q, want %q", path, name, got.header.Get(name), want)
			}
		}
		if got.header.Get("Last-Modified") == "" {
			t.Error("no Last-Modified")
		}
	}
	var info map[string]any
	r.get(t, "/object/info/"+r.bucket+"/dir/a%20b.txt", user(alice)).decode(t, &info)
	if info["size"] != float64(12) || info["etag"] != etag || info["content_type"] != "text/plain" ||
		info["cache_control"] != "max-age=60" || info["metadata"].(map[string]any)["made"] != "here" {
		t.Errorf("info: got %v", info)
	}
	if got := r.do(t, "HEAD", r.object("dir/a%20b.txt"), user(alice), nil); got.status != 200 || got.body != "" || got.header.Get("Content-Length") != "12" {
		t.Errorf("HEAD: got %d %v", got.status, got.header)
	}
	if got := r.do(t, "HEAD", r.object("none"), user(alice), nil); got.status != 400 || got.body != "" {
		t.Errorf("HEAD of nothing: got %d %q", got.status, got.body)
	}
}

func TestConditionalAndRangeReads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "0123456789")
	etag := r.get(t, r.object("k"), service()).header.Get("ETag")
	if got := r.get(t, r.object("k"), service(), "If-None-Match: "+etag); got.status != 304 || got.body != "" {
		t.Errorf("If-None-Match: got %d", got.status)
	}
	if got := r.get(t, r.object("k"), service(), "If-Modified-Since: Wed, 01 Jan 2200 00:00:00 GMT"); got.status != 304 {
		t.Errorf("If-Modified-Since: got %d", got.status)
	}
	for spec, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-2": "89", "bytes=0-99": "0123456789"} {
		got := r.get(t, r.object("k"), service(), "Range: "+spec)
		if got.status != 206 || got.body != want || !strings.HasPrefix(got.header.Get("Content-Range"), "bytes ") {
			t.Errorf("%s: got %d %q", spec, got.status, got.body)
		}
	}
	for _, spec := range []string{"bytes=10-", "bytes=99-100", "bytes=5-2", "bytes=-0"} {
		got := r.get(t, r.object("k"), service(), "Range: "+spec)
		r.want(t, got, 416, "InvalidRange")
	}
	for _, spec := range []string{"bytes=x-y", "lines=1-2", "bytes=0-1,3-4", "bytes=-"} {
		if got := r.get(t, r.object("k"), service(), "Range: "+spec); got.status != 200 || got.body != "0123456789" {
			t.Errorf("%s: got %d %q, want the whole object", spec, got.status, got.body)
		}
	}
	got := r.get(t, r.object("k")+"?download", service())
	if got.header.Get("Content-Disposition") != "attachment; filename=k; filename*=UTF-8''k;" {
		t.Errorf("download: got %q", got.header.Get("Content-Disposition"))
	}
	got = r.get(t, r.object("k")+"?download=a%22%0d%0aX-Evil:%201", service())
	if got.header.Get("X-Evil") != "" || strings.ContainsAny(got.header.Get("Content-Disposition"), "\"\r\n") {
		t.Errorf("download name reached the header raw: %q", got.header.Get("Content-Disposition"))
	}
}

func TestPublicBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "open")
	r.want(t, r.get(t, "/object/public/"+r.bucket+"/k", ""), 400, "NoSuchBucket")
	r.want(t, r.get(t, "/object/info/public/"+r.bucket+"/k", ""), 400, "NoSuchBucket")
	r.want(t, r.json(t, "PUT", "/bucket/"+r.bucket, service(), `{"public":true}`), 200, "")
	for _, path := range []string{"/object/public/" + r.bucket + "/k", r.object("k"), "/object/info/public/" + r.bucket + "/k"} {
		r.want(t, r.get(t, path, ""), 200, "")
	}
	r.want(t, r.get(t, "/object/authenticated/"+r.bucket+"/k", ""), 400, "InvalidRequest")
}

func TestReplacing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if got := r.do(t, "PUT", r.object("k"), service(), strings.NewReader("one"), "Cache-Control: max-age=9"); got.status != 200 {
		t.Fatalf("PUT creates: got %d %s", got.status, got.body)
	}
	id := r.do(t, "POST", r.object("k"), service(), strings.NewReader("two"), "X-Upsert: true").field(t, "Id")
	got := r.get(t, r.object("k"), service())
	if got.body != "two" || got.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("an upsert replaces bytes and metadata: got %q %v", got.body, got.header)
	}
	if again := r.do(t, "PUT", r.object("k"), service(), strings.NewReader("")).field(t, "Id"); again != id {
		t.Errorf("the row keeps its id: got %s, want %s", again, id)
	}
	if got := r.get(t, r.object("k"), service()); got.status != 200 || got.body != "" {
		t.Errorf("an empty object: got %d %q", got.status, got.body)
	}
}

func TestKeysAreLiteral(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, key := range []string{"d", "d/x", "d//x", "d/x/", "a%3Fb", "q!-.*'()%20&$@=;:+,", strings.Repeat("k", 300)} {
		r.put(t, key, key)
	}
	for _, key := range []string{"d", "d/x", "d//x", "d/x/", "a%3Fb", strings.Repeat("k", 300)} {
		if got := r.get(t, r.object(key), service()); got.body != key {
			t.Errorf("%s: got %d %q", key, got.status, got.body)
		}
	}
}

func form(t *testing.T, fields map[string]string, contentType, content string) (body *bytes.Buffer, header string) {
	t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if contentType != "" {
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name=""; filename="blob"`}, "Content-Type": {contentType},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, "Content-Type: " + w.FormDataContentType()
}

func TestMultipartUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, `"allowed_mime_types":["text/plain"]`)
	body, header := form(t, map[string]string{"cacheControl": "3600", "metadata": `{"a":1}`}, "text/plain", "from a form")
	r.want(t, r.do(t, "POST", r.object("f"), service(), body, header), 200, "")
	got := r.get(t, r.object("f"), service())
	if got.body != "from a form" || got.header.Get("Cache-Control") != "max-age=3600" || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("got %q %v", got.body, got.header)
	}
	for code, part := range map[string][2]string{
		"InvalidMimeType": {"image/png", "x"}, "EntityTooLarge": {"text/plain", strings.Repeat("x", maxBytes+1)}, "InvalidRequest": {"", ""},
	} {
		body, header := form(t, nil, part[0], part[1])
		r.want(t, r.do(t, "POST", r.object("g"), service(), body, header), 400, code)
	}
	for _, metadata := range []string{"{", "[]", strings.Repeat(" ", 1<<20+1)} {
		body, header := form(t, map[string]string{"metadata": metadata}, "text/plain", "x")
		r.want(t, r.do(t, "POST", r.object("g"), service(), body, header), 400, "InvalidRequest")
	}
	r.want(t, r.do(t, "POST", r.object("g"), service(), strings.NewReader("no form"), "Content-Type: multipart/form-data; boundary=x"), 400, "InvalidRequest")
	r.want(t, r.do(t, "POST", r.object("g"), service(), strings.NewReader("x"), "Content-Type: text/plain", "X-Metadata: %%"), 400, "InvalidRequest")
	r.want(t, r.get(t, r.object("g"), service()), 400, "NoSuchKey")
}
