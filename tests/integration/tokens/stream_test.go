package tokens

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// A stream of output is as long as its pod, and no longer than the right to it.
func TestAStreamOfOutputEndsWithTheRightToIt(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	n := p.node(p.admin, "one").beats() // serves everybody
	for name, try := range map[string]struct {
		end  func(s api.Session)
		want fault.Code
	}{
		"the session": {func(s api.Session) {
			if err := p.client(s.AccessToken, p.b).Logout(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, fault.TokenInvalid},
		"the roles": {func(s api.Session) { p.sql(`delete from public.user_roles where user_id = $1`, s.User.ID) }, fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			session := p.user(strings.ReplaceAll(name, " ", "")+"@example.com", api.RoleDeveloper)
			owner := p.client(session.AccessToken, p.a)
			a := p.scheduled(owner, p.pack(owner, "p"+session.User.ID[:4]), n)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.a+"/api/pods/"+a.PodID+"/logs?follow=true", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+session.AccessToken)
			answer := make(chan *http.Response, 1)
			go func() {
				resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // whoever gets it closes it
				if err != nil {
					t.Error(err)
				}
				answer <- resp
			}()
			var open wire.LogsOpen
			if err := json.Unmarshal(n.await(wire.TypeLogsOpen).Payload, &open); err != nil {
				t.Fatal(err)
			}
			n.send(wire.TypeLogsChunk, wire.LogsChunk{StreamID: open.StreamID, Lines: []api.LogLine{{Time: time.Now(), Stream: "log", Line: "hello"}}})
			resp := <-answer
			if resp == nil {
				return
			}
			defer func() { _ = resp.Body.Close() }()
			lines := bufio.NewScanner(resp.Body)
			if !lines.Scan() || !strings.Contains(lines.Text(), "hello") {
				t.Fatalf("got %q", lines.Text())
			}
			try.end(session)
			if !lines.Scan() || !strings.Contains(lines.Text(), string(try.want)) {
				t.Errorf("the last word is %q, want %s", lines.Text(), try.want)
			}
			if lines.Scan() {
				t.Errorf("it goes on: %q", lines.Text())
			}
			n.await(wire.TypeLogsClose)
		})
	}
}
