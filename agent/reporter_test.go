package agent

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// taker is a server that accepts every report and notes when it came.
type taker struct {
	answers chan []byte
	mu      sync.Mutex
	got     []taken
}

type taken struct {
	status api.RunStatus
	after  time.Duration
}

func (c *taker) Read(ctx context.Context) ([]byte, error) {
	select {
	case a := <-c.answers:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *taker) Write(_ context.Context, frame []byte) error {
	var e wire.Envelope
	var reports wire.RunReports
	if err := json.Unmarshal(frame, &e); err != nil {
		return err
	}
	if err := json.Unmarshal(e.Payload, &reports); err != nil {
		return err
	}
	ack := wire.RunReportsAck{}
	c.mu.Lock()
	for _, r := range reports.Reports {
		c.got = append(c.got, taken{status: r.Status, after: time.Since(r.At)})
		ack.Accepted = append(ack.Accepted, r.RunKey)
	}
	c.mu.Unlock()
	payload, err := json.Marshal(ack)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(wire.Envelope{Type: e.Type + wire.AckSuffix, CorrelationID: e.CorrelationID, Payload: payload})
	if err != nil {
		return err
	}
	c.answers <- answer
	return nil
}

func (c *taker) Close(int, string) error { return nil }

// reported gives what the server heard of a run that takes start to be ready and stop
// to end.
func reported(t *testing.T, start, stop time.Duration) []taken {
	t.Helper()
	conn := &taker{answers: make(chan []byte, 8)}
	l := newLink()
	s := newSession(conn)
	l.set(s)
	r := newReporter(loggingtest.New(t).Logger, l, func(context.Context, api.RunKey) {})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx) })
	wg.Go(func() { _ = s.read(ctx, func(wire.Envelope) {}) })
	key := api.RunKey{PodID: "p", Incarnation: 1, Attempt: 1}
	for _, step := range []struct {
		status api.RunStatus
		takes  time.Duration
	}{{api.RunStarting, start}, {api.RunRunning, time.Second}, {api.RunStopping, stop}, {api.RunExited, time.Second}} {
		r.add(wire.RunReport{RunKey: key, Status: step.status, At: time.Now()})
		time.Sleep(step.takes)
	}
	cancel()
	wg.Wait()
	return conn.got
}

// A state that gives way within the limit is not worth a commit of its own, and keeps
// nothing else waiting.
func TestPassingStatesAreNotReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes time.Duration
		want  []taken
	}{
		"quick": {passing - time.Millisecond, []taken{{status: api.RunRunning}, {status: api.RunExited}}},
		"slow": {passing + time.Millisecond, []taken{
			{status: api.RunStarting, after: passing},
			{status: api.RunRunning},
			{status: api.RunStopping, after: passing},
			{status: api.RunExited},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := reported(t, c.takes, c.takes)
				if len(got) != len(c.want) {
					t.Fatalf("the server heard %+v, want %+v", got, c.want)
				}
				for i := range got {
					if got[i] != c.want[i] {
						t.Errorf("report %d: %+v, want %+v", i, got[i], c.want[i])
					}
				}
			})
		})
	}
}
