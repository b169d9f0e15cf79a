package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

func printer(output string) (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, errOut bytes.Buffer
	return &app{getenv: func(string) string { return "" }, stdout: &out, stderr: &errOut, flagOutput: output}, &out, &errOut
}

var podsToPrint = []api.Pod{
	{ID: "1", PackName: "a", PackVersion: "1.0.0", Status: api.PodRunning, NodeName: "n"},
	{ID: "22", PackName: "long-name", PackVersion: "1.0.0", Status: api.PodFailed, Reason: "Error\x1b[31m\nX"},
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"table": "ID  PACK       VERSION  STATUS                RESTARTS  NODE  AGE\n" +
			"1   a          1.0.0    running               0         n     -\n" +
			"22  long-name  1.0.0    failed (Error[31m X)  0         -     -\n",
		"name": "pod/1\npod/22\n",
	} {
		a, out, _ := printer(format)
		if err := printList(a, podView(), podsToPrint); err != nil || out.String() != want {
			t.Errorf("%s: %v\n got %q\nwant %q", format, err, out, want)
		}
	}
	a, out, _ := printer("yaml")
	if err := printList(a, podView(), podsToPrint[:1]); err != nil || !strings.HasPrefix(out.String(), "- id: \"1\"\n") || !strings.Contains(out.String(), "\n  packName: a\n") {
		t.Errorf("yaml: %v\n%s", err, out)
	}
	a, out, _ = printer("json")
	if err := printList[api.Pod](a, podView(), nil); err != nil || out.String() != "[]\n" {
		t.Errorf("json of none: %v, %q", err, out)
	}
	a, out, errOut := printer("")
	if err := printList[api.Pod](a, podView(), nil); err != nil || out.Len() > 0 || !strings.Contains(errOut.String(), "no pods") {
		t.Errorf("table of none: %v, %q, %q", err, out, errOut)
	}
	a, out, _ = printer("table")
	if err := printOne(a, podView(), podsToPrint[0], func(w io.Writer) { line(w, "a", "b"); line(w, "gone", "") }); err != nil || out.String() != "a:  b\n" {
		t.Errorf("one: %v, %q", err, out)
	}
}

func TestNumbersOfARefusalHaveUnits(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	describeVerdict(&out, &api.Verdict{Reason: api.ReasonWaitingForRoom, Message: "0/4 nodes are available.", Nodes: []api.NodeRefusal{
		{NodeName: "a", Filter: "CPU", Message: "Insufficient cpu", Asked: 2000, Free: 1500},
		{NodeName: "b", Filter: "Memory", Message: "Insufficient memory", Asked: 1024, Free: 20},
		{NodeName: "c", Filter: "Storage", Message: "Insufficient storage", Asked: 100},
		{NodeName: "d", Filter: "Pods", Message: "Too many pods", Asked: 1},
	}})
	for _, want := range []string{"cpu (asked 2, free 1500m)\n", "memory (asked 1Gi, free 20Mi)\n", "storage (asked 100Mi, free 0)\n", "pods (asked 1, free 0)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestColorsKeepTheColumns(t *testing.T) {
	t.Parallel()
	a, out, _ := printer("table")
	if err := printList(a, podView(), podsToPrint); err != nil {
		t.Fatal(err)
	}
	got := colorColumn(out.String(), statusColumn)
	for _, want := range []string{"\x1b[32mrunning\x1b[0m  ", "\x1b[31mfailed (Error[31m X)\x1b[0m  0"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q misses %q", got, want)
		}
	}
	plain := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(got)
	if plain != out.String() {
		t.Errorf("without colours:\n%q\nwant\n%q", plain, out)
	}
	if same := colorColumn("A B\n1 2\n", statusColumn); same != "A B\n1 2\n" {
		t.Errorf("a table without status: %q", same)
	}
	for status, code := range map[string]string{"pending (X)": yellow, "stopped": grey, "evicted": red} {
		if got := colored(status); got != paint(code, status) {
			t.Errorf("colored(%q) = %q", status, got)
		}
	}
	if got := colored("revoked"); got != "revoked" {
		t.Errorf("colored(revoked) = %q", got)
	}
}

func TestAgesSizesAndTimes(t *testing.T) {
	t.Parallel()
	for ago, want := range map[time.Duration]string{
		5 * time.Second: "5s", 119 * time.Second: "119s", 3 * time.Minute: "3m", 3 * time.Hour: "3h", 72 * time.Hour: "3d", -time.Hour: "0s",
	} {
		if got := age(time.Now().Add(-ago)); got != want {
			t.Errorf("age %s = %q, want %q", ago, got, want)
		}
	}
	if age(time.Time{}) != "" || at(nil) != "" {
		t.Error("no time has an age")
	}
	for n, want := range map[int64]string{1: "1 B", 1500: "1.5 kB", 2_500_000: "2.5 MB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	if got := seconds(12 * time.Millisecond); got != "12ms" {
		t.Errorf("seconds = %q", got)
	}
}

func TestProgressIsDrawnAndWipedAway(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{w: &out, label: "uploading x", total: 1000}
	p.set(10)
	p.set(20) // too soon
	p.set(1000)
	p.end()
	if got := out.String(); strings.Count(got, "uploading x") != 2 || !strings.Contains(got, "100%") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("drawn: %q", got)
	}
	a, _, errOut := printer("")
	bar := a.progressBar("x", 10)
	bar.set(10)
	bar.end()
	if errOut.Len() > 0 {
		t.Errorf("drawn without a terminal: %q", errOut)
	}
}

func TestParsing(t *testing.T) {
	t.Parallel()
	got, err := parseTolerations([]string{"*", "a=b:NoExecute", "c"})
	if err != nil || len(got) != 3 || got[0].Key != "" || got[0].Operator != api.TolerationExists ||
		got[1] != (api.Toleration{Key: "a", Operator: api.TolerationEqual, Value: "b", Effect: api.NoExecute}) || got[2].Operator != api.TolerationExists {
		t.Errorf("tolerations: %+v, %v", got, err)
	}
	taints, err := parseTaints([]string{"a=b:NoSchedule", "c:NoExecute"})
	if err != nil || taints[0].String() != "a=b:NoSchedule" || taints[1].String() != "c:NoExecute" {
		t.Errorf("taints: %+v, %v", taints, err)
	}
	if since, err := parseSince("2026-01-31T12:00:00Z"); err != nil || since.Year() != 2026 {
		t.Errorf("since: %v, %v", since, err)
	}
	for host, want := range map[string]string{"box.example.com": "box", "1a2b": "node-1a2b", "": "node-"} {
		if got := hostName(host); got != want {
			t.Errorf("hostName(%q) = %q, want %q", host, got, want)
		}
	}
	if formatOf("a.mjs", nil) != api.FormatESM || formatOf("a.cjs", []byte("export default 1")) != api.FormatCommonJS || formatOf("a.js", []byte("x;\nexport {a}")) != api.FormatESM {
		t.Error("formatOf is wrong")
	}
}

func TestIDsAreShortenedForANarrowTerminal(t *testing.T) {
	t.Parallel()
	pods := []api.Pod{
		{ID: "01a208d6-7466-7f3f-81d2-f63c5632fbf8", PackName: "hello", PackVersion: "1.0.0", Status: api.PodRunning, NodeName: "node-1"},
		{ID: "01a208d6-7466-7f40-81d2-f63c5632fbf8", PackName: "hello", PackVersion: "1.0.0", Status: api.PodRunning, NodeName: "node-1"},
	}
	wide := table(podView(), pods, 200)
	if !strings.Contains(wide, pods[0].ID) || table(podView(), pods, 0) != wide {
		t.Errorf("there is room for the ids:\n%s", wide)
	}
	narrow := table(podView(), pods, 80)
	if !strings.Contains(narrow, "\n01a208d6-7466-7f3  hello") || !strings.Contains(narrow, "\n01a208d6-7466-7f4  hello") {
		t.Errorf("ids are not the shortest that tell them apart:\n%s", narrow)
	}
	if got := table(podView(), pods[:1], 80); !strings.Contains(got, "\n01a208d6-7466  hello") {
		t.Errorf("one pod:\n%s", got)
	}
}

func TestCleanTakesAwayWhatSteersATerminal(t *testing.T) {
	t.Parallel()
	if got := clean("a\u202eb\u2066c\x1b[31m\u009bd\ne\tf ä 👍🏽"); got != "abc[31md e f ä 👍🏽" {
		t.Errorf("got %q", got)
	}
}

func TestBackOffSaysWhenItEnds(t *testing.T) {
	t.Parallel()
	next := time.Now().Add(90*time.Second + 400*time.Millisecond)
	p := api.Pod{Status: api.PodStarting, Reason: api.ReasonCrashLoopBackOff, LastTermination: &api.Termination{RestartsAt: &next}}
	if got := podStatus(p); got != "starting (CrashLoopBackOff, again in 1m30s)" {
		t.Errorf("got %q", got)
	}
	var out strings.Builder
	if describeTermination(&out, p); !strings.Contains(out.String(), "(in 1m30s)") {
		t.Errorf("got %q", out.String())
	}
	over := time.Now().Add(-time.Second)
	p.LastTermination.RestartsAt = &over
	out.Reset()
	describeTermination(&out, p)
	if got := podStatus(p); got != "starting (CrashLoopBackOff)" || strings.Contains(out.String(), "starts again") {
		t.Errorf("got %q and %q of a time that is over", got, out.String())
	}
}
