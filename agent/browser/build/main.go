// Command build makes what a server shows under /node: the agent as WebAssembly, the
// page around it, all under names that hold their digest, compressed as they are sent.
// It takes about twenty seconds when the program has changed, else one.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"github.com/stark-orchestrator/stark/agent/adapters"
	"github.com/stark-orchestrator/stark/agent/browser/web"
)

const program = "github.com/stark-orchestrator/stark/agent/browser/tab"

// Inlining makes WebAssembly larger where it is compressed, and so do the collector and
// the allocator that servers profit from.
const (
	gcflags     = "-gcflags=all=-l"
	experiments = "GOEXPERIMENT=nosizespecializedmalloc,nogreenteagc"
)

func main() {
	out := flag.String("out", "", "folder to write into")
	version := flag.String("version", "dev", "version that the page shows and the node tells")
	flag.Parse()
	if *out == "" {
		fmt.Fprintln(os.Stderr, "build: -out must name a folder")
		os.Exit(2)
	}
	if err := run(context.Background(), *out, *version); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, version string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	wasm, err := compile(ctx, out)
	if err != nil {
		return err
	}
	files, err := assemble(ctx, wasm, version)
	if err != nil {
		return err
	}
	return write(out, files)
}

// compile builds the Go program.
func compile(ctx context.Context, out string) (_ []byte, err error) {
	dir, err := os.MkdirTemp(out, ".build-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "agent.wasm")
	build := func(env ...string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", gcflags, "-o", path, program)
		cmd.Env = append(append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOFLAGS="), env...)
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, output)
		}
		return nil
	}
	if err := build(experiments); err != nil { // another Go may know other experiments
		if err := build(); err != nil {
			return nil, err
		}
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := withoutNames(wasm); err != nil {
		fmt.Fprintln(os.Stderr, "build: the program keeps the names of its functions and is larger:", err)
	}
	return wasm, nil
}

// assemble puts the files together, by the names under which they are served.
func assemble(ctx context.Context, wasm []byte, version string) (map[string][]byte, error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	goExec, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return nil, fmt.Errorf("the JavaScript that belongs to this Go: %w", err)
	}
	b := builder{files: map[string][]byte{}, known: map[string]string{"version": version, "wasm_exec.js": string(goExec)}}
	b.add("agent.wasm", wasm)
	b.known["files.js"] = b.source("files.js")
	b.known["told.js"] = b.source("told.js")
	b.known["turns.js"] = b.source("turns.js")
	b.known["host.js"] = b.source("host.js")
	b.known["pod"] = adapters.Script + b.source("pod.js")
	b.known["frame"] = b.source("frame.js")
	for _, name := range []string{"agent.js", "frame.html", "page.css", "page.js"} {
		b.add(name, []byte(b.source(name)))
	}
	b.files["index.html"] = []byte(b.source("index.html"))
	b.files["embed.js"] = []byte(b.source("embed.js")) // other sites know it by this name
	return b.files, b.err
}

type builder struct {
	files map[string][]byte
	known map[string]string // what stands for {{key}}
	err   error
}

// source reads a file and puts in what it asks for by {{key}}.
func (b *builder) source(name string) string {
	raw, err := web.Files.ReadFile(name)
	b.err = errors.Join(b.err, err)
	text := string(raw)
	for key, value := range b.known {
		text = strings.ReplaceAll(text, "{{"+key+"}}", value)
	}
	return text
}

// add gives a file a name with its digest, which others find under its plain name.
func (b *builder) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	ext := filepath.Ext(name)
	hashed := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:8]) + ext
	b.files[hashed] = content
	b.known[name] = "/node/assets/" + hashed
}

// write compresses what has changed and removes what is no longer there.
func write(out string, files map[string][]byte) error {
	keep := map[string]bool{"README.md": true}
	var wg sync.WaitGroup
	errs := make(chan error, 2*len(files))
	for name, content := range files {
		for ext, compress := range map[string]func(io.Writer) io.WriteCloser{".br": toBrotli, ".gz": toGzip} {
			keep[name+ext] = true
			wg.Go(func() { errs <- pack(filepath.Join(out, name+ext), strings.Count(name, ".") == 1, content, compress) })
		}
	}
	wg.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	entries, readErr := os.ReadDir(out)
	if err = errors.Join(err, readErr); err != nil {
		return err
	}
	for _, e := range entries {
		if !keep[e.Name()] && !e.IsDir() {
			err = errors.Join(err, os.Remove(filepath.Join(out, e.Name())))
		}
	}
	return err
}

func toBrotli(w io.Writer) io.WriteCloser {
	return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: brotli.BestCompression, LGWin: 24})
}

func toGzip(w io.Writer) io.WriteCloser {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return z
}

// pack compresses a file, unless one of that name, which holds its digest, is there.
func pack(path string, always bool, content []byte, compress func(io.Writer) io.WriteCloser) error {
	if _, err := os.Stat(path); err == nil && !always {
		return nil
	}
	var b bytes.Buffer
	z := compress(&b)
	_, err := z.Write(content)
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b.Bytes()) {
		return nil // its time stays, and with it the build cache of the server
	}
	temp := path + ".tmp"
	if err := os.WriteFile(temp, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
