package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// script is a server that answers each call with the next of its texts, and notes from
// which cursor the calls went on.
type script struct {
	mu      sync.Mutex
	answers []string // lines of a stream; "410", "404", "503" refuse
	since   []string
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = append(s.since, r.URL.Query().Get("since"))
	if len(s.answers) == 0 {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"success":false,"error":{"code":"FORBIDDEN","message":"the script has ended"}}`)
		return
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	if status, refused := map[string]int{"410": 410, "404": 404, "503": 503}[answer]; refused {
		w.WriteHeader(status)
		return
	}
	_, _ = io.WriteString(w, strings.ReplaceAll(answer, "|", "\n")+"\n")
}

func put(id, status, cursor string) string {
	return fmt.Sprintf(`{"event":"put","object":{"id":%q,"status":%q},"cursor":%q}`, id, status, cursor)
}

func del(id, cursor string) string {
	return fmt.Sprintf(`{"event":"delete","object":{"id":%q},"cursor":%q}`, id, cursor)
}

func mark(cursor string) string {
	return fmt.Sprintf(`{"event":"bookmark","cursor":%q,"synced":true}`, cursor)
}

func lines(l ...string) string { return strings.Join(l, "|") }

// told reads a watch to its end.
func told(ctx context.Context, c *client.Client) (got []string, err error) {
	for change, fault := range c.WatchPods(ctx, api.PodQuery{}) {
		switch {
		case fault != nil:
			return got, fault
		case change.Synced:
			got = append(got, "synced")
		case change.Deleted:
			got = append(got, "-"+change.ID+" "+string(change.Object.Status))
		default:
			got = append(got, "+"+change.ID+" "+string(change.Object.Status))
		}
	}
	return got, nil
}

func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []string
		want    string
		since   string
	}{
		"after a lost connection": {
			[]string{lines(put("a", "pending", ""), mark("1"), put("a", "running", "2")), lines(put("b", "pending", ""), mark("3"), del("a", "4"))},
			"+a pending, synced, +a running, +b pending, -a running", ",2,4",
		},
		"while the server is away": {
			[]string{lines(put("a", "pending", ""), mark("1")), "503", lines(mark("2"), put("a", "running", "3"))},
			"+a pending, synced, +a running", ",1,1,3",
		},
		"anew, telling the difference, when the cursor is too old": {
			[]string{lines(put("a", "pending", ""), put("b", "pending", ""), mark("1")), "410", lines(put("b", "running", ""), put("c", "pending", ""), mark("9"))},
			"+a pending, +b pending, synced, +b running, +c pending, -a pending", ",1,,9",
		},
		"when it was cut off in what exists": {
			[]string{lines(put("a", "pending", "")), lines(put("a", "pending", ""), put("b", "pending", ""), mark("1"))},
			"+a pending, +b pending, synced", ",,1",
		},
		"telling nothing twice": {
			[]string{
				lines(put("a", "pending", ""), put("b", "pending", ""), mark("1"), put("a", "running", "2")),
				lines(put("a", "running", ""), mark("3"), put("b", "running", "4")),
				"410", lines(put("a", "running", ""), put("b", "failed", ""), mark("9")),
			},
			"+a pending, +b pending, synced, +a running, +b running, +b failed", ",2,4,,9",
		},
		"after an error line": {
			[]string{lines(put("a", "pending", ""), mark("1"), `{"event":"error","error":{"code":"SERVICE_UNAVAILABLE","message":"stopping"}}`), lines(mark("2"))},
			"+a pending, synced", ",1,2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{answers: c.answers}
			got, err := told(t.Context(), serve(t, s.serve).client(t, nil))
			if fault.CodeOf(err) != fault.Forbidden {
				t.Errorf("ended with %v, want the refusal", err)
			}
			if text := strings.Join(got, ", "); text != c.want {
				t.Errorf("told %q, want %q", text, c.want)
			}
			if since := strings.Join(s.since, ","); since != c.since {
				t.Errorf("went on from %q, want %q", since, c.since)
			}
		})
	}
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	first := &script{answers: []string{"503"}}
	if _, err := told(t.Context(), serve(t, first.serve).client(t, nil)); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("the first attempt failed with %v", err)
	}
	odd := &script{answers: []string{"no JSON"}}
	if _, err := told(t.Context(), serve(t, odd.serve).client(t, nil)); fault.CodeOf(err) != fault.Validation {
		t.Errorf("a server that is none: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := told(ctx, serve(t, odd.serve).client(t, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	// The only object of a watch has gone while the connection was lost.
	one := &script{answers: []string{lines(put("a", "running", ""), mark("1")), "404"}}
	var deleted bool
	for change, err := range serve(t, one.serve).client(t, nil).WatchPod(t.Context(), "a") {
		if err != nil {
			t.Fatal(err)
		}
		deleted = change.Deleted
	}
	if !deleted {
		t.Error("nothing was told of the end of the pod")
	}
	many := &script{answers: []string{lines(put("a", "x", ""), put("b", "x", ""))}}
	for _, err := range serve(t, many.serve).client(t, nil).WatchNodes(t.Context(), api.NodeQuery{}) {
		if err != nil {
			t.Error(err)
		}
		break // the reader may leave at any time
	}
}
