package tab

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func zipped(t *testing.T, text string) *fstest.MapFile {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b.Bytes()}
}

func handler(t *testing.T, files fstest.MapFS) *Handler {
	t.Helper()
	return handlerOf(t, Config{StorageOrigin: "https://storage.example"}, files)
}

func handlerOf(t *testing.T, c Config, files fstest.MapFS) *Handler {
	t.Helper()
	h, err := newHandler(c, files)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func page(t *testing.T) *Handler {
	t.Helper()
	return handler(t, files(t))
}

func files(t *testing.T) fstest.MapFS {
	t.Helper()
	return fstest.MapFS{
		"dist/embed.js.gz":         zipped(t, "export function contribute() {}"),
		"dist/README.md":           {Data: []byte("x")},
		"dist/index.html.gz":       zipped(t, "<title>a node</title>"),
		"dist/index.html.br":       {Data: []byte("brotli index")},
		"dist/page.0123.js.gz":     zipped(t, "page()"),
		"dist/agent.0123.wasm.gz":  zipped(t, "wasm"),
		"dist/frame.0123.html.gz":  zipped(t, "<script type=\"text/plain\">pod</script>\n<script>frame()</script>"),
		"dist/frame.0123.html.br":  {Data: []byte("brotli frame")},
		"dist/agent.0123.wasm.br":  {Data: []byte("brotli wasm")},
		"dist/unpacked.0123.js":    {Data: []byte("not served")},
		"dist/nested/a.0123.js.gz": zipped(t, "served by its name alone"),
	}
}

func get(h *Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://stark.example"+path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	w.Header().Set("X-Frame-Options", "DENY") // as the API sets it everywhere
	h.ServeHTTP(w, r)
	return w
}

func TestFilesAndTheirHeaders(t *testing.T) {
	t.Parallel()
	h := page(t)
	for name, c := range map[string]struct {
		path, accept, body, coding, kind, cache string
		status                                  int
	}{
		"page, brotli":       {"/node", "gzip, br", "brotli index", "br", "text/html; charset=utf-8", "no-cache", 200},
		"page, plain":        {"/node/", "", "<title>a node</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		"brotli refused":     {"/node", "br;q=0", "<title>a node</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		"asset":              {"/node/assets/page.0123.js", "br", "page()", "", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", 200},
		"program":            {"/node/assets/agent.0123.wasm", "br", "brotli wasm", "br", "application/wasm", "public, max-age=31536000, immutable", 200},
		"no such":            {"/node/assets/page.4567.js", "", "", "", "text/plain; charset=utf-8", "", 404},
		"not compressed":     {"/node/assets/unpacked.0123.js", "", "", "", "text/plain; charset=utf-8", "", 404},
		"upwards":            {"/node/assets/../tab.go", "", "", "", "text/plain; charset=utf-8", "", 404},
		"script for others":  {"/node/embed.js", "", "export function contribute() {}", "", "text/javascript; charset=utf-8", "no-cache", 200},
		"that, as asset":     {"/node/assets/embed.js", "", "", "", "text/plain; charset=utf-8", "", 404},
		"page in a frame":    {"/node/embed", "", "<title>a node</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		"the page, as asset": {"/node/assets/index.html", "", "", "", "text/plain; charset=utf-8", "", 404},
	} {
		w := get(h, http.MethodGet, c.path, "Accept-Encoding", c.accept)
		head := w.Header()
		if w.Code != c.status || head.Get("Content-Encoding") != c.coding || head.Get("Content-Type") != c.kind || head.Get("Cache-Control") != c.cache {
			t.Errorf("%s: got %d, coding %q, type %q, cache %q", name, w.Code, head.Get("Content-Encoding"), head.Get("Content-Type"), head.Get("Cache-Control"))
		}
		if c.status == 200 && w.Body.String() != c.body {
			t.Errorf("%s: got %q", name, w.Body)
		}
	}
	w := get(h, http.MethodGet, "/node", "If-None-Match", get(h, http.MethodGet, "/node").Header().Get("ETag"))
	if w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("the same page again: got %d", w.Code)
	}
	if w := get(h, http.MethodHead, "/node"); w.Body.Len() > 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: got %q", w.Body)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	h := page(t)
	policy := get(h, http.MethodGet, "/node").Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "connect-src 'self' ws://stark.example wss://stark.example https://storage.example;", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy of the page lacks %s: %s", want, policy)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/node", nil)
	r.Host = "evil; script-src *"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Security-Policy"); strings.Contains(got, "evil") {
		t.Errorf("the client writes the policy: %s", got)
	}
	frame := get(h, http.MethodGet, "/node/assets/frame.0123.html").Header()
	for _, want := range []string{"sandbox allow-scripts;", "default-src 'none'", "'sha256-EVJGYNZWcCtsLDOPRMdhUr5/amcWYlCtaoDVHnUITUU='", "frame-ancestors 'self'"} {
		if got := frame.Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("the policy of a pod lacks %s: %s", want, got)
		}
	}
	shown := get(h, http.MethodGet, "/node/assets/frame.0123.html?ui").Header()
	for _, want := range []string{"style-src 'unsafe-inline'", "img-src * data: blob:", "sandbox allow-scripts;", "default-src 'none'", "frame-ancestors 'self'"} {
		if got := shown.Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("the policy of a pack that shows something lacks %s: %s", want, got)
		}
	}
	if shown.Get("Document-Isolation-Policy") == "" || frame.Get("Document-Isolation-Policy") != "" {
		t.Error("packs that show something share a process with the others")
	}
	if frame.Get("X-Frame-Options") != "" {
		t.Error("the frame of a pod may not stand in the page")
	}
}

// Only sites that the settings name may stand around the page, and then around pods too.
func TestWhoMayEmbedThePage(t *testing.T) {
	t.Parallel()
	closed := page(t)
	open := handlerOf(t, Config{EmbedOrigins: []string{"https://app.example", "http://localhost:*"}}, files(t))
	for name, c := range map[string]struct {
		h                    *Handler
		path, around, others string
		framed               bool
	}{
		"no site is named":   {closed, "/node/embed", "frame-ancestors 'none'", "same-origin", false},
		"sites are named":    {open, "/node/embed", "frame-ancestors https://app.example http://localhost:*", "cross-origin", true},
		"never the page":     {open, "/node", "frame-ancestors 'none'", "same-origin", false},
		"a pod within":       {open, "/node/assets/frame.0123.html", "frame-ancestors 'self' https://app.example http://localhost:*", "same-origin", true},
		"a pod of this site": {closed, "/node/assets/frame.0123.html", "frame-ancestors 'self'", "same-origin", true},
	} {
		head := get(c.h, http.MethodGet, c.path).Header()
		policy := head.Get("Content-Security-Policy")
		if !strings.HasSuffix(policy, "; "+c.around) || strings.Count(policy, "frame-ancestors") != 1 {
			t.Errorf("%s: the policy is %s", name, policy)
		}
		if head.Get("Cross-Origin-Resource-Policy") != c.others || (head.Get("X-Frame-Options") == "") != c.framed {
			t.Errorf("%s: got resource policy %q, frame options %q", name, head.Get("Cross-Origin-Resource-Policy"), head.Get("X-Frame-Options"))
		}
	}
	head := get(open, http.MethodGet, "/node/embed.js").Header()
	if head.Get("Access-Control-Allow-Origin") != "*" || head.Get("Access-Control-Allow-Credentials") != "" || head.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("the script for others has %v", head)
	}
}

func TestAServerWithoutThePageSaysSo(t *testing.T) {
	t.Parallel()
	h := handler(t, fstest.MapFS{"dist/README.md": {Data: []byte("x")}})
	if w := get(h, http.MethodGet, "/node"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "make tab") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// maxProgram is what the agent of a tab may weigh, compressed: 0.80 MB. The same code laid
// out in another way weighs up to 4,000 bytes more or less.
const maxProgram = 800_000

func TestTheProgramIsSmall(t *testing.T) {
	t.Parallel()
	h, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Available() {
		t.Skip("this binary has no page of tabs: run `make tab` first, as `make test` does")
	}
	total := 0
	for name, f := range h.files {
		size := len(f.coded["br"])
		total += size
		if strings.HasSuffix(name, ".wasm") && size > maxProgram {
			t.Errorf("%s has %d bytes, allowed are %d", name, size, maxProgram)
		}
	}
	t.Logf("all files together: %d bytes", total)
}
