package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func line(text string) wire.LogsChunk {
	return wire.LogsChunk{Lines: []api.LogLine{{Time: someTime(), Stream: "stdout", Line: text, Attempt: 1}}}
}

func withPod(h *harness, p api.Pod) {
	h.db.getPod = func(_ access.Identity, id string) (api.Pod, error) {
		if id != p.ID {
			return api.Pod{}, notFound()
		}
		return p, nil
	}
}

func logLines(t *testing.T, raw []byte) []string {
	t.Helper()
	var out []string
	for text := range strings.Lines(string(raw)) {
		var l api.LogLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		out = append(out, l.Line)
	}
	return out
}

func TestLogs(t *testing.T) {
	t.Parallel()
	var got wire.LogsOpen
	h := newHarness(t, func(d *rest.Deps) {
		d.Logs = fakeLogs(func(_ context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
			got = o
			return func(yield func(wire.LogsChunk, error) bool) {
				if nodeID != otherID {
					t.Errorf("asked node %s", nodeID)
				}
				_ = yield(line("one"), nil) && yield(line("two"), nil)
			}
		})
	})
	withPod(h, somePod())
	r := h.do(request{method: "GET", path: "/api/pods/" + someID + "/logs?tail=5&previous&since=2026-01-02T03:04:05Z", token: "good-viewer"})
	if ct := r.header.Get("Content-Type"); r.status != http.StatusOK || !strings.HasPrefix(ct, "application/x-ndjson") {
		t.Fatalf("got %d %s: %s", r.status, ct, r.raw)
	}
	if lines := logLines(t, r.raw); len(lines) != 2 || lines[1] != "two" {
		t.Errorf("got %v", lines)
	}
	if got.PodID != someID || got.Tail != 5 || !got.Previous || got.Follow || got.Since == nil || got.StreamID == "" {
		t.Errorf("opened %+v", got)
	}
	h.do(request{method: "GET", path: "/api/pods/" + otherID + "/logs", token: "good-viewer"}).fails(http.StatusNotFound, fault.NotFound)
}

func TestLogsFollow(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	more := make(chan string)
	h := newHarness(t, func(d *rest.Deps) {
		d.Logs = fakeLogs(func(ctx context.Context, _ string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
			return func(yield func(wire.LogsChunk, error) bool) {
				defer close(closed)
				if !o.Follow {
					t.Error("follow did not arrive")
				}
				for {
					select {
					case text := <-more:
						if !yield(line(text), nil) {
							return
						}
					case <-ctx.Done():
						return
					}
				}
			}
		})
	})
	withPod(h, somePod())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.srv.URL+"/api/pods/"+someID+"/logs?follow=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good-viewer")
	go func() { more <- "first" }()
	resp, err := h.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"first", "second", "third"} {
		if want != "first" {
			more <- want // only after the line before it has come through
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("got %q, want %s: %v", lines.Text(), want, lines.Err())
		}
	}
	cancel()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("the stream stays open after its reader has gone")
	}
}

func TestLogsErrors(t *testing.T) {
	t.Parallel()
	var chunks []wire.LogsChunk
	var failure error
	h := newHarness(t, func(d *rest.Deps) {
		d.Logs = fakeLogs(func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
			return func(yield func(wire.LogsChunk, error) bool) {
				for _, c := range chunks {
					if !yield(c, nil) {
						return
					}
				}
				yield(wire.LogsChunk{}, failure)
			}
		})
	})
	pod := somePod()
	withPod(h, pod)
	get := func() reply {
		return h.do(request{method: "GET", path: "/api/pods/" + someID + "/logs?tail=2", token: "good-viewer"})
	}
	failure = fault.New(fault.Unavailable, "the node is not connected")
	get().fails(http.StatusServiceUnavailable, fault.Unavailable)
	chunks = []wire.LogsChunk{line("one")}
	r := get()
	parts := strings.Split(strings.TrimSpace(string(r.raw)), "\n")
	if r.status != http.StatusOK || len(parts) != 2 || !strings.Contains(parts[1], `"error"`) {
		t.Errorf("got %d %s", r.status, r.raw)
	}
	pod.NodeID = nil
	withPod(h, pod)
	if r := get(); r.status != http.StatusOK || len(r.raw) != 0 {
		t.Errorf("a pod that never ran: %d %q", r.status, r.raw)
	}
}

// fakeNode is one node whose streams a test makes.
type fakeNode struct {
	streams chan stream
	opened  chan wire.LogsOpen
}

// stream is what the node says to one reader, and how it ends.
type stream struct {
	chunks []wire.LogsChunk
	err    error
}

func (f fakeNode) OpenLogs(ctx context.Context, _ string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		select {
		case f.opened <- o:
		case <-ctx.Done():
			return
		}
		st := <-f.streams
		for _, c := range st.chunks {
			if !yield(c, nil) {
				return
			}
		}
		if st.err != nil {
			yield(wire.LogsChunk{}, st.err)
		}
	}
}

func at(ring string, next uint64, text string) wire.LogsChunk {
	c := line(text)
	c.Ring, c.Next = ring, next
	return c
}

// A follower goes on exactly behind the last line that it has; where nobody knows
// whether lines are missing, it says so.
func TestFollowersGoOn(t *testing.T) {
	t.Parallel()
	n := fakeNode{streams: make(chan stream, 1), opened: make(chan wire.LogsOpen)}
	h := newHarness(t, func(d *rest.Deps) { d.Logs = n })
	withPod(h, somePod())
	got := make(chan reply, 1)
	go func() {
		got <- h.do(request{method: "GET", path: "/api/pods/" + someID + "/logs?follow=true&tail=3", token: "good-viewer"})
	}()
	lost := fault.New(fault.Unavailable, "the connection is lost")
	if o := <-n.opened; o.After != nil || o.Tail != 3 || o.Incarnation != somePod().Incarnation {
		t.Errorf("at first: %+v", o)
	}
	n.streams <- stream{[]wire.LogsChunk{at("a", 7, "one")}, lost}
	if o := <-n.opened; o.After == nil || *o.After != (wire.LogPosition{Ring: "a", Next: 7}) || o.Tail != -1 {
		t.Errorf("after the connection was lost: %+v", o)
	}
	n.streams <- stream{[]wire.LogsChunk{at("a", 8, "two")}, lost}
	<-n.opened
	n.streams <- stream{[]wire.LogsChunk{at("b", 1, "three")}, fault.New(fault.RateLimited, "that is enough")}
	r := <-got
	var words []string
	for text := range strings.Lines(string(r.raw)) {
		var l api.LogLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		words = append(words, l.Line)
		if l.Notice != "" {
			words[len(words)-1] = "(notice)"
		}
	}
	if s := strings.Join(words, " "); s != "one two (notice) three " {
		t.Errorf("got %q", s)
	}
}

// What stands in for a node that does not answer says what it is.
func TestStoredLogs(t *testing.T) {
	t.Parallel()
	failure := fault.New(fault.Unavailable, "the node is not connected")
	h := newHarness(t, func(d *rest.Deps) {
		d.Logs = fakeLogs(func(context.Context, string, wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
			return func(yield func(wire.LogsChunk, error) bool) { yield(wire.LogsChunk{}, failure) }
		})
	})
	withPod(h, somePod())
	run := func(attempt int, ended bool, texts ...string) wire.StoredLogs {
		s := wire.StoredLogs{At: someTime(), Ended: ended, RunKey: api.RunKey{Attempt: attempt}}
		for i, text := range texts {
			s.Lines = append(s.Lines, api.LogLine{Time: someTime().Add(time.Duration(i) * time.Second), Line: text, Attempt: attempt})
		}
		return s
	}
	h.db.storedLogs = func(_ []string, previous bool) (map[string]wire.StoredLogs, error) {
		if previous {
			return map[string]wire.StoredLogs{someID: run(2, true, "x", "y")}, nil
		}
		return map[string]wire.StoredLogs{someID: run(3, false, "a", "b", "c")}, nil
	}
	for query, want := range map[string]string{
		"?tail=-1":       "does not answer|a|b|c",
		"?tail=2":        "does not answer|b|c",
		"?tail=0":        "does not answer",
		"?previous=true": "no node keeps|x|y",
		"?since=" + someTime().Add(time.Second).Format(time.RFC3339): "does not answer|b|c",
	} {
		r := h.do(request{method: "GET", path: "/api/pods/" + someID + "/logs" + query, token: "good-viewer"})
		var got []string
		for text := range strings.Lines(string(r.raw)) {
			var l api.LogLine
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Notice+l.Line)
		}
		words := strings.Split(want, "|")
		if len(got) != len(words) || !strings.Contains(got[0], words[0]) || strings.Join(got[1:], "|") != strings.Join(words[1:], "|") {
			t.Errorf("%s: got %q, want %q", query, got, words)
		}
	}
	h.db.storedLogs = func([]string, bool) (map[string]wire.StoredLogs, error) {
		return nil, fault.New(fault.Unavailable, "the database is away")
	}
	h.do(request{method: "GET", path: "/api/pods/" + someID + "/logs", token: "good-viewer"}).fails(http.StatusServiceUnavailable, fault.Unavailable)
}
