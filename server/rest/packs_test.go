package rest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func somePack() api.Pack {
	return api.Pack{
		ID: someID, Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode, OwnerID: userIDOf("developer"), Visibility: api.VisibilityPrivate,
		Status: api.PackReady, Format: api.FormatCommonJS, BundlePath: "o/hello/1.0.0/abc.js", BundleSHA256: "abc", BundleSize: 3,
		CreatedAt: someTime(), UpdatedAt: someTime(),
	}
}

// bucket is the harness's database and bucket for uploads.
type bucket struct {
	pending, abandoned int
	objects            map[string][]byte
	tokens             []string
	putErr, completion error
}

func withBucket(h *harness) *bucket {
	b := &bucket{objects: map[string][]byte{}}
	h.db.createPack = func(id access.Identity, p api.Pack) (api.Pack, error) {
		if p.Name == "taken" {
			return api.Pack{}, fault.New(fault.Conflict, "this version exists")
		}
		b.pending++
		p.ID, p.OwnerID, p.Status = someID, id.UserID, api.PackPending
		p.CreatedAt, p.UpdatedAt = someTime(), someTime()
		return p, nil
	}
	h.db.completePack = func(_ access.Identity, _ string, got pack.Bundle) (api.Pack, error) {
		p := somePack()
		p.BundleSHA256, p.BundleSize = got.SHA256, got.Size
		if got.Object != "object of "+got.Path {
			h.t.Errorf("completed with %+v", got)
		}
		return p, b.completion
	}
	h.db.abandonPack = func(string) error { b.abandoned++; return nil }
	h.bundles.put = func(token, path string, r io.Reader, size int64, contentType string) error {
		if b.putErr != nil {
			return b.putErr
		}
		data, err := io.ReadAll(r)
		if int64(len(data)) != size || contentType != "application/javascript" {
			h.t.Errorf("%d bytes declared as %d, %s", len(data), size, contentType)
		}
		b.objects[path], b.tokens = data, append(b.tokens, token)
		return err
	}
	h.bundles.remove = func(path string) error { delete(b.objects, path); return nil }
	return b
}

// form builds a multipart body; a field named "bundle" becomes the file.
func form(t *testing.T, fields ...[2]string) (string, io.Reader) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for _, f := range fields {
		create := w.CreateFormField
		if f[0] == "bundle" {
			create = func(name string) (io.Writer, error) { return w.CreateFormFile(name, "bundle.js") }
		}
		part, err := create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, f[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), &buf
}

func (h *harness) upload(contentType string, body io.Reader) reply {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.srv.URL+"/api/packs", body)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer good-developer")
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.checkDocument(req, resp, raw)
	return reply{t: h.t, status: resp.StatusCode, header: resp.Header, raw: raw}
}

var helloFields = [][2]string{
	{"name", "hello"},
	{"version", "1.0.0"},
	{"runtimeTag", "isomorphic"},
	{"visibility", "public"},
	{"format", "esm"},
	{"description", "says hello"},
	{"metadata", `{"a":1}`},
}

func TestUploadForm(t *testing.T) {
	t.Parallel()
	spool := t.TempDir()
	h := newHarness(t, func(d *rest.Deps) { d.Config.SpoolDir = spool })
	b := withBucket(h)
	const code = "export default () => 42\n"
	sum := sha256.Sum256([]byte(code))
	digest := hex.EncodeToString(sum[:])
	ct, body := form(t, append(helloFields, [2]string{"bundle", code})...)
	var one struct{ Pack api.Pack }
	h.upload(ct, body).want(http.StatusCreated, &one)
	if one.Pack.BundleSHA256 != digest || one.Pack.BundleSize != int64(len(code)) {
		t.Errorf("got %+v", one.Pack)
	}
	path := userIDOf("developer") + "/hello/1.0.0/" + digest + ".js"
	if string(b.objects[path]) != code || b.tokens[0] != "good-developer" || b.abandoned != 0 {
		t.Errorf("stored %v with %v", b.objects, b.tokens)
	}
	left, err := os.ReadDir(spool)
	if err != nil || len(left) != 0 {
		t.Errorf("the spool holds %v (%v)", left, err)
	}
}

func TestUploadJSON(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := withBucket(h)
	body := map[string]any{"name": "hello", "version": "1.0.0", "runtimeTag": "node", "bundleContent": "module.exports = () => 1"}
	h.do(request{method: "POST", path: "/api/packs", token: "good-developer", body: body}).want(http.StatusCreated, nil)
	if len(b.objects) != 1 {
		t.Error("nothing stored")
	}
	delete(body, "bundleContent")
	f := h.do(request{method: "POST", path: "/api/packs", token: "good-developer", body: body}).fails(http.StatusBadRequest, fault.Validation)
	field(t, f, "bundleContent")
	body["version"] = "v1"
	f = h.do(request{method: "POST", path: "/api/packs", token: "good-developer", body: body}).fails(http.StatusBadRequest, fault.Validation)
	field(t, f, "version")
	if b.pending != 1 {
		t.Errorf("%d rows for one valid request", b.pending)
	}
	body["version"], body["bundleContent"] = "1.0.0", strings.Repeat("x", 17<<20)
	h.do(request{method: "POST", path: "/api/packs", token: "good-developer", body: body}).fails(http.StatusRequestEntityTooLarge, fault.PayloadTooLarge)
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := withBucket(h)
	upload := func(fields ...[2]string) reply {
		ct, body := form(t, fields...)
		return h.upload(ct, body)
	}
	hello := func(more ...[2]string) [][2]string { return append(append([][2]string{}, helloFields...), more...) }
	field(t, upload(hello()...).fails(http.StatusBadRequest, fault.Validation), "bundle")
	field(t, upload(hello([2]string{"surprise", "x"}, [2]string{"bundle", "x"})...).fails(http.StatusBadRequest, fault.Validation), "surprise")
	field(t, upload([2]string{"metadata", "nope"}).fails(http.StatusBadRequest, fault.Validation), "metadata")
	field(t, upload([2]string{"description", strings.Repeat("x", 300<<10)}).fails(http.StatusBadRequest, fault.Validation), "description")
	field(t, upload([2]string{"name", "hello"}, [2]string{"bundle", "x"}).fails(http.StatusBadRequest, fault.Validation), "version")
	var many [][2]string
	for range 20 {
		many = append(many, [2]string{"name", "x"})
	}
	field(t, upload(many...).fails(http.StatusBadRequest, fault.Validation), "input")
	h.upload("multipart/form-data", strings.NewReader("x")).fails(http.StatusBadRequest, fault.Validation)
	h.upload("multipart/form-data; boundary=b", strings.NewReader("no form")).fails(http.StatusBadRequest, fault.Validation)
	h.upload("text/javascript", strings.NewReader("x")).fails(http.StatusUnsupportedMediaType, fault.UnsupportedMediaType)
	if b.pending != 0 {
		t.Fatalf("%d rows for invalid requests", b.pending)
	}
	upload([2]string{"name", "taken"}, [2]string{"version", "1.0.0"}, [2]string{"runtimeTag", "node"}, [2]string{"bundle", "x"}).
		fails(http.StatusConflict, fault.Conflict)
	// From here on a pending row exists, and must go again.
	field(t, upload(hello([2]string{"bundle", ""})...).fails(http.StatusBadRequest, fault.Validation), "bundle")
	field(t, upload([2]string{"name", "late"}, [2]string{"version", "1.0.0"}, [2]string{"runtimeTag", "node"}, [2]string{"bundle", "x"}, [2]string{"visibility", "public"}).
		fails(http.StatusBadRequest, fault.Validation), "visibility")
	b.putErr = fault.New(fault.Forbidden, "Storage refuses")
	upload(hello([2]string{"bundle", "x"})...).fails(http.StatusForbidden, fault.Forbidden)
	b.putErr, b.completion = nil, errors.New("the row is gone")
	upload(hello([2]string{"bundle", "x"})...).fails(http.StatusInternalServerError, fault.Internal)
	if b.pending != 4 || b.abandoned != 4 || len(b.objects) != 0 {
		t.Errorf("%d rows, %d taken back, %d objects left", b.pending, b.abandoned, len(b.objects))
	}
	// An object of the same digest is what an upload cut off earlier left behind.
	// It is believed when it was read.
	b.putErr, b.completion = fault.New(fault.Conflict, "exists"), nil
	lies := "y"
	h.bundles.open = func(string, string) (string, error) { return lies, nil }
	field(t, upload(hello([2]string{"bundle", "x"})...).fails(http.StatusBadRequest, fault.Validation), "bundleSha256")
	lies = "x"
	upload(hello([2]string{"bundle", "x"})...).want(http.StatusCreated, nil)
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// a bundle over the limit is refused without being taken in.
func TestUploadTooLarge(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := withBucket(h)
	head := "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nhello\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"version\"\r\n\r\n1.0.0\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"runtimeTag\"\r\n\r\nnode\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"bundle\"; filename=\"b.js\"\r\n\r\n"
	r := h.upload("multipart/form-data; boundary=b", io.MultiReader(strings.NewReader(head), io.LimitReader(endless{}, api.MaxBundleBytes+(900<<10))))
	r.fails(http.StatusRequestEntityTooLarge, fault.PayloadTooLarge)
	if b.pending != 1 || b.abandoned != 1 || len(b.objects) != 0 {
		t.Errorf("%d rows, %d taken back, %d objects", b.pending, b.abandoned, len(b.objects))
	}
}

func TestPacks(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var q api.PackQuery
	h.db.listPacks = func(_ access.Identity, got api.PackQuery) (api.Page[api.Pack], error) {
		q = got
		return api.Page[api.Pack]{Items: []api.Pack{somePack()}, Total: 1}, nil
	}
	var list struct{ Packs []api.Pack }
	h.do(request{method: "GET", path: "/api/packs?runtimeTag=isomorphic&search=he&name=hello&version=1.0.0&ownerId=" + userID, token: "good-viewer"}).want(http.StatusOK, &list)
	if q.RuntimeTag != api.TagUniversal || q.Name != "hello" || list.Packs[0].Metadata == nil {
		t.Errorf("got %+v for %+v", list, q)
	}
	pending := somePack()
	pending.Status, pending.ID = api.PackPending, otherID
	h.db.getPack = func(_ access.Identity, id string) (api.Pack, error) {
		switch id {
		case someID:
			return somePack(), nil
		case otherID:
			return pending, nil
		}
		return api.Pack{}, notFound()
	}
	h.bundles.signed = func(path string, ttl time.Duration) (string, time.Time, error) {
		return "http://storage.example/" + path + "?token=t", someTime().Add(ttl), nil
	}
	h.do(request{method: "GET", path: "/api/packs/" + someID, token: "good-viewer"}).want(http.StatusOK, nil)
	h.do(request{method: "GET", path: "/api/packs/" + userID, token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	var url struct {
		URL, SHA256 string
		ExpiresAt   time.Time
	}
	h.do(request{method: "GET", path: "/api/packs/" + someID + "/bundle", token: "good-viewer"}).want(http.StatusOK, &url)
	if !strings.HasSuffix(url.URL, "?token=t") || url.SHA256 != "abc" || !url.ExpiresAt.Equal(someTime().Add(5*time.Minute)) {
		t.Errorf("got %+v", url)
	}
	if strings.Contains(h.logs.String(), "token=t") {
		t.Error("the signed URL is in the log")
	}
	h.do(request{method: "GET", path: "/api/packs/" + otherID + "/bundle", token: "good-viewer"}).fails(http.StatusBadRequest, fault.InvalidState)
	h.do(request{method: "GET", path: "/api/packs/" + userID + "/bundle", token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
}

func TestPackVersionsUpdateDelete(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.packVersions = func(_ access.Identity, name string) ([]api.PackVersion, error) {
		if name != "hello" {
			return nil, nil
		}
		return []api.PackVersion{{ID: someID, Version: "1.0.0", RuntimeTag: api.TagNode, Latest: true, CreatedAt: someTime()}}, nil
	}
	var versions struct{ Versions []api.PackVersion }
	h.do(request{method: "GET", path: "/api/packs/hello/versions", token: "good-viewer"}).want(http.StatusOK, &versions)
	if len(versions.Versions) != 1 || !versions.Versions[0].Latest {
		t.Errorf("got %+v", versions)
	}
	h.do(request{method: "GET", path: "/api/packs/nobody/versions", token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
	h.db.updatePack = func(_ access.Identity, id string, r api.UpdatePackRequest) (api.Pack, error) {
		if id != someID {
			return api.Pack{}, notFound()
		}
		p := somePack()
		p.Description = *r.Description
		return p, nil
	}
	var one struct{ Pack api.Pack }
	h.do(request{method: "PATCH", path: "/api/packs/" + someID, token: "good-developer", body: map[string]any{"description": "new"}}).want(http.StatusOK, &one)
	if one.Pack.Description != "new" {
		t.Errorf("got %+v", one.Pack)
	}
	h.do(request{method: "PATCH", path: "/api/packs/" + otherID, token: "good-developer", body: map[string]any{"description": "new"}}).fails(http.StatusNotFound, fault.NotFound)
	h.do(request{method: "PATCH", path: "/api/packs/" + someID, token: "good-developer", body: map[string]any{"visibility": "secret"}}).fails(http.StatusBadRequest, fault.Validation)
	h.db.deletePack = func(_ access.Identity, id string) (string, error) {
		if id == otherID {
			return "", fault.New(fault.Conflict, "pods use it")
		}
		return "the/bundle", nil
	}
	var removed []string
	h.bundles.remove = func(path string) error {
		removed = append(removed, path)
		return fault.New(fault.Unavailable, "Storage is away") // must not fail the request
	}
	r := h.do(request{method: "DELETE", path: "/api/packs/" + someID, token: "good-developer"})
	if r.status != http.StatusNoContent || len(r.raw) != 0 {
		t.Errorf("got %d %q", r.status, r.raw)
	}
	h.do(request{method: "DELETE", path: "/api/packs/" + otherID, token: "good-developer"}).fails(http.StatusConflict, fault.Conflict)
	if len(removed) != 1 || removed[0] != "the/bundle" {
		t.Errorf("removed %v", removed)
	}
}
