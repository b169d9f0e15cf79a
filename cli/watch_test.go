package cli

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

func changes(end error, list ...client.Change[api.Pod]) iter.Seq2[client.Change[api.Pod], error] {
	return func(yield func(client.Change[api.Pod], error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
		yield(client.Change[api.Pod]{}, end)
	}
}

func podChange(id string, status api.PodStatus, minute int, deleted bool) client.Change[api.Pod] {
	p := api.Pod{ID: id, PackName: "a", PackVersion: "1.0.0", Status: status, CreatedAt: time.Now().Add(time.Duration(minute-60) * time.Minute)}
	return client.Change[api.Pod]{ID: id, Object: p, Deleted: deleted}
}

func newestPod(a, b api.Pod) int { return b.CreatedAt.Compare(a.CreatedAt) }

func TestWatchPrints(t *testing.T) {
	t.Parallel()
	steps := []client.Change[api.Pod]{
		podChange("1", api.PodRunning, 1, false), podChange("2", api.PodPending, 2, false),
		{Synced: true},
		podChange("2", api.PodRunning, 2, false), podChange("a-long-id", api.PodPending, 3, false), podChange("1", api.PodStopped, 1, true),
	}
	for format, want := range map[string]string{
		"table": "ID  PACK  VERSION  STATUS   RESTARTS  NODE  AGE\n" +
			"2   a     1.0.0    pending  0         -     58m\n" +
			"1   a     1.0.0    running  0         -     59m\n" +
			"2   a     1.0.0    running  0         -     58m\n" +
			"a-long-id  a     1.0.0    pending  0         -     57m\n" +
			"1          a     1.0.0    deleted  0         -     59m\n",
		"name": "pod/1\npod/2\npod/2\npod/a-long-id\npod/1\n",
	} {
		a, out, _ := printer(format)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := printWatch(ctx, a, podView(), newestPod, changes(context.Canceled, steps...)); err != nil {
			t.Errorf("%s: the end by Ctrl-C is an error: %v", format, err)
		}
		if out.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, out, want)
		}
	}
	a, out, _ := printer("json")
	lost := errors.New("lost")
	if err := printWatch(t.Context(), a, podView(), newestPod, changes(lost, steps...)); !errors.Is(err, lost) {
		t.Errorf("ended with %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], `{"event":"put","object":{"id":"1"`) || !strings.HasPrefix(lines[4], `{"event":"delete","object":{"id":"1"`) {
		t.Errorf("got %q", lines)
	}
	a, out, _ = printer("yaml")
	if err := printWatch(t.Context(), a, podView(), newestPod, changes(lost, steps[0])); !errors.Is(err, lost) || !strings.HasPrefix(out.String(), "---\nevent: put\nobject:\n") {
		t.Errorf("yaml: %v, %q", err, out)
	}
}
