package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	closeGoingAway = websocket.StatusGoingAway
	closeDisplaced = websocket.StatusPolicyViolation
	closeRefused   = websocket.StatusPolicyViolation
	closeSlow      = websocket.StatusTryAgainLater

	maxWatches  = 32 // per session
	maxBeside   = 8  // calls of one session that run beside its reader
	maxReports  = wire.MaxReports
	framesPer   = 2000 // per second and session; more waits
	framesBurst = 4000
)

// errEnded ends a session; the close frame has been sent.
var errEnded = errors.New("the session has ended")

// session is one connection. Its reader is the goroutine of ServeHTTP.
type session struct {
	id    string
	order uint64 // of opening, on this server
	d     *Dispatcher
	conn  *websocket.Conn
	log   *slog.Logger
	meta  Meta
	out   *outbox
	sets  wish                    // of the complete wanted set
	stop  context.CancelCauseFunc // ends reader, writer and all that serves this session
	done  <-chan struct{}         // closed when the session ends
	life  life
	left  atomic.Bool // said goodbye
	met   atomic.Bool // the read model has shown the user
	bye   atomic.Bool // end was called

	claim *claim // the last one; owned by the dispatcher's lock

	heard atomic.Int64 // unix nanoseconds of the last frame

	beside chan struct{} // one place per call beside the reader

	mu        sync.Mutex
	identity  access.Identity
	joinToken string // secret, until the node is registered
	known     bool

	place       *place   // while it is on its way in
	credential  string   // id of the node's own
	unconfirmed bool     // the node was given it on this session
	namespaces  []string // that the user was a member of when they authenticated

	expiry    *time.Timer
	watches   map[string]context.CancelFunc
	reports   []queuedReports
	reported  int
	reporting bool
	streams   map[string]*stream

	conditions []api.NodeCondition // that are stored, as far as this session knows; owned by the dispatcher's lock

	wanted wantedSet
}

// who gives the identity, and whether there is one.
func (s *session) who() (access.Identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity, s.known
}

// node gives the id of the node that has registered on this session.
func (s *session) node() string { return s.wanted.node() }

// end closes the session from our side: the writer sends what is queued, a
// goodbye and a close frame. It does not wait; the first call counts.
func (s *session) end(code websocket.StatusCode, reason string) {
	s.bye.Store(true)
	s.out.leave(goodbye{code: code, reason: reason})
	if code == closeSlow {
		s.stop(errEnded) // the writer is stuck
	}
}

// alive reports whether the session goes on, as far as is known.
func (s *session) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return !s.bye.Load()
	}
}

// enqueue hands a frame to the writer without waiting; a full queue ends the session.
func (s *session) enqueue(frame []byte) {
	if s.out.put(frame) {
		return
	}
	s.d.metrics.slow.Inc()
	s.end(closeSlow, "the connection reads too slowly")
}

func encode(typ, correlation string, seq uint64, payload any) ([]byte, error) {
	return wire.Frame(wire.Envelope{Type: typ, CorrelationID: correlation, Seq: seq}, payload)
}

// reply queues one frame in answer to one that was read, and waits for room: who
// asks a lot is served at the speed at which the answers are read.
func (s *session) reply(typ, correlation string, payload any) {
	frame, err := encode(typ, correlation, 0, payload)
	if err != nil {
		s.log.Error("a frame could not be encoded", slog.String("type", typ), slog.Any("error", err))
		return
	}
	s.out.offer(s.done, frame)
}

// send queues one frame that nobody asked for.
func (s *session) send(typ string, payload any) {
	frame, err := encode(typ, "", 0, payload)
	if err != nil {
		s.log.Error("a frame could not be encoded", slog.String("type", typ), slog.Any("error", err))
		return
	}
	s.enqueue(frame)
}

func (s *session) ack(e wire.Envelope, payload any) {
	s.reply(e.Type+wire.AckSuffix, e.CorrelationID, payload)
}

// refuse answers with an error; what is no fault tells the peer nothing.
func (s *session) refuse(e wire.Envelope, err error) {
	typ := e.Type + wire.ErrorSuffix
	if e.Type == wire.TypeAuthenticate {
		typ = wire.TypeAuthError
	}
	s.reply(typ, e.CorrelationID, failure(err))
	if fault.CodeOf(err) == fault.Internal {
		s.log.Error("a message could not be handled", slog.String("type", e.Type), slog.Any("error", err))
	}
}

func failure(err error) wire.Failure {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return wire.Failure{Code: string(f.Code), Message: f.Message, Details: f.Details, RetryAfter: int(math.Ceil(f.RetryAfter.Seconds()))}
	}
	return wire.Failure{Code: string(fault.Internal), Message: "an internal error occurred"}
}

// aside runs f beside the reader, within the session's bounds.
func (s *session) aside(ctx context.Context, e wire.Envelope, f func(ctx context.Context) error) {
	select {
	case s.beside <- struct{}{}:
	case <-ctx.Done():
		return
	}
	s.life.run(func() {
		defer func() { <-s.beside }()
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := f(call); err != nil && ctx.Err() == nil {
			s.refuse(e, err)
		}
	})
}

// decode reads a payload; what does not fit the message's shape is refused.
func decode[T any](e wire.Envelope) (T, error) {
	var v T
	if len(e.Payload) == 0 {
		return v, fault.New(fault.Validation, "%s needs a payload", e.Type)
	}
	if err := json.Unmarshal(e.Payload, &v); err != nil {
		return v, fault.Wrap(err, fault.Validation, "the payload of %s has the wrong shape", e.Type)
	}
	return v, nil
}

// needNode gives the node that speaks, or refuses: only a registered node may.
func (s *session) needNode(claimed string) (string, error) {
	id := s.node()
	switch {
	case id == "":
		if _, known := s.who(); !known {
			return "", fault.New(fault.AuthenticationRequired, "authenticate first")
		}
		return "", fault.New(fault.NotFound, "register the node first")
	case claimed != "" && claimed != id:
		return "", fault.New(fault.Forbidden, "a node speaks for itself only")
	case s.left.Load():
		return "", fault.New(fault.NotFound, "the node has left by this connection: register it again")
	default:
		return id, nil
	}
}

// viewer is the identity with the roles that the read model shows now, so that a
// role which is taken away ends what a watch shows, and so does the end of the
// account. An account too new for the read model has the roles it came with.
func (s *session) viewer() access.Identity {
	id, _ := s.who()
	if id.UserID == "" {
		return id
	}
	if u, ok := s.d.Store.Users.Snapshot().Get(id.UserID); ok {
		s.met.Store(true)
		id.Roles = u.Roles
	} else if s.met.Load() {
		id.Roles = nil
	}
	return id
}

func (s *session) setAllocated(n api.Node) api.Node {
	n.Allocated = s.d.held.Of(s.d.Store)[n.ID]
	return n
}
