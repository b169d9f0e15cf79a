package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const writeTimeout = 10 * time.Second

// errSessionOver ends the requests of a session that is gone.
var errSessionOver = errors.New("the connection is gone")

// session is one connection: it matches answers to requests and hands every other
// frame to its handler.
type session struct {
	conn     Conn
	lastRead atomic.Int64 // unix nanoseconds of the last frame
	left     atomic.Bool  // the node takes its leave: the server no longer knows it

	mu      sync.Mutex
	pending map[string]chan wire.Envelope // nil once the session is over
	nextID  uint64
}

func newSession(conn Conn) *session {
	return &session{conn: conn, pending: map[string]chan wire.Envelope{}}
}

// read takes frames until the connection ends, and calls handle for each that
// answers no request. handle must not wait for an answer.
func (s *session) read(ctx context.Context, handle func(wire.Envelope)) error {
	defer s.end()
	for {
		frame, err := s.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("read from the server: %w", err)
		}
		s.lastRead.Store(time.Now().UnixNano())
		var e wire.Envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			return fmt.Errorf("read from the server: %w", err)
		}
		if !s.answer(e) {
			handle(e)
		}
	}
}

func (s *session) answer(e wire.Envelope) bool {
	if e.CorrelationID == "" {
		return false
	}
	s.mu.Lock()
	ch, ok := s.pending[e.CorrelationID]
	delete(s.pending, e.CorrelationID)
	s.mu.Unlock()
	if ok {
		ch <- e
	}
	return ok
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range s.pending {
		close(ch)
	}
	s.pending = nil
}

// send writes one frame that expects no answer.
func (s *session) send(ctx context.Context, typ string, payload any) error {
	return s.write(ctx, wire.Envelope{Type: typ}, payload)
}

// request writes one frame and waits for its answer. An ":error" answer becomes a
// *fault.Error.
func (s *session) request(ctx context.Context, typ string, payload, answer any) error {
	ch := make(chan wire.Envelope, 1)
	s.mu.Lock()
	if s.pending == nil {
		s.mu.Unlock()
		return fmt.Errorf("%s: %w", typ, errSessionOver)
	}
	s.nextID++
	id := "a" + strconv.FormatUint(s.nextID, 10)
	s.pending[id] = ch
	s.mu.Unlock()
	defer s.forget(id)
	if err := s.write(ctx, wire.Envelope{Type: typ, CorrelationID: id}, payload); err != nil {
		return err
	}
	select {
	case e, ok := <-ch:
		if !ok {
			return fmt.Errorf("%s: %w", typ, errSessionOver)
		}
		return decodeAnswer(typ, e, answer)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", typ, context.Cause(ctx))
	}
}

func (s *session) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

func decodeAnswer(typ string, e wire.Envelope, answer any) error {
	if e.Type == typ+wire.ErrorSuffix || e.Type == wire.TypeError || e.Type == wire.TypeAuthError {
		var f wire.Failure
		if err := json.Unmarshal(e.Payload, &f); err != nil || f.Code == "" {
			f = wire.Failure{Code: string(fault.Internal), Message: "the server refused without saying why"}
		}
		return fmt.Errorf("%s: %w", typ, &fault.Error{
			Code: fault.Code(f.Code), Message: f.Message, Details: f.Details, RetryAfter: time.Duration(f.RetryAfter) * time.Second,
		})
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(e.Payload, answer); err != nil {
		return fmt.Errorf("%s: read the answer: %w", typ, err)
	}
	return nil
}

func (s *session) write(ctx context.Context, e wire.Envelope, payload any) error {
	frame, err := wire.Frame(e, payload)
	if err != nil {
		return fmt.Errorf("%s: encode: %w", e.Type, err)
	}
	if len(frame) > wire.MaxMessage {
		return fmt.Errorf("%s: %d bytes are more than a frame may have", e.Type, len(frame))
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := s.conn.Write(ctx, frame); err != nil {
		return fmt.Errorf("%s: write to the server: %w", e.Type, err)
	}
	return nil
}
