package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func topServer(t *testing.T) map[string]string {
	t.Helper()
	mux := http.NewServeMux()
	at := time.Now().UTC().Format(time.RFC3339)
	figures := func(cpu, memory, delay int) string {
		return fmt.Sprintf(`"usage":{"cpu":%d,"memory":%d,"loopDelayMs":%d,"at":%q}`, cpu, memory, delay, at)
	}
	mux.HandleFunc("GET /api/usage/pods", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "labelSelector=app&namespace=shop" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		fmt.Fprintf(w, `{"success":true,"data":{"pods":[
			{"podId":"p1","packName":"quiet","namespace":"shop","nodeName":"n"},
			{"podId":"p2","packName":"busy","namespace":"shop","nodeName":"n",%s},
			{"podId":"p3","packName":"large","namespace":"shop","nodeName":"n",%s}]}}`, figures(1500, 20, 3), figures(5, 3000, 70))
	})
	mux.HandleFunc("GET /api/usage/nodes", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"success":true,"data":{"nodes":[{"nodeId":"i1","nodeName":"a"},
			{"nodeId":"i2","nodeName":"b","allocatable":{"cpu":2000,"memory":4000},%s}]}}`, figures(500, 3000, 70))
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return map[string]string{"STARK_API_URL": srv.URL, "STARK_TOKEN": "t", "STARK_HOME": t.TempDir()}
}

func TestTopShowsAndSorts(t *testing.T) {
	t.Parallel()
	env := topServer(t)
	rows := func(args ...string) string {
		t.Helper()
		got := run(t, env, "", args...)
		if got.code != 0 {
			t.Fatalf("%v: %d %s", args, got.code, got.stderr)
		}
		return strings.Join(strings.Fields(got.stdout), " ")
	}
	const busy, large, quiet = "p2 busy shop n 1500m 20Mi 3ms", "p3 large shop n 5m 3000Mi 70ms", "p1 quiet shop n - - -"
	const head = "ID PACK NAMESPACE NODE CPU(cores) MEMORY(bytes) DELAY"
	for order, want := range map[string][]string{
		"cpu": {busy, large, quiet}, "memory": {large, busy, quiet}, "delay": {large, busy, quiet}, "name": {busy, large, quiet},
	} {
		got := rows("pod", "top", "--namespace", "shop", "-l", "app", "--sort-by", order)
		if got != head+" "+strings.Join(want, " ") {
			t.Errorf("by %s:\n%s", order, got)
		}
	}
	if got := rows("node", "top"); got != "NAME CPU(cores) CPU% MEMORY(bytes) MEMORY% DELAY b 500m 25% 3000Mi 75% 70ms a - - - - -" {
		t.Errorf("nodes:\n%s", got)
	}
	if got := rows("node", "top", "-o", "json"); !strings.Contains(got, `"loopDelayMs": 70`) || !strings.Contains(got, `"allocatable"`) {
		t.Errorf("as JSON:\n%s", got)
	}
	for _, bad := range [][]string{{"--sort-by", "age"}, {"--interval", "0s"}, {"-l", "=="}} {
		if got := run(t, env, "", append([]string{"pod", "top"}, bad...)...); got.code != 1 || got.stderr == "" {
			t.Errorf("%v: %+v", bad, got)
		}
	}
}

// A watch goes on over a server that restarts, and ends with what does not pass.
func TestTopWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _, errOut := printer("table")
		began, asked := time.Now(), 0
		answers := []error{nil, fault.New(fault.Unavailable, "restarts"), nil, errors.New("broken")}
		err := (&topFlags{watch: true, every: topEvery}).show(t.Context(), a, func(context.Context) error {
			asked++
			return answers[asked-1]
		})
		if err == nil || err.Error() != "broken" || asked != 4 || time.Since(began) != 3*topEvery {
			t.Errorf("%v after %d in %s", err, asked, time.Since(began))
		}
		if !strings.Contains(errOut.String(), "restarts; asked again in 5s") {
			t.Errorf("said %q", errOut)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = (&topFlags{watch: true, every: topEvery}).show(ctx, a, func(context.Context) error {
			cancel()
			return nil
		})
		if err != nil {
			t.Errorf("Ctrl-C gives %v", err)
		}
		if err := (&topFlags{watch: true, every: topEvery}).show(t.Context(), a, func(context.Context) error { return fault.New(fault.Unavailable, "away") }); err == nil {
			t.Error("a server that is away from the start is waited for")
		}
	})
}

func TestUsageText(t *testing.T) {
	t.Parallel()
	if got := usageText(&api.Figures{LoopDelayMS: 7, At: time.Now()}); got != "cpu not told, memory not told, event-loop delay 7ms, 0s ago" {
		t.Errorf("of a tab: got %q", got)
	}
	if got := usageText(nil); got != "" {
		t.Errorf("got %q", got)
	}
	if got := usageText(&api.Figures{CPU: new(api.Millicores(5)), Memory: new(api.Mebibytes(6)), LoopDelayMS: 7, At: time.Now()}); got != "cpu 5m, memory 6Mi, event-loop delay 7ms, 0s ago" {
		t.Errorf("got %q", got)
	}
}
