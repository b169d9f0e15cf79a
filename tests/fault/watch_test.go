package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
	"github.com/stark-orchestrator/stark/tests/harness"
)

const (
	watchedPods   = 20
	watchedRounds = 150 // changes of each pod
	lastRound     = watchedRounds - 1
)

// seen is what one watcher holds: of each pod the number of its newest change. Numbers
// only rise, so that a step back is a change that was told too late.
type seen struct {
	what string

	mu       sync.Mutex
	pods     map[string]int
	strict   bool // no change may come twice
	complain []string
}

func newSeen(what string, strict bool) *seen {
	return &seen{what: what, strict: strict, pods: map[string]int{}}
}

func (s *seen) put(p api.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := strconv.Atoi(p.Annotations["change"])
	if err != nil {
		n = -1
	}
	if before, had := s.pods[p.ID]; had && before >= 0 && (n < before || s.strict && n == before) {
		s.complain = append(s.complain, fmt.Sprintf("pod %s: change %d after %d", p.ID, n, before))
	}
	s.pods[p.ID] = n
}

func (s *seen) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, id)
}

func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.pods)
}

// complete tells what is missing when everything has been changed for the last time.
func (s *seen) complete() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.pods {
		if n != lastRound {
			return fmt.Errorf("%s has pod %s at change %d", s.what, id, n)
		}
	}
	if len(s.pods) != watchedPods/2 {
		return fmt.Errorf("%s has %d pods, want %d", s.what, len(s.pods), watchedPods/2)
	}
	return nil
}

func (s *seen) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.complain) > 0 {
		t.Errorf("%s was told late or twice: %v", s.what, s.complain)
	}
}

// Watches by REST, by the command line and by a WebSocket go on while the servers are
// killed and stopped by turns, over whichever is there: no change is missed, none comes
// twice, and what was deleted meanwhile is gone.
func TestWatchesGoOnWhileServersChange(t *testing.T) {
	t.Parallel()
	c := start(t, 2, 0)
	ids := c.endedPods(watchedPods)
	all := []*seen{newSeen("the client", true), newSeen("stark pod list --watch", true), newSeen("the socket", false)}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { c.watchByClient(ctx, all[0]) })
	c.watchByCLI(all[1])
	wg.Go(func() { c.watchBySocket(ctx, all[2]) })
	changed := make(chan error, 1)
	wg.Go(func() { changed <- c.change(ctx, ids) })
	for i := range 6 {
		s := c.Servers[i%2]
		if i%3 == 0 {
			c.stop(s)
		} else {
			s.Kill()
		}
		c.restart(s)
	}
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		c.eventually(s.what+" to have everything", s.complete)
		s.check(t)
	}
}

// endedPods are pods that nothing but the test changes.
func (c *cluster) endedPods(n int) []string {
	c.t.Helper()
	ids := c.pods(n)
	c.delete(ids)
	return ids
}

// change changes every pod again and again, and deletes half of them on the way.
func (c *cluster) change(ctx context.Context, ids []string) error {
	for n := range watchedRounds {
		if n == watchedRounds/2 {
			if _, err := c.db.Exec(ctx, "delete from public.pods where id::text = any ($1)", ids[:len(ids)/2]); err != nil {
				return err
			}
			ids = ids[len(ids)/2:]
		}
		for _, id := range ids {
			if _, err := c.db.Exec(ctx, "update public.pods set annotations = jsonb_build_object('change', $2::text) where id = $1", id, strconv.Itoa(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) watchByClient(ctx context.Context, s *seen) {
	for change, err := range c.Client.WatchPods(ctx, api.PodQuery{}) {
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.t.Errorf("the watch of the client has ended: %v", err)
			return
		case change.Deleted:
			s.remove(change.ID)
		case !change.Synced:
			s.put(change.Object)
		}
	}
}

// lines hands whole lines on.
type lines struct {
	rest []byte
	take func(line []byte)
}

// Write takes output.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		l.take(line)
		l.rest = rest
	}
}

// watchByCLI runs `stark pod list --watch` until the test ends.
func (c *cluster) watchByCLI(s *seen) {
	c.t.Helper()
	p, err := harness.Launch(harness.Spec{
		Name: "watch", Path: c.Stark, Dir: c.Dir, Args: []string{"--api-url", c.URL, "pod", "list", "--watch", "-o", "json"},
		Env: []string{"STARK_HOME=" + c.t.TempDir(), "STARK_TOKEN=" + c.Session.AccessToken},
		Out: &lines{take: func(line []byte) {
			var e struct {
				Event  string
				Object api.Pod
			}
			if err := json.Unmarshal(line, &e); err != nil {
				c.t.Errorf("a line of the watch: %v: %s", err, line)
				return
			}
			if e.Event == wire.EventDelete {
				s.remove(e.Object.ID)
			} else {
				s.put(e.Object)
			}
		}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Kill)
}

// watchBySocket watches as a program does that has no client of ours: it remembers the
// cursor, and begins anew where that is not taken.
func (c *cluster) watchBySocket(ctx context.Context, s *seen) {
	cursor := ""
	for ctx.Err() == nil {
		err := c.socket(ctx, s, &cursor)
		if errors.Is(err, errAnew) {
			cursor = ""
			s.forget()
		}
	}
}

var errAnew = errors.New("the cursor is worth nothing")

// socket serves one connection.
func (c *cluster) socket(ctx context.Context, s *seen, cursor *string) error {
	conn, resp, err := websocket.Dial(ctx, c.Client.WebSocketURL(), &websocket.DialOptions{
		Subprotocols: []string{wire.Subprotocol}, HTTPHeader: http.Header{"Authorization": {"Bearer " + c.Session.AccessToken}},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(wire.MaxMessage)
	payload, err := json.Marshal(wire.Watch{WatchID: "w", Kind: "pods", Since: *cursor})
	if err != nil {
		return err
	}
	ask, err := json.Marshal(wire.Envelope{Type: wire.TypeWatch, Payload: payload, CorrelationID: "w"})
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, ask)
	}
	for err == nil {
		var frame []byte
		if _, frame, err = conn.Read(ctx); err == nil {
			err = s.frame(frame, cursor)
		}
	}
	return err
}

// frame takes one frame in.
func (s *seen) frame(frame []byte, cursor *string) error {
	var e wire.Envelope
	if err := json.Unmarshal(frame, &e); err != nil {
		return err
	}
	switch e.Type {
	case wire.TypeBookmark:
		var b wire.Bookmark
		if err := json.Unmarshal(e.Payload, &b); err != nil {
			return err
		}
		*cursor = b.Cursor
	case wire.TypeEvent:
		var ev wire.Event
		var p api.Pod
		if err := errors.Join(json.Unmarshal(e.Payload, &ev), json.Unmarshal(ev.Object, &p)); err != nil {
			return err
		}
		if ev.Event == wire.EventDelete {
			s.remove(p.ID)
		} else {
			s.put(p)
		}
		if ev.Cursor != "" {
			*cursor = ev.Cursor
		}
	case wire.TypeWatchResync:
		return errAnew
	case wire.TypeWatch + wire.ErrorSuffix:
		var f wire.Failure
		if err := json.Unmarshal(e.Payload, &f); err != nil {
			return err
		}
		if f.Code == string(fault.Gone) {
			return errAnew
		}
		return errors.New(f.Message)
	}
	return nil
}
