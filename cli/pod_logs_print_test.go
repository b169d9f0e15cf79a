package cli

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func logOf(lines ...api.LogLine) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// Each line of several pods begins with the name of its pod, which is asked for once
// where the pod has joined; what Stark has to say goes to stderr.
func TestLinesOfSeveralPods(t *testing.T) {
	t.Parallel()
	const known, joined, unknown = "0190b2f5-7c1a-7d3e-9f00-000000000001", "0190b2f5-7c1a-7d3e-9f00-000000000002", "0190b2f5-7c1a-7d3e-9f00-000000000003"
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/api/pods/")
		asked[id]++
		w.Header().Set("Content-Type", "application/json")
		if id != joined {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"success":false,"error":{"code":"NOT_FOUND","message":"no pod"}}`)
			return
		}
		fmt.Fprintf(w, `{"success":true,"data":{"pod":{"id":%q,"packName":"db"}}}`, joined)
	}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	lines := logOf(
		api.LogLine{PodID: known, Line: "one"}, api.LogLine{PodID: joined, Notice: "the pod has joined", Event: api.LogJoined},
		api.LogLine{PodID: joined, Line: "two"}, api.LogLine{PodID: known, Dropped: 7}, api.LogLine{PodID: unknown, Line: "three"},
		api.LogLine{PodID: unknown, Line: "four"}, api.LogLine{Notice: "connected again"},
	)
	show := func(format string, change func(*logPrinter)) (string, string) {
		a, out, errOut := printer(format)
		p := &logPrinter{a: a, c: c, prefix: true, names: map[string]string{}}
		p.knows(api.Pod{ID: known, PackName: "web"})
		if change != nil {
			change(p)
		}
		if err := p.print(t.Context(), true, lines); err != nil {
			t.Fatal(err)
		}
		return out.String(), errOut.String()
	}
	out, errOut := show("table", nil)
	if want := "[web-000001] one\n[db-000002] two\n[web-000001] [7 lines lost]\n[" + unknown + "] three\n[" + unknown + "] four\n"; out != want {
		t.Errorf("got %q\nwant %q", out, want)
	}
	if want := "[db-000002: the pod has joined]\n[connected again]\n"; errOut != want {
		t.Errorf("stderr %q, want %q", errOut, want)
	}
	if asked[known] != 0 || asked[joined] != 1 || asked[unknown] != 1 {
		t.Errorf("asked for %v", asked)
	}
	out, _ = show("table", func(p *logPrinter) { p.color = true })
	if !strings.HasPrefix(out, "\x1b[36m[web-000001]\x1b[0m one\n\x1b[33m[db-000002]\x1b[0m two\n\x1b[36m[web-000001]\x1b[0m ") {
		t.Errorf("colours: %q", out)
	}
	out, errOut = show("table", func(p *logPrinter) { p.prefix, p.alone, p.timestamps = false, true, true })
	if !strings.HasSuffix(strings.SplitN(out, "\n", 2)[0], " one") || strings.Contains(out, "[web") || !strings.HasPrefix(out, time.Time{}.Local().Format("2006")) || strings.Contains(errOut, "db-") {
		t.Errorf("alone: %q, %q", out, errOut)
	}
	out, errOut = show("json", nil)
	if strings.Count(out, "\n") != 7 || !strings.Contains(out, `"event":"joined"`) || errOut != "" {
		t.Errorf("as JSON: %q, %q", out, errOut)
	}
	failed := errors.New("the end")
	a, _, _ := printer("table")
	if err := (&logPrinter{a: a}).print(t.Context(), false, func(yield func(api.LogLine, error) bool) { yield(api.LogLine{}, failed) }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

// A node that says nothing has done nothing that one would have to look for.
func TestLogsOfAMuteNodeAreAskedForAgain(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/logs") {
			fail(w, fault.New(fault.Timeout, "the pod's node does not answer"))
			return
		}
		fmt.Fprintf(w, `{"success":true,"data":{"pod":{"id":%q,"status":"running"}}}`, someID)
	}))
	t.Cleanup(srv.Close)
	got := run(t, map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": srv.URL, "STARK_TOKEN": "t"}, "", "pod", "logs", someID)
	if got.code != 1 || strings.Contains(got.stderr, "whether it was done") || !strings.Contains(got.stderr, "stark pod status") {
		t.Errorf("code %d, stderr %q", got.code, got.stderr)
	}
}
