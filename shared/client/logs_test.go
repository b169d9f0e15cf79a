package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	podA = "0190b2f5-7c1a-7d3e-9f00-00000000000a"
	podB = "0190b2f5-7c1a-7d3e-9f00-00000000000b"
	podC = "0190b2f5-7c1a-7d3e-9f00-00000000000c"
)

// attempt is what a server says to one request, and how it ends.
type attempt struct {
	status int
	body   string
	hangs  bool  // until the request is given up
	cut    error // how the connection breaks
}

// attempts answers each request by the next of its answers.
type attempts struct {
	asked   []url.Values
	answers []attempt
}

// RoundTrip implements http.RoundTripper.
func (a *attempts) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked = append(a.asked, r.URL.Query())
	next := a.answers[0]
	a.answers = a.answers[1:]
	if next.body == "" && next.cut != nil {
		return nil, next.cut
	}
	pr, pw := io.Pipe()
	go func() {
		_, _ = io.WriteString(pw, next.body)
		if next.hangs {
			<-r.Context().Done()
			next.cut = r.Context().Err()
		}
		_ = pw.CloseWithError(next.cut)
	}()
	return &http.Response{StatusCode: max(next.status, http.StatusOK), Header: http.Header{"Content-Type": {"application/x-ndjson"}}, Body: pr, Request: r}, nil
}

func said(pod, text string, second int) string {
	return fmt.Sprintf(`{"time":"2026-01-02T03:04:%02dZ","stream":"stdout","line":%q,"podId":%q,"position":"r.%d"}`+"\n", second, text, pod, second)
}

func event(pod string, e api.LogEvent) string {
	return fmt.Sprintf(`{"notice":"it has %s","podId":%q,"event":%q}`+"\n", e, pod, e)
}

// followed reads to the end, with notices of the client in brackets.
func followed(t *testing.T, a *attempts, q client.LogQuery, enough func(api.LogLine) bool) (got []string, err error) {
	t.Helper()
	c, err := client.New(client.Config{URL: "http://stark.example", HTTP: &http.Client{Transport: a}})
	if err != nil {
		t.Fatal(err)
	}
	q.Follow = true
	for l, err := range c.Logs(t.Context(), q) {
		if err != nil {
			return got, err
		}
		switch {
		case l.Event != "":
			got = append(got, string(l.Event)+" "+l.PodID[len(l.PodID)-1:])
		case l.Notice != "":
			got = append(got, "["+strings.Fields(l.Notice)[0]+"]")
		default:
			got = append(got, l.Line)
		}
		if enough != nil && enough(l) {
			return got, nil
		}
	}
	return got, nil
}

// A follower whose server dies, freezes or stops goes on behind the last line of each
// pod, and says so; what has ended it neither asks for nor shows again.
func TestFollowedLogsOutliveTheirServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &attempts{answers: []attempt{
			{body: "\n" + said(podA, "a1", 1) + said(podB, "b2", 2) + said(podA, "a3", 40) + event(podB, api.LogEnded), cut: io.ErrUnexpectedEOF},
			{cut: io.ErrUnexpectedEOF},
			{cut: io.ErrUnexpectedEOF},
			{cut: io.ErrUnexpectedEOF},
			{cut: io.ErrUnexpectedEOF},
			{body: "\n" + said(podB, "b2", 2) + event(podB, api.LogEnded) + said(podA, "a4", 41) + event(podC, api.LogJoined) + said(podC, "c5", 42), hangs: true},
			{body: "\n" + said(podA, "a6", 43) + `{"error":{"code":"GONE","message":"your roles have changed"}}` + "\n"},
			{body: "\n" + event(podB, api.LogJoined) + said(podB, "b7", 44), hangs: true},
		}}
		got, err := followed(t, a, client.LogQuery{Matching: true, LabelSelector: "app=web", MaxPods: 7, LogOptions: client.LogOptions{Tail: new(3)}},
			func(l api.LogLine) bool { return l.Line == "b7" })
		const want = "a1 b2 a3 ended b [the] [connected] a4 joined c c5 [the] [connected] a6 [the] [connected] joined b b7"
		if s := strings.Join(got, " "); s != want || err != nil {
			t.Fatalf("got %s, %v\nwant %s", s, err, want)
		}
		for i, want := range map[int]string{
			0: "follow=true&labelSelector=app%3Dweb&maxPods=7&resumable=true&tail=3",
			5: "after=" + podA + "%3Ar.40&follow=true&labelSelector=app%3Dweb&maxPods=7&resumable=true&since=2026-01-02T03%3A04%3A10Z&tail=-1",
			6: "after=" + podA + "%3Ar.41&after=" + podC + "%3Ar.42&follow=true&labelSelector=app%3Dweb&maxPods=7&resumable=true&since=2026-01-02T03%3A04%3A12Z&tail=-1",
		} {
			if got := a.asked[i].Encode(); got != want {
				t.Errorf("request %d: %s\nwant %s", i, got, want)
			}
		}
	})
}

// Pods that are named end the stream when all have ended, also where the end was told
// just before the connection was lost; what the server refuses ends it as well.
func TestFollowedLogsEnd(t *testing.T) {
	t.Parallel()
	named := client.LogQuery{PodIDs: []string{podA, podB}}
	for name, c := range map[string]struct {
		answers []attempt
		want    string
		code    fault.Code
	}{
		"all ended":       {[]attempt{{body: said(podA, "a1", 1) + event(podA, api.LogEnded)}}, "a1 ended a", ""},
		"ended, then cut": {[]attempt{{body: event(podA, api.LogEnded) + event(podB, api.LogRemoved), cut: io.ErrUnexpectedEOF}}, "ended a removed b", ""},
		"refused":         {[]attempt{{status: http.StatusNotFound, body: `{"success":false,"error":{"code":"NOT_FOUND","message":"no pod"}}`}}, "", fault.NotFound},
		"refused later": {[]attempt{
			{body: said(podA, "a1", 1), cut: io.ErrUnexpectedEOF},
			{status: http.StatusForbidden, body: `{"success":false,"error":{"code":"FORBIDDEN","message":"no"}}`},
		}, "a1 [the]", fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &attempts{answers: c.answers}
				got, err := followed(t, a, named, nil)
				if s := strings.Join(got, " "); s != c.want || fault.CodeOf(err) != c.code {
					t.Errorf("got %q, %v, want %q, %s", s, err, c.want, c.code)
				}
				if len(a.asked) > 1 {
					if got, want := a.asked[1].Encode(), "after="+podA+"%3Ar.1&follow=true&podId="+podB+"&resumable=true&tail=-1"; got != want {
						t.Errorf("asked again for %s, want %s", got, want)
					}
				}
			})
		})
	}
}

// A reader leaves at any line, or when its context ends while there is no server.
func TestFollowersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away []attempt
		for range 1000 {
			away = append(away, attempt{cut: io.ErrUnexpectedEOF})
		}
		a := &attempts{answers: append([]attempt{{body: said(podA, "a1", 1), cut: io.ErrUnexpectedEOF}}, away...)}
		c, err := client.New(client.Config{URL: "http://stark.example", HTTP: &http.Client{Transport: a}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var last error
		for _, err := range c.Logs(ctx, client.LogQuery{PodIDs: []string{podA}, LogOptions: client.LogOptions{Follow: true}}) {
			last = err
		}
		if last == nil || ctx.Err() == nil {
			t.Errorf("got %v after %v", last, ctx.Err())
		}
		a.answers = []attempt{{body: said(podA, "a1", 1), cut: io.ErrUnexpectedEOF}}
		for _, err := range c.Logs(t.Context(), client.LogQuery{PodIDs: []string{podA}, LogOptions: client.LogOptions{Follow: true}}) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	})
}

func TestLogsOfSeveralPods(t *testing.T) {
	t.Parallel()
	s := answering(t, http.StatusOK, said(podA, "one", 1)+said(podB, "two", 2))
	var lines []string
	for l, err := range s.client(t, nil).Logs(t.Context(), client.LogQuery{PodIDs: []string{podA, podB}, LogOptions: client.LogOptions{Tail: new(5)}}) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l.PodID+l.Line)
	}
	if got := strings.Join(lines, " "); got != podA+"one "+podB+"two" {
		t.Errorf("got %s", got)
	}
	if got, want := s.last(t).uri, "/api/logs?podId="+podA+"&podId="+podB+"&tail=5"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}
