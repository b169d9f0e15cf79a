package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestPodGoals(t *testing.T) {
	t.Parallel()
	node := "n"
	on := func(status api.PodStatus) api.Pod {
		return api.Pod{ID: "p", Status: status, NodeID: &node, Restarts: 3, Labels: map[string]string{"a.b/c": "x"}}
	}
	cases := []struct {
		goal       string
		pod        api.Pod
		met, never bool
	}{
		{"running", on(api.PodRunning), true, false},
		{"running", on(api.PodStarting), false, false},
		{"running", on(api.PodFailed), false, true},
		{"ended", on(api.PodEvicted), true, true},
		{"condition=Ready", on(api.PodRunning), true, false},
		{"condition=ready=true", on(api.PodRunning), true, false},
		{"condition=Ready", on(api.PodUnknown), false, false},
		{"condition=Ready=Unknown", on(api.PodUnknown), true, false},
		{"condition=Ready=false", on(api.PodStarting), true, false},
		{"condition=Ready", on(api.PodStopped), false, true},
		{"condition=PodScheduled", on(api.PodScheduled), true, false},
		{"condition=PodScheduled", api.Pod{Status: api.PodPending}, false, false},
		{"condition=Complete", on(api.PodSucceeded), true, true},
		{"condition=Failed", on(api.PodFailed), true, true},
		{"condition=Failed", on(api.PodSucceeded), false, true},
		{"jsonpath={.status}=running", on(api.PodRunning), true, false},
		{"jsonpath='{.status}'=running", on(api.PodRunning), false, false}, // quotes are the shell's
		{"jsonpath={.status}=running", on(api.PodFailed), false, false},
		{"jsonpath=.restarts=3", on(api.PodRunning), true, false},
		{"jsonpath=status=running", on(api.PodRunning), true, false},
		{"jsonpath={.restarts}=4", on(api.PodRunning), false, false},
		{"jsonpath={.labels['a.b/c']}=x", on(api.PodRunning), true, false},
		{"jsonpath={.labels}", on(api.PodRunning), true, false},
		{"jsonpath={.labels}=x", on(api.PodRunning), false, false},
		{"jsonpath={.nodeId}", on(api.PodRunning), true, false},
		{"jsonpath={.nodeId}", api.Pod{}, false, false},
		{"jsonpath={.*}=running", on(api.PodRunning), false, false}, // several
	}
	for _, c := range cases {
		g, err := podGoal(c.goal)
		if strings.Contains(c.goal, "'{") {
			if err == nil {
				t.Errorf("%s is taken", c.goal)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.goal, err)
			continue
		}
		if is := g.judge(c.pod); is.met != c.met || is.never != c.never {
			t.Errorf("%s of a pod that is %s: %+v", c.goal, c.pod.Status, is)
		}
	}
	for _, bad := range []string{
		"", "sideways", "online", "condition=", "condition=Odd", "condition=Ready=maybe", "jsonpath=", "jsonpath={}", "jsonpath={.status}=", "jsonpath={.status}running",
		"jsonpath={.a[}=x", "jsonpath={.a b}", "Delete",
	} {
		if g, err := podGoal(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, g)
		}
	}
}

func TestNodeGoals(t *testing.T) {
	t.Parallel()
	n := func(status api.NodeStatus) api.Node {
		return api.Node{Status: status, Conditions: []api.NodeCondition{{Type: api.ConditionDiskPressure, Status: true}, {Type: api.ConditionMemoryPressure}}}
	}
	for _, c := range []struct {
		goal string
		node api.Node
		met  bool
	}{
		{"online", n(api.NodeOnline), true},
		{"condition=Ready", n(api.NodeDraining), true},
		{"condition=Ready", n(api.NodeSuspect), false},
		{"condition=Ready=unknown", n(api.NodeUnhealthy), true},
		{"condition=Ready=false", n(api.NodeOffline), true},
		{"condition=diskpressure", n(api.NodeOnline), true},
		{"condition=MemoryPressure=false", n(api.NodeOnline), true},
		{"condition=Hidden=unknown", n(api.NodeOnline), true},
		{"condition=Hidden", n(api.NodeOnline), false},
		{`jsonpath={.conditions[?(@.type=="DiskPressure")].status}=true`, n(api.NodeOnline), true},
		{`jsonpath={.conditions[?(@.type=="MemoryPressure")].status}=true`, n(api.NodeOnline), false},
	} {
		g, err := nodeGoal(c.goal)
		if err != nil {
			t.Errorf("%s: %v", c.goal, err)
		} else if is := g.judge(c.node); is.met != c.met || is.never {
			t.Errorf("%s of a node that is %s: %+v", c.goal, c.node.Status, is)
		}
	}
	for _, bad := range []string{"running", "condition=", "ended"} {
		if _, err := nodeGoal(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// waitServer serves pods by their number, each in the status of its place, over
// watches that stay open.
func waitServer(t *testing.T, statuses ...api.PodStatus) map[string]string {
	t.Helper()
	const id = "0199f3a2-7c1e-7d3a-9a52-%012d"
	pod := func(i int) string { return fmt.Sprintf(`{"id":%q,"status":%q}`, fmt.Sprintf(id, i), statuses[i]) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/pods", func(w http.ResponseWriter, r *http.Request) {
		list := []string{}
		if r.URL.Query().Get("labelSelector") != "app=none" {
			for i := range statuses {
				list = append(list, pod(i))
			}
		}
		fmt.Fprintf(w, `{"success":true,"data":{"pods":[%s],"total":%d,"page":1,"pageSize":100}}`, strings.Join(list, ","), len(list))
	})
	mux.HandleFunc("GET /api/pods/{id}", func(w http.ResponseWriter, r *http.Request) {
		for i := range statuses {
			if r.PathValue("id") != fmt.Sprintf(id, i) {
				continue
			}
			w.Header().Set("Content-Type", "application/x-ndjson")
			fmt.Fprintf(w, `{"event":"put","id":%q,"object":%s}`+"\n"+`{"event":"bookmark","synced":true,"cursor":"c"}`+"\n", fmt.Sprintf(id, i), pod(i))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"success":false,"error":{"code":"NOT_FOUND","message":"pod not found"}}`)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return map[string]string{"STARK_API_URL": srv.URL, "STARK_TOKEN": "t", "STARK_HOME": t.TempDir()}
}

func TestWaitForSelected(t *testing.T) {
	t.Parallel()
	const first, second = "pod/0199f3a2-7c1e-7d3a-9a52-000000000000", "pod/0199f3a2-7c1e-7d3a-9a52-000000000001"
	ready, half, failed := waitServer(t, api.PodRunning, api.PodRunning), waitServer(t, api.PodStarting, api.PodRunning), waitServer(t, api.PodStarting, api.PodFailed)
	many := waitServer(t, slices.Repeat([]api.PodStatus{api.PodRunning}, 3*waitedAtOnce)...)
	for name, c := range map[string]struct {
		env    map[string]string
		args   string
		code   int
		stdout int // lines
		stderr string
	}{
		"all ready":           {ready, "--for condition=Ready pods --all", 0, 2, ""},
		"selected":            {ready, "--for jsonpath={.status}=running pods -l app=web --namespace shop", 0, 2, ""},
		"named":               {ready, "--for condition=Ready " + first + " " + second, 0, 2, ""},
		"more than at a time": {many, "--for condition=Ready pods --all --timeout 20s", 0, 3 * waitedAtOnce, ""},
		"look once":           {half, "--for condition=Ready pods --all --timeout 0", 3, 1, "waited 0s: " + first + " is not condition Ready"},
		"time is up":          {half, "--for condition=Ready pods --all --timeout 300ms", 3, 1, first + " is not condition Ready"},
		"two are late":        {half, "--for stopped pods --all --timeout 300ms", 3, 0, first + ", " + second + " are not stopped"},
		"never":               {failed, "--for condition=Ready pods --all", 1, 0, second + " is failed and will not be condition Ready any more"},
		"none to wait for":    {ready, "--for condition=Ready pods -l app=none", 1, 0, "nothing matches"},
		"none to be deleted":  {ready, "--for delete pods -l app=none", 0, 0, ""},
		"one that is gone":    {ready, "--for=delete 0199f3a2-7c1e-7d3a-9a52-0000000000ff", 0, 1, ""},
		"not deleted":         {ready, "--for=delete " + first + " --timeout 0", 3, 0, first + " is not deleted"},
		"all of what":         {ready, "--for running " + first + " --all", 1, 0, "select among pods or nodes"},
		"pods without which":  {ready, "pods", 1, 0, "-l or --all is missing"},
		"pods and a name":     {ready, "pods " + first, 1, 0, "want pods alone"},
		"namespace of nodes":  {ready, "nodes --all --namespace a --for online", 1, 0, "in no namespace"},
		"bad selector":        {ready, "pods -l ==", 1, 0, "labelSelector"},
		"bad goal":            {ready, "pods --all --for online", 1, 0, "of a pod want"},
		"bad goal of nodes":   {ready, "nodes --all --for running", 1, 0, "of a node want"},
	} {
		got := run(t, c.env, "", append([]string{"wait"}, strings.Fields(c.args)...)...)
		if got.code != c.code || strings.Count(got.stdout, "\n") != c.stdout || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("%s: exit code %d, %q, %q", name, got.code, got.stdout, got.stderr)
		}
	}
}
