package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func aReport(attempt int, status api.RunStatus) wire.RunReport {
	return wire.RunReport{RunKey: api.RunKey{PodID: podID, Incarnation: 1, Attempt: attempt}, Status: status}
}

func TestReportsAreAcknowledgedByKey(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.report = func(node string, rs []wire.RunReport) ([]api.RunKey, []wire.Refusal, error) {
		if node != "n1" {
			return nil, nil, fmt.Errorf("reports came for %s", node)
		}
		return []api.RunKey{rs[0].RunKey}, []wire.Refusal{{Key: rs[1].RunKey, Code: string(fault.Stale)}}, nil
	}
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: []wire.RunReport{aReport(1, api.RunRunning), aReport(2, api.RunExited)}})
	var ack wire.RunReportsAck
	e := p.expect(wire.TypeRunReport+wire.AckSuffix, &ack)
	if e.CorrelationID != "r" || len(ack.Accepted) != 1 || ack.Accepted[0].Attempt != 1 || len(ack.Refused) != 1 || ack.Refused[0].Code != "STALE" {
		t.Errorf("got %+v, want attempt 1 accepted and 2 stale", ack)
	}
}

func TestReportsGatherWhileACommitRuns(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	release := make(chan struct{})
	db.report = func(_ string, rs []wire.RunReport) ([]api.RunKey, []wire.Refusal, error) {
		<-release
		var keys []api.RunKey
		for _, r := range rs {
			keys = append(keys, r.RunKey)
		}
		return keys, nil, nil
	}
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	p.send(wire.TypeRunReport, "1", wire.RunReports{Reports: []wire.RunReport{aReport(1, api.RunStarting)}})
	receive(t, db.reports, "the first commit")
	for i := range 5 {
		p.send(wire.TypeRunReport, fmt.Sprint(i+2), wire.RunReports{Reports: []wire.RunReport{aReport(i+2, api.RunStarting)}})
	}
	p.send(wire.TypePing, "", struct{}{})
	p.expect(wire.TypePong, nil) // the reader waits for no commit
	close(release)
	if second := receive(t, db.reports, "the second commit"); len(second) != 5 {
		t.Errorf("got %d reports in the second commit, want 5", len(second))
	}
	for range 6 {
		p.expect(wire.TypeRunReport+wire.AckSuffix, nil)
	}
}

// A node with thousands of pods tells of all of them when it comes back.
func TestManyReportsAreStoredInPieces(t *testing.T) {
	t.Parallel()
	const many, piece = 2500, 1000
	db := newFakeDB()
	var runs []wire.RunState
	for range many {
		runs = append(runs, wire.RunState{RunKey: api.RunKey{PodID: api.NewID(), Incarnation: 1, Attempt: 1}, Status: api.RunRunning})
	}
	all := func(what string) {
		for got := 0; got < many; {
			n := len(receive(t, db.reports, what))
			if n > piece {
				t.Errorf("%s: %d reports in one call, want at most %d", what, n, piece)
			}
			got += n
		}
	}
	p, _ := newRig(t, db, dispatch.Config{}).agent(t, runs...)
	all("the inventory")
	var reports []wire.RunReport
	for _, r := range runs {
		reports = append(reports, wire.RunReport{RunKey: r.RunKey, Status: api.RunExited, Final: true})
	}
	p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: reports})
	all("the reports")
	var ack wire.RunReportsAck
	p.expect(wire.TypeRunReport+wire.AckSuffix, &ack)
	if len(ack.Accepted) != many {
		t.Errorf("%d reports were accepted, want %d", len(ack.Accepted), many)
	}
}

func TestReportsThatCannotBe(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	long := aReport(1, api.RunExited)
	long.Termination = &api.Termination{LastOutput: string(make([]byte, api.MaxLastOutput+1))}
	for _, r := range []wire.RunReport{aReport(1, api.RunLost), aReport(-1, api.RunRunning), {}, long} {
		p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: []wire.RunReport{r}})
		if code := p.expectFailure(wire.TypeRunReport + wire.ErrorSuffix); code != string(fault.Validation) {
			t.Errorf("got %s, want VALIDATION_ERROR", code)
		}
	}
}

// A message that can never be stored is not put off to later.
func TestTooManyReportsInOneMessage(t *testing.T) {
	t.Parallel()
	p, _ := newRig(t, newFakeDB(), dispatch.Config{}).agent(t)
	reports := make([]wire.RunReport, wire.MaxReports+1)
	for i := range reports {
		reports[i] = aReport(i, api.RunRunning)
	}
	p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: reports})
	var f wire.Failure
	p.expect(wire.TypeRunReport+wire.ErrorSuffix, &f)
	if f.Code != string(fault.Validation) || !strings.Contains(f.Message, "at most 4096") {
		t.Errorf("got %+v, want VALIDATION_ERROR with the limit", f)
	}
}

func TestFailedReportsAreToldWithoutDetails(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.report = func(string, []wire.RunReport) ([]api.RunKey, []wire.Refusal, error) {
		return nil, nil, errors.New("password=secret")
	}
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	p.send(wire.TypeRunReport, "r", wire.RunReports{Reports: []wire.RunReport{aReport(1, api.RunRunning)}})
	var f wire.Failure
	p.expect(wire.TypeRunReport+wire.ErrorSuffix, &f)
	if f.Code != string(fault.Internal) || f.Message != "an internal error occurred" {
		t.Errorf("got %+v, want nothing of the cause", f)
	}
}

func TestBundleURL(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	p.send(wire.TypeBundleURL, "b", wire.BundleURL{PodID: podID, Incarnation: 1})
	var b wire.BundleURLAck
	p.expect(wire.TypeBundleURL+wire.AckSuffix, &b)
	if b.URL != "http://storage/o/p/1.0.0/x.js" || b.SHA256 != "abc" || b.Size != 3 || b.ExpiresAt.Before(time.Now()) {
		t.Errorf("got %+v", b)
	}
	p.send(wire.TypeBundleURL, "b", wire.BundleURL{PodID: "../x", Incarnation: 1})
	if code := p.expectFailure(wire.TypeBundleURL + wire.ErrorSuffix); code != string(fault.Validation) {
		t.Errorf("got %s, want VALIDATION_ERROR", code)
	}
}

func TestBundleOfAnotherNodeIsRefused(t *testing.T) {
	t.Parallel()
	db := newFakeDB()
	db.bundle = func(string, string) (api.Pack, error) { return api.Pack{}, fault.New(fault.Forbidden, "not yours") }
	p, _ := newRig(t, db, dispatch.Config{}).agent(t)
	p.send(wire.TypeBundleURL, "b", wire.BundleURL{PodID: podID, Incarnation: 1})
	if code := p.expectFailure(wire.TypeBundleURL + wire.ErrorSuffix); code != string(fault.Forbidden) {
		t.Errorf("got %s, want FORBIDDEN", code)
	}
}

// logs collects what OpenLogs gives.
func logs(ctx context.Context, r *rig, o wire.LogsOpen) (lines []api.LogLine, err error) {
	for c, err := range r.d.OpenLogs(ctx, "n1", o) {
		if err != nil {
			return lines, err
		}
		lines = append(lines, c.Lines...)
	}
	return lines, nil
}

func TestLogsAreRelayed(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	type outcome struct {
		lines []api.LogLine
		err   error
	}
	got := make(chan outcome, 1)
	go func() {
		lines, err := logs(t.Context(), r, wire.LogsOpen{PodID: podID, Tail: 10})
		got <- outcome{lines, err}
	}()
	var open wire.LogsOpen
	p.expect(wire.TypeLogsOpen, &open)
	if open.PodID != podID || open.Tail != 10 || open.StreamID == "" {
		t.Fatalf("got %+v", open)
	}
	p.send(wire.TypeLogsChunk, "", wire.LogsChunk{StreamID: "of nobody"})
	p.send(wire.TypeLogsChunk, "", wire.LogsChunk{StreamID: open.StreamID, Lines: []api.LogLine{{Line: "one"}, {Line: "two"}}})
	p.send(wire.TypeLogsEnd, "", wire.LogsEnd{StreamID: open.StreamID})
	if o := receive(t, got, "the lines"); o.err != nil || len(o.lines) != 2 || o.lines[1].Line != "two" {
		t.Errorf("got %+v, want one and two", o)
	}
	go func() {
		lines, err := logs(t.Context(), r, wire.LogsOpen{PodID: podID})
		got <- outcome{lines, err}
	}()
	p.expect(wire.TypeLogsOpen, &open)
	p.send(wire.TypeLogsEnd, "", wire.LogsEnd{StreamID: open.StreamID, Code: string(fault.NotFound), Message: "no such pod"})
	if o := receive(t, got, "the error"); fault.CodeOf(o.err) != fault.NotFound {
		t.Errorf("got %v, want NOT_FOUND", o.err)
	}
}

func TestLogsEndWithTheirReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	p, _ := r.agent(t)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := logs(ctx, r, wire.LogsOpen{PodID: podID, Follow: true})
		got <- err
	}()
	p.expect(wire.TypeLogsOpen, nil)
	cancel()
	p.expect(wire.TypeLogsClose, nil)
	if err := receive(t, got, "the end"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	go func() {
		_, err := logs(t.Context(), r, wire.LogsOpen{PodID: podID, Follow: true})
		got <- err
	}()
	p.expect(wire.TypeLogsOpen, nil)
	_ = p.conn.CloseNow()
	if err := receive(t, got, "the end"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v, want SERVICE_UNAVAILABLE", err)
	}
}

func TestLogsOfANodeThatIsNotHere(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	if _, err := logs(t.Context(), r, wire.LogsOpen{PodID: podID}); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v, want SERVICE_UNAVAILABLE", err)
	}
}

// watched reads events until the bookmark and gives the ids that were put.
func watched(t *testing.T, p *peer) []string {
	t.Helper()
	var ids []string
	for {
		e := receive(t, p.got, "an event or the bookmark")
		switch e.Type {
		case wire.TypeBookmark:
			return ids
		case wire.TypeEvent:
			ids = append(ids, objectOf(t, e).ID)
		default:
			t.Fatalf("got %s %s", e.Type, e.Payload)
		}
	}
}

func objectOf(t *testing.T, e wire.Envelope) (pod api.Pod) {
	t.Helper()
	var event wire.Event
	if err := json.Unmarshal(e.Payload, &event); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(event.Object, &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestWatchPods(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	mine, theirs, team := podOn("n1", api.PodRunning), podOn("n1", api.PodRunning), podOn("n1", api.PodRunning)
	mine.ID, mine.CreatedBy, mine.Labels = "mine", "developer", map[string]string{"app": "a"}
	theirs.ID = "theirs"
	team.ID, team.Namespace, team.Labels = "team", "team", map[string]string{"app": "b"}
	batch := put(mine, theirs, team)
	batch.Members.Put = []api.NamespaceMember{{Namespace: "team", UserID: "developer"}}
	r.store.Apply(batch)
	p := r.dial(t, "token developer")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "1", Kind: "pods"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	if ids := watched(t, p); len(ids) != 2 {
		t.Errorf("got %v, want mine and team", ids)
	}
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "1", Kind: "pods"})
	if code := p.expectFailure(wire.TypeWatch + wire.ErrorSuffix); code != string(fault.Conflict) {
		t.Errorf("got %s, want CONFLICT", code)
	}
	p.send(wire.TypeUnwatch, "u", wire.Unwatch{WatchID: "1"})
	p.expect(wire.TypeUnwatch+wire.AckSuffix, nil)
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "2", Kind: "pods", LabelSelector: "app=a"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	if ids := watched(t, p); len(ids) != 1 || ids[0] != "mine" {
		t.Errorf("got %v, want mine", ids)
	}
	mine.Labels = nil // leaves the selector
	r.store.Apply(put(mine))
	var event wire.Event
	if p.expect(wire.TypeEvent, &event); event.Event != wire.EventDelete {
		t.Errorf("got %+v, want a deletion", event)
	}
}

func TestWatchEndsWithTheRole(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	r.store.Apply(store.Batch{Users: store.Changes[api.User]{Put: []api.User{{ID: "operator", Roles: []api.Role{api.RoleOperator}}}}})
	p := r.dial(t, "token operator")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "1", Kind: "pods"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	p.expect(wire.TypeBookmark, nil)
	r.store.Apply(put(podOn("n1", api.PodRunning)))
	p.expect(wire.TypeEvent, nil)
	r.store.Apply(store.Batch{Users: store.Changes[api.User]{Put: []api.User{{ID: "operator", Roles: []api.Role{api.RoleViewer}}}}})
	r.store.Apply(put(podOn("n1", api.PodStopping)))
	p.expectClose()
	for len(p.got) > 0 {
		if e := <-p.got; strings.Contains(string(e.Payload), string(api.PodStopping)) {
			t.Errorf("told after the role was gone: %s", e.Payload)
		}
	}
}

func TestWatchNodesShowsWhatIsAllocated(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	busy := podOn("n1", api.PodRunning)
	busy.ResourceRequests = api.Resources{CPU: 100, Memory: 64}
	batch := put(busy)
	batch.Nodes.Put = []api.Node{{ID: "n1", Name: "node-1"}, {ID: "n2", Name: "node-2"}}
	r.store.Apply(batch)
	p := r.dial(t, "token viewer")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "1", Kind: "nodes", Name: "node-1"})
	p.expect(wire.TypeWatch+wire.AckSuffix, nil)
	var event wire.Event
	var n api.Node
	p.expect(wire.TypeEvent, &event)
	if err := json.Unmarshal(event.Object, &n); err != nil {
		t.Fatal(err)
	}
	if n.Allocated != (api.Capacity{CPU: 100, Memory: 64, Pods: 1}) {
		t.Errorf("got %+v, want what the pod holds", n.Allocated)
	}
	p.expect(wire.TypeBookmark, nil)
}

func TestWatchesThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{})
	tests := []struct {
		token string
		watch wire.Watch
		want  fault.Code
	}{
		{"", wire.Watch{WatchID: "1", Kind: "pods"}, fault.AuthenticationRequired},
		{"token viewer", wire.Watch{WatchID: "1", Kind: "secrets"}, fault.Validation},
		{"token viewer", wire.Watch{Kind: "pods"}, fault.Validation},
		{"token viewer", wire.Watch{WatchID: "1", Kind: "pods", LabelSelector: "a in ("}, fault.Validation},
		{"token nobody", wire.Watch{WatchID: "1", Kind: "pods"}, fault.Forbidden},
		{credential, wire.Watch{WatchID: "1", Kind: "nodes"}, fault.Forbidden},
	}
	for _, tt := range tests {
		p := r.dial(t, tt.token)
		p.expect(wire.TypeConnected, nil)
		p.send(wire.TypeWatch, "w", tt.watch)
		if code := p.expectFailure(wire.TypeWatch + wire.ErrorSuffix); code != string(tt.want) {
			t.Errorf("%q %+v: got %s, want %s", tt.token, tt.watch, code, tt.want)
		}
	}
	p := r.dial(t, "token viewer")
	p.expect(wire.TypeConnected, nil)
	p.send(wire.TypeUnwatch, "u", wire.Unwatch{WatchID: "none"})
	if code := p.expectFailure(wire.TypeUnwatch + wire.ErrorSuffix); code != string(fault.NotFound) {
		t.Errorf("got %s, want NOT_FOUND", code)
	}
}
