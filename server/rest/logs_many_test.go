package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// listening is a node whose pods say what a test sends them.
type listening struct {
	opened chan wire.LogsOpen
	says   map[string]chan wire.LogsChunk // by pod; closed at its end
}

func newListening(pods ...string) *listening {
	n := &listening{opened: make(chan wire.LogsOpen, 100), says: map[string]chan wire.LogsChunk{}}
	for _, id := range pods {
		n.says[id] = make(chan wire.LogsChunk)
	}
	return n
}

func (n *listening) OpenLogs(ctx context.Context, _ string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		n.opened <- o
		for {
			select {
			case c, more := <-n.says[o.PodID]:
				if !more || !yield(c, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// podLabelled is a pod of another user than those who read here, labelled app=web.
func podLabelled(n int, status api.PodStatus) api.Pod {
	p := somePod()
	p.ID, p.Status, p.Labels = fmt.Sprintf("0190b2f5-7c1a-7d3e-9f00-0000000001%02d", n), status, map[string]string{"app": "web"}
	return p
}

// lineReader reads a stream line by line; the sign that it has begun is "beat", and later
// signs of life are left out.
func (h *harness) lineReader(path, token string) func() api.LogLine {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.srv.URL+path, http.NoBody)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("status %d", resp.StatusCode)
	}
	scan := bufio.NewScanner(resp.Body)
	begun := false
	return func() api.LogLine {
		h.t.Helper()
		for {
			if !scan.Scan() {
				return api.LogLine{Line: "end", Notice: fmt.Sprint(scan.Err())}
			}
			if scan.Text() != "" {
				break
			}
			if !begun {
				begun = true
				return api.LogLine{Line: "beat"}
			}
		}
		var l struct {
			api.LogLine
			Error *fault.Body
		}
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			h.t.Fatalf("%q: %v", scan.Text(), err)
		}
		if l.Error != nil {
			l.Line = string(l.Error.Code)
		}
		return l.LogLine
	}
}

// expect reads a line of a pod, or an event.
func expect(t *testing.T, next func() api.LogLine, pod api.Pod, text string, event api.LogEvent) api.LogLine {
	t.Helper()
	l := next()
	if l.PodID != pod.ID || l.Line != text || l.Event != event {
		t.Fatalf("got %+v, want %q %s of %s", l, text, event, pod.ID)
	}
	return l
}

func linesAt(seconds ...int) wire.LogsChunk {
	var c wire.LogsChunk
	for _, s := range seconds {
		c.Lines = append(c.Lines, api.LogLine{Time: someTime().Add(time.Duration(s) * time.Second), Stream: "stdout", Line: fmt.Sprint(s)})
	}
	return c
}

// What is kept of several pods comes in the order of time, each line with its pod.
func TestLogsOfManyPodsAreMerged(t *testing.T) {
	t.Parallel()
	a, b, c := podLabelled(1, api.PodRunning), podLabelled(2, api.PodRunning), podLabelled(3, api.PodRunning)
	said := map[string][]wire.LogsChunk{a.ID: {linesAt(1, 4), linesAt(7)}, b.ID: {linesAt(2, 3), linesAt(5, 8)}, c.ID: {linesAt(6)}}
	broken := ""
	h := newHarness(t, func(d *rest.Deps) {
		d.Logs = fakeLogs(func(_ context.Context, _ string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
			return func(yield func(wire.LogsChunk, error) bool) {
				if o.Tail != 10 || o.Follow || o.Window != 4<<20/50 {
					t.Errorf("opened %+v", o)
				}
				if broken == o.PodID || broken == "all" {
					yield(wire.LogsChunk{}, fault.New(fault.RateLimited, "too many readers"))
					return
				}
				for _, chunk := range said[o.PodID] {
					if !yield(wire.LogsChunk{Lines: append([]api.LogLine(nil), chunk.Lines...)}, nil) {
						return
					}
				}
			}
		})
	})
	total := 3
	h.db.listPods = func(_ access.Identity, q api.PodQuery) (api.Page[api.Pod], error) {
		if q.LabelSelector != "app=web" || q.Namespace != "default" || q.PageSize != 50 {
			t.Errorf("asked for %+v", q)
		}
		return api.Page[api.Pod]{Items: []api.Pod{a, b, c}, Total: total}, nil
	}
	const path = "/api/logs?namespace=default&labelSelector=app%3Dweb"
	r := h.do(request{method: "GET", path: path, token: "good-viewer"})
	if got := strings.Join(logLines(t, r.raw), " "); got != "1 2 3 4 5 6 7 8" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(string(r.raw), `"line":"6","podId":"`+c.ID+`"`) || strings.Contains(string(r.raw), "position") {
		t.Errorf("got %s", r.raw)
	}

	broken = b.ID
	r = h.do(request{method: "GET", path: path, token: "good-viewer"})
	if got := strings.Join(logLines(t, r.raw), " "); got != " 1 4 6 7 " || !strings.Contains(string(r.raw), "1 of 3 pods could not be read: too many readers") {
		t.Errorf("one that fails: got %q of %s", got, r.raw)
	}
	broken = "all"
	h.do(request{method: "GET", path: path, token: "good-viewer"}).fails(http.StatusTooManyRequests, fault.RateLimited)
	total = 51
	body := h.do(request{method: "GET", path: path, token: "good-viewer"}).fails(http.StatusBadRequest, fault.Validation)
	if got := field(t, body, "labelSelector"); got != fault.FieldOutOfRange {
		t.Errorf("too many pods: %s", got)
	}
}

// A follower of a selector has all that match: those that come later join, and those that
// end, vanish or match no more leave, for which others get their place.
func TestPodsJoinAndLeave(t *testing.T) {
	t.Parallel()
	a, b, c := podLabelled(1, api.PodRunning), podLabelled(2, api.PodPending), podLabelled(3, api.PodRunning)
	n := newListening(a.ID, b.ID, c.ID)
	h := newHarness(t, func(d *rest.Deps) { d.Logs = n })
	h.putRoles("2")
	other := podLabelled(4, api.PodRunning)
	other.Labels = map[string]string{"app": "db"}
	old := podLabelled(5, api.PodSucceeded)
	h.putPods("3", a, other, old)
	next := h.lineReader("/api/logs?follow&resumable&labelSelector=app%3Dweb&maxPods=2", "good-operator")
	if l := next(); l.Line != "beat" {
		t.Fatalf("got %+v, want that the stream has begun", l)
	}
	if o := <-n.opened; o.PodID != a.ID || o.Tail != 10 || !o.Follow || o.Window != 256<<10 {
		t.Errorf("opened %+v", o)
	}
	n.says[a.ID] <- at("r", 7, "hello")
	if l := expect(t, next, a, "hello", ""); l.Position != "r.7" {
		t.Errorf("position %q", l.Position)
	}

	// A mark stands for as many lines as it counts.
	gap := at("r", 20, "behind")
	gap.Lines = append([]api.LogLine{{Line: "before"}, {Dropped: 5}}, gap.Lines...)
	n.says[a.ID] <- gap
	for _, want := range []string{"r.14", "r.19", "r.20"} {
		if l := next(); l.Position != want {
			t.Errorf("got %+v, want position %s", l, want)
		}
	}

	b.CreatedAt = time.Now() // it is new: all its lines are
	h.putPods("4", b)
	expect(t, next, b, "", api.LogJoined)
	b.Status = api.PodRunning
	h.putPods("5", b)
	if o := <-n.opened; o.PodID != b.ID || o.Tail != -1 {
		t.Errorf("opened %+v", o)
	}
	h.putPods("6", c)
	expect(t, next, c, "", api.LogWaits)
	h.putPods("7", c)

	b.Status = api.PodUnknown
	h.putPods("8", b)
	expect(t, next, b, "", api.LogLost)
	b.Status = api.PodRunning
	h.putPods("9", b)

	a.Labels = map[string]string{"app": "db"}
	h.putPods("10", a)
	expect(t, next, a, "", api.LogLeft)
	expect(t, next, c, "", api.LogJoined)
	if o := <-n.opened; o.PodID != c.ID || o.Tail != 10 {
		t.Errorf("opened %+v", o)
	}

	c.Status, c.Reason = api.PodFailed, api.ReasonOOMKilled
	h.putPods("11", c)
	close(n.says[c.ID])
	if l := expect(t, next, c, "", api.LogEnded); !strings.Contains(l.Notice, "failed (OOMKilled)") {
		t.Errorf("got %q", l.Notice)
	}
	if o := <-n.opened; o.PodID != c.ID || o.Follow { // what is kept of one that has ended
		t.Errorf("opened %+v", o)
	}
	// Back again, it goes on where it was.
	a.Labels = map[string]string{"app": "web"}
	h.putPods("12", a)
	expect(t, next, a, "", api.LogJoined)
	if o := <-n.opened; o.After == nil || *o.After != (wire.LogPosition{Ring: "r", Next: 20}) {
		t.Errorf("opened %+v", o)
	}
	h.model.Apply(store.Batch{Cursor: "13", Pods: store.Changes[api.Pod]{Delete: []string{b.ID}}})
	close(n.says[b.ID])
	expect(t, next, b, "", api.LogRemoved)
}

// A reader that comes back has each pod from where it was, also of one that has ended,
// and is told what is gone. Pods that were named end the stream when they have ended.
func TestFollowingOn(t *testing.T) {
	t.Parallel()
	a, b := podLabelled(1, api.PodRunning), podLabelled(2, api.PodRunning)
	n := newListening(a.ID, b.ID)
	h := newHarness(t, func(d *rest.Deps) { d.Logs = n })
	h.putRoles("2")
	h.putPods("3", a, b)
	h.db.getPod = func(_ access.Identity, id string) (api.Pod, error) {
		if p, ok := h.model.Pods.Snapshot().Get(id); ok {
			return p, nil
		}
		return api.Pod{}, notFound()
	}
	next := h.lineReader("/api/logs?follow&resumable&after="+a.ID+":r.7&after="+someID+":x.1&podId="+b.ID, "good-operator")
	if l := next(); l.PodID != someID || l.Event != api.LogRemoved {
		t.Errorf("got %+v", l)
	}
	if l := next(); l.Line != "beat" {
		t.Errorf("got %+v", l)
	}
	for range 2 {
		switch o := <-n.opened; {
		case o.PodID == a.ID && o.After != nil && *o.After == wire.LogPosition{Ring: "r", Next: 7} && o.Tail == -1:
		case o.PodID == b.ID && o.After == nil && o.Tail == 10:
		default:
			t.Errorf("opened %+v", o)
		}
	}
	// Another ring: nobody knows what is missing.
	n.says[a.ID] <- at("s", 2, "new")
	if l := next(); !strings.Contains(l.Notice, "may be missing") || l.PodID != a.ID {
		t.Errorf("got %+v", l)
	}
	if l := expect(t, next, a, "new", ""); l.Position != "s.2" {
		t.Errorf("position %q", l.Position)
	}
	for i, p := range []*api.Pod{&a, &b} {
		p.Status = api.PodSucceeded
		h.putPods(fmt.Sprint(4+i), *p)
		close(n.says[p.ID])
		expect(t, next, *p, "", api.LogEnded)
	}
	if l := next(); l.Line != "end" || l.Notice != "<nil>" {
		t.Errorf("got %+v, want the end", l)
	}
}

// Nobody sees the output of pods that they may not see, and whoever loses the right to
// one while they follow is cut off before another line.
func TestLogsOfManyPodsAreForWhoMaySeeThem(t *testing.T) {
	t.Parallel()
	mine, theirs := podLabelled(1, api.PodRunning), podLabelled(2, api.PodRunning)
	mine.Namespace, theirs.Namespace = "team", "other"
	n := newListening(mine.ID, theirs.ID)
	h := newHarness(t, func(d *rest.Deps) { d.Logs = n })
	h.putRoles("2")
	member := api.NamespaceMember{Namespace: "team", UserID: userIDOf("viewer"), Role: api.RoleViewer}
	h.model.Apply(store.Batch{Cursor: "3", Members: store.Changes[api.NamespaceMember]{Put: []api.NamespaceMember{member}}})
	h.putPods("4", mine, theirs)
	next := h.lineReader("/api/logs?follow&resumable&labelSelector", "good-viewer")
	next()
	n.says[mine.ID] <- line("one")
	expect(t, next, mine, "one", "")
	later := podLabelled(3, api.PodRunning)
	later.Namespace = "other"
	h.putPods("5", later)
	h.model.Apply(store.Batch{Cursor: "6", Members: store.Changes[api.NamespaceMember]{Delete: []string{store.MemberKey("team", member.UserID)}}})
	if l := next(); l.Line != string(fault.Gone) {
		t.Errorf("got %+v, want GONE", l)
	}
	if len(n.opened) != 1 {
		t.Errorf("%d pods were read", len(n.opened))
	}
	again := h.lineReader("/api/logs?follow&resumable&labelSelector&after="+mine.ID+":r.1", "good-viewer")
	h.db.getPod = func(access.Identity, string) (api.Pod, error) { return api.Pod{}, notFound() }
	if l := again(); l.PodID != mine.ID || l.Event != api.LogRemoved {
		t.Errorf("got %+v", l)
	}
}

func TestQuestionsForLogsOfManyPods(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.db.getPod = func(access.Identity, string) (api.Pod, error) { return api.Pod{}, notFound() }
	for query, name := range map[string]string{
		"": "podId", "podId=x": "podId", "podId=" + someID + "&labelSelector=a": "podId", "labelSelector=a%20b%20c": "labelSelector",
		"podId=" + someID + "&namespace=default": "namespace", "labelSelector&namespace=A_B": "namespace", "labelSelector&maxPods=101": "maxPods",
		"labelSelector&tail=-2": "tail", "labelSelector&since=now": "since", "labelSelector&follow=2": "follow",
		"labelSelector&resumable=2": "resumable", "labelSelector&previous&follow": "previous", "labelSelector&folow": "folow",
		"podId=" + someID + "&podId=" + otherID + "&maxPods=1": "podId", "labelSelector&after=x": "after",
		"labelSelector&after=" + someID + ":r.-1": "after", "labelSelector&after=" + someID + ":r.18446744073709551615": "after",
		"labelSelector&after=" + someID + ":" + strings.Repeat("r", 33) + ".1":          "after",
		"labelSelector&" + strings.Repeat(url.Values{"after": {"x"}}.Encode()+"&", 101): "after",
	} {
		body := h.do(request{method: "GET", path: "/api/logs?" + query, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
		field(t, body, name)
	}
	h.do(request{method: "GET", path: "/api/logs?podId=" + someID, token: "good-admin"}).fails(http.StatusNotFound, fault.NotFound)
}
