package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/cli/local"
	"github.com/stark-orchestrator/stark/shared/api"
)

// simulateUntil runs a command until the answer is yes, and ends it as Ctrl-C does.
func simulateUntil(t *testing.T, env map[string]string, yes func() (bool, error), args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, args, func(k string) string { return env[k] }, strings.NewReader(""), &out, &errOut)
	}()
	for {
		ok, err := yes()
		if ok {
			cancel()
			return result{<-code, out.String(), errOut.String()}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case got := <-code:
			t.Fatalf("%v ended with %d: %s (last: %v)", args, got, &errOut, err)
		case <-ctx.Done():
			<-code
			t.Fatalf("%v: waited in vain: %v; %s", args, err, &errOut)
		}
	}
}

func TestSimulatedAgentsAreNodes(t *testing.T) {
	t.Parallel()
	env, c := patientEnv(t)
	query := api.NodeQuery{PageQuery: api.PageQuery{Page: 1, PageSize: 10}, LabelSelector: "fleet=swarm,stark.io/simulated=true"}
	threeOnline := func() (bool, error) {
		page, err := c.Client.ListNodes(t.Context(), query)
		online := 0
		for _, n := range page.Items {
			if n.Status == api.NodeOnline {
				online++
			}
		}
		return online == 3, err
	}
	dir, pack := t.TempDir(), "swarm-"+api.NewID()
	writeFiles(t, dir, map[string]string{"swarm.js": "module.exports = () => {}\n"})
	if got := run(t, env, "", "pack", "register", filepath.Join(dir, "swarm.js"), "-n", pack, "-V", "1.0.0", "-r", "node"); got.code != 0 {
		t.Fatalf("register the pack: %+v", got)
	}
	pod, err := c.Client.CreatePod(t.Context(), api.CreatePodRequest{
		PackName: pack, Tolerations: []api.Toleration{{Key: simulatedKey, Operator: api.TolerationExists}},
		Scheduling: &api.Scheduling{NodeSelector: map[string]string{"fleet": "swarm"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	status := func(want api.PodStatus) func() (bool, error) {
		return func() (bool, error) {
			p, err := c.Client.GetPod(t.Context(), pod.ID)
			return p.Status == want, err
		}
	}
	args := []string{"sim", "agents", "-n", "3", "--prefix", "swarm", "-l", "fleet=swarm", "--start-latency", "1ms", "--remove", "-o", "json"}
	stopped := false
	got := simulateUntil(t, env, func() (bool, error) {
		if ok, err := threeOnline(); !ok {
			return false, err
		}
		if !stopped {
			if ok, err := status(api.PodRunning)(); !ok {
				return false, err
			}
			if _, _, err := c.Client.StopPod(t.Context(), pod.ID); err != nil {
				return false, err
			}
			stopped = true
		}
		return status(api.PodStopped)()
	}, args...)
	var s fleetSummary
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil || got.code != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if s.Agents != 3 || s.Registered != 3 || s.PodsStarted != 1 || s.PodsRunning != 0 || s.Online != 0 || s.Removed != 3 || s.Errors != 0 {
		t.Errorf("summary %+v", s)
	}
	if page, err := c.Client.ListNodes(t.Context(), query); err != nil || page.Total != 0 {
		t.Errorf("left are %+v, %v", page.Items, err)
	}
}

// envWithToken is the environment of somebody who has a join token of so many uses and
// nothing else.
func envWithToken(t *testing.T, uses int) (own map[string]string, c *local.Cluster) {
	t.Helper()
	env, c := patientEnv(t)
	token, err := c.Client.CreateJoinToken(t.Context(), api.CreateJoinTokenRequest{Uses: uses})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": env["STARK_API_URL"], "STARK_JOIN_TOKEN": token.Token}, c
}

func TestSimulatedAgentsWithATokenOfTheirOwn(t *testing.T) {
	t.Parallel()
	own, c := envWithToken(t, 2)
	args := []string{"sim", "agents", "-n", "2", "--prefix", "lent"}
	got := simulateUntil(t, own, func() (bool, error) {
		two, err := c.Client.GetNodeByName(t.Context(), "lent-2")
		if err != nil || two.Status != api.NodeOnline {
			return false, err
		}
		one, err := c.Client.GetNodeByName(t.Context(), "lent-1")
		return one.Status == api.NodeOnline, err
	}, args...)
	if got.code != 0 || !strings.Contains(got.stdout, "2, of which 2 were online") || strings.Contains(got.stdout+got.stderr, own["STARK_JOIN_TOKEN"]) {
		t.Errorf("with a token: %+v", got)
	}
	for i := range 2 {
		n, err := c.Client.GetNodeByName(t.Context(), fmt.Sprintf("lent-%d", i+1))
		if err != nil || n.Status != api.NodeOffline {
			t.Errorf("node %d: %+v, %v", i+1, n, err)
		}
	}
	// The token is used up, and the nodes have given up their credentials.
	if got := run(t, own, "", args...); got.code != 4 || !strings.Contains(got.stderr, "join token") {
		t.Errorf("with a token that is used up: %+v", got)
	}
}

// Agents that remember are let in by their credentials, and need no token again.
func TestSimulatedAgentsThatRemember(t *testing.T) {
	t.Parallel()
	own, c := envWithToken(t, 2)
	args := []string{"sim", "agents", "-n", "2", "--prefix", "kept", "--state-dir", t.TempDir()}
	var ids [2]string
	for i := range 2 {
		got := simulateUntil(t, own, func() (bool, error) {
			online := 0
			for k := range ids {
				n, err := c.Client.GetNodeByName(t.Context(), fmt.Sprintf("kept-%d", k+1))
				if err != nil {
					return false, err
				}
				if n.Status == api.NodeOnline {
					online++
				}
				if i == 0 {
					ids[k] = n.ID
				} else if ids[k] != n.ID {
					t.Errorf("%s was the node %s and is %s", n.Name, ids[k], n.ID)
				}
			}
			return online == 2, nil
		}, args...)
		if got.code != 0 || !strings.Contains(got.stdout, "2, of which 2 were online") {
			t.Errorf("run %d: %+v", i+1, got)
		}
	}
}

func TestSimulatedAgentsTypedWrongly(t *testing.T) {
	t.Parallel()
	env := map[string]string{"STARK_HOME": t.TempDir(), "STARK_API_URL": "http://127.0.0.1:1"}
	for want, args := range map[string][]string{
		"-n 0: want 1 to 100000":    {"-n", "0"},
		"--arrivals 0":              {"--arrivals", "0"},
		"--heartbeat 1ms":           {"--heartbeat", "1ms"},
		"cannot be negative":        {"--churn", "-1s"},
		"--pods -1":                 {"--pods", "-1"},
		`--source "here"`:           {"--source", "here"},
		"cpu":                       {"--cpu", "much"},
		"name":                      {"--prefix", "no good"},
		"read the join token":       {"--token-file", "/nowhere/at/all"},
		"sign in with `stark auth`": {"-n", "1"},
	} {
		got := run(t, env, "", append([]string{"sim", "agents"}, args...)...)
		want = strings.TrimSuffix(want, "`")
		if got.code == 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("%v: code %d, %s", args, got.code, got.stderr)
		}
	}
}

func TestTokensOfAFleet(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var made []int
	var revoked []string
	limited, deleted := 0, 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/node-tokens", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var in api.CreateJoinTokenRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		made = append(made, in.Uses)
		fmt.Fprintf(w, `{"success":true,"data":{"token":{"id":"t%d","token":"join %d"}}}`, len(made), len(made))
	})
	mux.HandleFunc("DELETE /api/node-tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		revoked = append(revoked, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /api/nodes/{id}", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if limited == 0 {
			limited++
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":"too many requests"}}`)
			return
		}
		deleted++
		w.WriteHeader(http.StatusNoContent)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	env := map[string]string{"STARK_API_URL": srv.URL, "STARK_TOKEN": "t", "STARK_HOME": t.TempDir()}
	a := &app{getenv: func(k string) string { return env[k] }, home: home(env["STARK_HOME"])}
	tokens, err := a.fleetTokens(t.Context(), fleetFlags{count: 1500, remove: true})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]int{}
	for range 1501 { // one agent asks twice
		token, err := tokens.next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		shown[token]++
	}
	if !slices.Equal(made, []int{1000, 500, 1}) || shown["join 1"] != 1000 || shown["join 2"] != 500 || shown["join 3"] != 1 {
		t.Errorf("made tokens of %v uses, shown were %v", made, shown)
	}
	if err := tokens.revoke(t.Context()); err != nil || !slices.Equal(revoked, []string{"t3"}) {
		t.Errorf("revoked %v, %v", revoked, err)
	}
	if n, err := tokens.remove(t.Context(), []string{"a", "b", "c"}); n != 3 || err != nil || deleted != 3 || limited != 1 {
		t.Errorf("removed %d (%d, %d refused), %v", n, deleted, limited, err)
	}
}
