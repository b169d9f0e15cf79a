package browser

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
	"sync/atomic"
	"syscall/js"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// These tests run in a real browser: tests/e2e builds them in the program's place, opens
// the page, and reads what they tell.
func TestMain(m *testing.M) {
	write := js.FuncOf(func(_ js.Value, args []js.Value) any {
		text := js.Global().Get("TextDecoder").New().Call("decode", args[1]).String()
		tell(map[string]any{"t": "log", "level": "INFO", "text": text})
		return args[1].Get("length")
	})
	js.Global().Get("fs").Set("writeSync", write)
	code := m.Run()
	tell(map[string]any{"t": "log", "level": "INFO", "text": "exit " + strconv.Itoa(code)})
	os.Exit(code)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	origin := js.Global().Get("location").Get("origin").String()
	var next atomic.Int64
	executortest.Run(t, executortest.Harness{
		Executor: &Executor{},
		Task: func(_ *testing.T, b executortest.Behaviour, lines *executortest.Lines) executor.Task {
			source := executortest.Sources[b]
			sum := sha256.Sum256([]byte(source))
			at := wire.BundleURLAck{URL: origin + "/bundles/" + string(b)}
			return executor.Task{
				Key:    api.RunKey{PodID: "pod-" + strconv.FormatInt(next.Add(1), 10), Incarnation: 1, Attempt: 1},
				NodeID: "node-1", Output: lines.Add,
				Spec: wire.PodSpec{
					Name: "pack", Namespace: "default", PackVersion: "1.0.0", RuntimeTag: api.TagUniversal, Format: api.FormatCommonJS,
					BundleSHA256: hex.EncodeToString(sum[:]), BundleSize: int64(len(source)),
				},
				Bundle: func(context.Context) (wire.BundleURLAck, error) { return at, nil },
			}
		},
	})
}

// The agent's memory in IndexedDB.
func TestState(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), State{}
	if got, err := s.Get(ctx, "none"); got != nil || err != nil {
		t.Errorf("what is not there: got %q, %v", got, err)
	}
	for _, key := range []string{"test.b", "test.a", "other"} {
		if err := s.Put(ctx, key, []byte(`{"of":"`+key+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(ctx, "test.a", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, "test.a"); string(got) != "newer" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if keys, err := s.Keys(ctx, "test."); len(keys) != 2 || err != nil {
		t.Errorf("keys: got %q, %v", keys, err)
	}
	for _, key := range []string{"test.a", "test.b", "other", "none"} {
		if err := s.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if keys, err := s.Keys(ctx, ""); len(keys) != 0 || err != nil {
		t.Errorf("what is left: %q, %v", keys, err)
	}
}

// A bundle that is not what its pack says never runs.
func TestAForeignBundleIsRefused(t *testing.T) {
	t.Parallel()
	origin := js.Global().Get("location").Get("origin").String()
	for name, size := range map[string]int64{"another digest": int64(len(executortest.Sources[executortest.Serves])), "longer": 10, "shorter": 100_000} {
		c, err := new(Executor).Controller(executor.Task{
			Key:    api.RunKey{PodID: "foreign", Incarnation: 1, Attempt: 1},
			Output: func(api.LogLine) {},
			Spec:   wire.PodSpec{RuntimeTag: api.TagBrowser, BundleSHA256: hex.EncodeToString(make([]byte, sha256.Size)), BundleSize: size},
			Bundle: func(context.Context) (wire.BundleURLAck, error) {
				return wire.BundleURLAck{URL: origin + "/bundles/" + string(executortest.Serves)}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		run, err := executor.Step(t.Context(), api.Run{Status: api.RunAssigned}, c)
		if err != nil || run.Termination == nil || run.Termination.Reason != api.ReasonBundleUnavailable {
			t.Errorf("%s: got %+v, %v", name, run.Termination, err)
		}
	}
}
