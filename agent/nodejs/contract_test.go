//go:build unix

package nodejs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestContextOfAPack(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{WarmPool: 1})
	const source = `export default ({ pod, env, log, signal, onStop, ready, ...rest }) => {
		console.log(JSON.stringify({ pod, env, keys: Object.keys(process.env).sort(), cwd: process.cwd(), aborted: signal.aborted, rest: Object.keys(rest) }));
		log.warn('look', { a: 1 });
		console.error('to stderr');
		ready();
	}`
	c, lines, err := r.launch(t, source, esm, func(t *executor.Task) {
		t.Spec.Env = map[string]string{"GREETING": "hi"}
		t.Spec.Labels = map[string]string{"app": "x"}
	})
	if err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonCompleted {
		t.Fatalf("ended with %+v", got)
	}
	for _, want := range []string{
		`{"pod":{"attempt":1,"id":"pod-1","incarnation":1,"labels":{"app":"x"},"metadata":{},"name":"pack","namespace":"default","nodeId":"node-1","runtime":"node","version":"1.2.3"}`,
		`"env":{"GREETING":"hi"`, `"aborted":false`, `"rest":["storage","http","workers"]`, `WARN look {"a":1}`, "to stderr", filepath.Join(r.dir, "pods"),
		`"keys":["GREETING","STARK_NAMESPACE","STARK_NODE_ID","STARK_PACK_ID","STARK_PACK_VERSION","STARK_POD_ID"]`,
	} {
		if !strings.Contains(lines.Text(), want) {
			t.Errorf("output %s lacks %s", lines.Text(), want)
		}
	}
}

func TestBundles(t *testing.T) {
	t.Parallel()
	const source = `module.exports = () => {}`
	for _, tc := range []struct {
		name, message string
		change        func(r *rig) func(*executor.Task)
	}{
		{"wrong digest", "digest", func(r *rig) func(*executor.Task) {
			return func(t *executor.Task) {
				other := r.shelf.put("module.exports = 1234567")
				t.Spec.BundleSize = 0
				t.Bundle = func(context.Context) (wire.BundleURLAck, error) {
					return wire.BundleURLAck{URL: r.shelf.url + "/" + other}, nil
				}
			}
		}},
		{"too large", "larger", func(*rig) func(*executor.Task) {
			return func(t *executor.Task) { t.Spec.BundleSize = 3 }
		}},
		{"gone", "status 404", func(r *rig) func(*executor.Task) {
			return func(t *executor.Task) {
				t.Bundle = func(context.Context) (wire.BundleURLAck, error) {
					return wire.BundleURLAck{URL: r.shelf.url + "/nothing"}, nil
				}
			}
		}},
		{"no digest", "digest", func(*rig) func(*executor.Task) {
			return func(t *executor.Task) { t.Spec.BundleSHA256 = "../../etc/passwd" }
		}},
		{"unreachable", "fetch", func(*rig) func(*executor.Task) {
			return func(t *executor.Task) {
				t.Bundle = func(context.Context) (wire.BundleURLAck, error) {
					return wire.BundleURLAck{URL: "http://127.0.0.1:1/?token=secret"}, nil
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nodejs.Options{})
			_, _, err := r.launch(t, source, tc.change(r))
			f, ok := errors.AsType[*executor.RunError](err)
			if !ok || f.Reason != api.ReasonBundleUnavailable || !strings.Contains(f.Message, tc.message) {
				t.Errorf("got %v, want BundleUnavailable with %q", err, tc.message)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the signed address is in the error: %v", err)
			}
		})
	}
}

// A cached bundle that was changed on the disk is fetched again.
func TestBundleCacheIsChecked(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	const source = `module.exports = ({ log }) => log('right')`
	if _, _, err := r.launch(t, source); err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "bundles", "*.cjs"))
	if err != nil || len(files) != 1 {
		t.Fatalf("cached files: %v %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], []byte(`module.exports = ({ log }) => log('wrong')`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, lines, err := r.launch(t, source)
	if err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	end(t, c)
	if !strings.Contains(lines.Text(), "right") || r.shelf.hits.Load() != 2 {
		t.Errorf("printed %q after %d downloads", lines.Text(), r.shelf.hits.Load())
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	c, lines, err := r.launch(t, `module.exports = () => { console.log('x'.repeat(100000)); console.log('after') }`)
	if err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	end(t, c)
	if n := len(lines.Text()); n > 20<<10 || !strings.HasSuffix(lines.Text(), "after\n") {
		t.Errorf("%d bytes of output, ending %q", n, lines.Text()[max(0, n-20):])
	}
}

func TestWrongTag(t *testing.T) {
	t.Parallel()
	r := newRig(t, nodejs.Options{})
	_, err := r.Controller(executor.Task{Spec: wire.PodSpec{RuntimeTag: api.TagBrowser}})
	if f, ok := errors.AsType[*executor.RunError](err); !ok || f.Reason != api.ReasonPackLoadError {
		t.Errorf("got %v", err)
	}
}

func TestNodeIsChecked(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "node")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho v18.1.0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{old: `version "18.1.0", Stark needs Node.js 20`, "no-such-node": `no "no-such-node" on PATH`} {
		if _, err := nodejs.New(t.Context(), nodejs.Options{NodePath: path, StateDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := nodejs.New(t.Context(), nodejs.Options{}); err == nil {
		t.Error("an executor without a folder was made")
	}
}
