// Package tab serves the page of a browser tab that is a node, below /node. It owns the
// headers that keep packs away from the page, and refuses to know the API: the page
// uses what every client does. Its files are made by agent/browser/build and embedded.
package tab

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed dist
var dist embed.FS

const (
	indexName = "index.html"
	embedName = "embed.js"
	framePart = "frame."
	embedPath = "/node/embed"
	assets    = "/node/assets/"
)

// Config says where the page may connect to, and who may stand around it.
type Config struct {
	StorageOrigin string   // "https://host": where bundles are fetched from
	EmbedOrigins  []string // "https://host" or "http://localhost:*": sites that may ask their users for tabs
}

// file is one file in the encodings that it is kept in.
type file struct {
	kind   string // media type
	etag   string
	coded  map[string][]byte // by content coding
	policy string            // Content-Security-Policy of the frame of pods; "" for that of the page
	shown  string            // the same for packs that show something
}

// Handler serves the page. It is safe for concurrent use.
type Handler struct {
	config Config
	files  map[string]file // by name without the coding's ending
}

// New reads the embedded files.
func New(c Config) (*Handler, error) { return newHandler(c, dist) }

func newHandler(c Config, from fs.FS) (*Handler, error) {
	h := &Handler{config: c, files: map[string]file{}}
	err := fs.WalkDir(from, "dist", func(name string, d fs.DirEntry, err error) error {
		ext := path.Ext(name)
		coding := map[string]string{".br": "br", ".gz": "gzip"}[ext]
		if err != nil || d.IsDir() || coding == "" {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return h.add(strings.TrimSuffix(path.Base(name), ext), coding, content)
	})
	if err != nil {
		return nil, fmt.Errorf("read the page of tabs: %w", err)
	}
	return h, nil
}

func (h *Handler) add(name, coding string, content []byte) error {
	f, ok := h.files[name]
	if !ok {
		f = file{kind: kindOf(name), coded: map[string][]byte{}}
	}
	f.coded[coding] = content
	if coding == "gzip" {
		sum := sha256.Sum256(content)
		f.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
		if strings.HasPrefix(name, framePart) {
			plain, err := unzip(content)
			if err != nil {
				return err
			}
			f.policy, f.shown = framePolicies(plain, h.config.EmbedOrigins)
		}
	}
	h.files[name] = f
	return nil
}

func kindOf(name string) string {
	switch path.Ext(name) { // not by the machine's own table
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	default:
		return mime.TypeByExtension(path.Ext(name))
	}
}

func unzip(content []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// Available reports whether the page was built into this server.
func (h *Handler) Available() bool { _, ok := h.files[indexName]; return ok }

// ServeHTTP answers GET and HEAD of /node and of what lies below.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.Available() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "This server was built without the page that makes a browser tab a node.\nBuild it with `make build`, which makes the page first (`make tab`).\n")
		return
	}
	name := nameOf(r.URL.Path)
	f, ok := h.files[name]
	if !ok {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "There is no such file. A page that was opened before the server changed finds it after a reload.\n")
		return
	}
	h.headers(w.Header(), name, f, r)
	if (name == indexName || name == embedName) && strings.Contains(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, r, f)
}

// nameOf gives the file of a path, or "".
func nameOf(p string) string {
	switch p {
	case "/node", "/node/", embedPath:
		return indexName
	case "/node/" + embedName:
		return embedName
	}
	name, below := strings.CutPrefix(p, assets)
	if !below || name == indexName || name == embedName {
		return ""
	}
	return name
}

func (h *Handler) headers(head http.Header, name string, f file, r *http.Request) {
	head.Set("Content-Type", f.kind)
	head.Set("Vary", "Accept-Encoding")
	head.Set("ETag", f.etag)
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), hid=()")
	head.Set("Cache-Control", "public, max-age=31536000, immutable")
	head.Set("Content-Security-Policy", h.pagePolicy(r.Host)+"; frame-ancestors 'none'")
	switch {
	case name == embedName: // a script without secrets, for the pages of others
		head.Set("Cache-Control", "no-cache")
		head.Set("Access-Control-Allow-Origin", "*")
		head.Set("Cross-Origin-Resource-Policy", "cross-origin")
	case name == indexName:
		head.Set("Cache-Control", "no-cache")
		if r.URL.Path == embedPath && len(h.config.EmbedOrigins) > 0 {
			head.Del("X-Frame-Options") // frame-ancestors says it better
			head.Set("Cross-Origin-Resource-Policy", "cross-origin")
			head.Set("Content-Security-Policy", h.pagePolicy(r.Host)+"; frame-ancestors "+strings.Join(h.config.EmbedOrigins, " "))
		}
	case f.policy != "":
		head.Del("X-Frame-Options")
		head.Set("Content-Security-Policy", f.policy)
		if r.URL.RawQuery == "ui" { // in a process of its own: an endless loop harms neither the page nor other pods
			head.Set("Content-Security-Policy", f.shown)
			head.Set("Document-Isolation-Policy", "isolate-and-credentialless")
		}
	}
}

// send writes the smallest coding that the client takes.
func send(w http.ResponseWriter, r *http.Request, f file) {
	head := w.Header()
	accepted := r.Header.Get("Accept-Encoding")
	for _, coding := range []string{"br", "gzip"} {
		if content, ok := f.coded[coding]; ok && accepts(accepted, coding) {
			head.Set("Content-Encoding", coding)
			head.Set("Content-Length", strconv.Itoa(len(content)))
			w.WriteHeader(http.StatusOK)
			if r.Method != http.MethodHead {
				_, _ = w.Write(content) // nobody is left to tell
			}
			return
		}
	}
	plain, err := unzip(f.coded["gzip"])
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	head.Set("Content-Length", strconv.Itoa(len(plain)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(plain) // nobody is left to tell
	}
}

// accepts reads an Accept-Encoding header, in which q=0 refuses.
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q = strings.ReplaceAll(q, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

// pagePolicy is what the page and the agent's worker may do: nothing of third parties.
func (h *Handler) pagePolicy(host string) string {
	connect := "'self'"
	if plainHost(host) { // not every browser takes 'self' for WebSockets
		connect += " ws://" + host + " wss://" + host
	}
	if h.config.StorageOrigin != "" {
		connect += " " + h.config.StorageOrigin
	}
	return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src data:; connect-src " + connect +
		"; worker-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'"
}

// plainHost keeps what a client made up out of a header.
func plainHost(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == ""
}

// framePolicies are those of the document around a pod, and of one that shows something.
// They make its origin opaque even where no frame does. A pack may compute what it likes
// and reach the network, as on Node.js; it finds no storage, no page, no window to open
// and nobody to embed. One that shows something may also style it, and show pictures.
func framePolicies(document []byte, around []string) (worker, shown string) {
	_, rest, _ := bytes.Cut(document, []byte("\n<script>"))
	script, _, _ := bytes.Cut(rest, []byte("</script>"))
	sum := sha256.Sum256(script)
	worker = "sandbox allow-scripts; default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"' blob: 'unsafe-eval'; worker-src data: blob:; connect-src * data: blob:; base-uri 'none'; form-action 'none'; webrtc 'block'; frame-ancestors " +
		strings.Join(append([]string{"'self'"}, around...), " ")
	return worker, "style-src 'unsafe-inline'; img-src * data: blob:; media-src * data: blob:; font-src * data:; " + worker
}
