package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	dialTimeout      = 15 * time.Second
	requestTimeout   = 30 * time.Second
	defaultHeartbeat = 10 * time.Second
	// silenceSlack is added to two heartbeat intervals: a connection that was silent
	// for longer is dead, since every heartbeat is answered.
	silenceSlack = 5 * time.Second
	// conditionsSettle gathers changes of conditions into one heartbeat.
	conditionsSettle = 250 * time.Millisecond
	// comeAgainWithin spreads those whom the server has told the same second.
	comeAgainWithin = time.Second
)

// connect keeps a session up until ctx ends; after stopped no new one is opened. It
// gives up only where it was never let in, or shall.
func (a *Agent) connect(ctx context.Context, stopped <-chan struct{}, id identity) error {
	var wait away
	for {
		next, registered, err := a.serve(ctx, id)
		id = next
		if (id.Credential == "" || a.cfg.GiveUp) && refused(err) && ctx.Err() == nil {
			return &RefusedError{Err: err, Help: remedy(err)}
		}
		wait = a.nextWait(ctx, wait, registered, err)
		select {
		case <-stopped:
			return nil
		default:
		}
		select {
		case <-time.After(wait.pause):
		case <-a.cfg.Wake:
			wait = away{}
		case <-stopped:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// away is how long the agent stays away from the server.
type away struct {
	backoff time.Duration // doubled each time
	pause   time.Duration // in fact
}

// nextWait says how long to stay away, and logs why. A server that is full gives each
// node a turn, which is kept however long the server was away before.
func (a *Agent) nextWait(ctx context.Context, last away, registered bool, err error) away {
	b := a.cfg.Backoff
	next := away{backoff: min(max(2*last.backoff, b.First), b.Max)}
	turn, full := turnOf(err)
	switch {
	case full:
		next = away{backoff: last.backoff, pause: min(turn, b.Max) + rand.N(comeAgainWithin)}
	case refused(err):
		next.backoff = b.Refused
	case registered:
		next.backoff = b.First
	}
	if !full {
		next.pause = jitter(next.backoff)
	}
	retry := slog.Duration("retry", next.pause)
	switch {
	case ctx.Err() != nil || a.stopping.Load():
	case full:
		a.log.InfoContext(ctx, "the server is full and has said when to come again", slog.String("server", a.cfg.URL), retry)
	case refused(err):
		a.log.ErrorContext(ctx, "the server refuses this node", slog.String("server", a.cfg.URL),
			slog.Any("error", err), slog.String("help", remedy(err)), retry)
	case registered:
		a.log.WarnContext(ctx, "connection lost", slog.Any("error", err), retry)
	default:
		a.log.WarnContext(ctx, "cannot reach the server", slog.String("server", a.cfg.URL), slog.Any("error", err), retry)
	}
	return next
}

// turnOf gives the turn that a server which is full has given this node.
func turnOf(err error) (time.Duration, bool) {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.RetryAfter <= 0 || f.Details[wire.DetailTurn] != true {
		return 0, false
	}
	return f.RetryAfter, true
}

// remedy tells what may help against a refusal.
func remedy(err error) string {
	switch fault.CodeOf(err) {
	case fault.Conflict:
		return "another node has this name: give this one another"
	case fault.Validation:
		return "what this node says of itself is not valid: mend its name, labels, taints or room"
	case fault.Forbidden:
		return "the account behind the token may not register nodes: use a join token of `stark node token create`"
	default:
		return "the token is not, or no longer, good: use a new link of `stark node invite`, or a fresh join token of `stark node token create`"
	}
}

func refused(err error) bool {
	if errors.Is(err, ErrRefused) {
		return true
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch f.Code {
	case fault.AuthenticationRequired, fault.InvalidCredentials, fault.TokenExpired, fault.TokenInvalid,
		fault.AuthenticationFailed, fault.Forbidden, fault.Conflict, fault.Validation, "AUTH_FAILED", "INVALID_TOKEN":
		return true
	default:
		return false
	}
}

// jitter shortens a wait by up to a half, so that nodes do not return in step.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}

// serve runs one session from dial to loss.
func (a *Agent) serve(ctx context.Context, id identity) (_ identity, registered bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, connected, over, claims, err := a.enter(ctx, a.claims(id))
	if err != nil {
		return id, false, err
	}
	defer func() {
		a.setLink(nil, "")
		_ = s.conn.Close(CloseGoingAway, "") // of a connection that is lost already
		cancel()
		<-over.done
	}()
	if connected.RequiresAuth {
		if claims, err = a.authenticate(ctx, s, claims); err != nil {
			return id, false, err
		}
	}
	interval, id, err := a.register(ctx, s, id, claims[0])
	if err != nil {
		return id, false, err
	}
	a.setLink(s, connected.ConnectionID)
	a.registeredOnce.Do(func() { close(a.registered) })
	return id, true, a.heartbeat(ctx, s, interval, over)
}

func (a *Agent) setLink(s *session, connection string) {
	was, _ := a.link.peek()
	a.link.set(s)
	if a.cfg.Linked != nil && (was != nil || s != nil) {
		a.cfg.Linked(connection)
	}
}

// ending tells how the reading side of a session ended.
type ending struct {
	done chan struct{}
	err  error // valid once done is closed
}

// open dials and waits for the server's first frame.
func (a *Agent) open(ctx context.Context, token string) (*session, wire.Connected, *ending, error) {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := a.cfg.Dialer.Dial(dial, a.cfg.URL, token)
	if err != nil {
		return nil, wire.Connected{}, nil, fmt.Errorf("connect: %w", err)
	}
	s := newSession(conn)
	first := make(chan wire.Connected, 1)
	over := &ending{done: make(chan struct{})}
	in := &inbox{agent: a, session: s, first: first, turn: make(chan struct{}, 1)}
	go func() {
		defer close(over.done)
		over.err = s.read(ctx, func(e wire.Envelope) { in.handle(ctx, e) })
		in.close()
	}()
	select {
	case c := <-first:
		return s, c, over, nil
	case <-over.done:
		err = over.err
	case <-dial.Done():
		err = errors.New("the server does not greet")
	}
	_ = conn.Close(CloseGoingAway, "") // the first error is the one that counts
	<-over.done
	return nil, wire.Connected{}, nil, fmt.Errorf("connect: %w", err)
}

// heartbeat runs until the session is over or silent for too long.
func (a *Agent) heartbeat(ctx context.Context, s *session, interval time.Duration, over *ending) error {
	every := new(atomic.Int64) // as the server's answers say
	every.Store(int64(interval))
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		interval := time.Duration(every.Load())
		select {
		case <-over.done:
			return over.err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.cfg.ConditionsChanged:
			if !settle(ctx, conditionsSettle, over) {
				continue
			}
		case <-time.After(interval - rand.N(interval/5+1)):
		}
		silence := 2*interval + silenceSlack
		if quiet := time.Since(time.Unix(0, s.lastRead.Load())); quiet > silence {
			return fmt.Errorf("the server was silent for %s", quiet.Round(time.Millisecond))
		}
		// An answer that is late must not delay the next beat.
		wg.Go(func() { a.beat(ctx, s, silence, every) })
	}
}

// settle gathers changes of conditions that come together; false says that the session
// is over.
func settle(ctx context.Context, d time.Duration, over *ending) bool {
	select {
	case <-time.After(d):
		return true
	case <-over.done:
	case <-ctx.Done():
	}
	return false
}

// orEmpty makes "none" of nil, which would say nothing.
func orEmpty(list []api.NodeCondition) []api.NodeCondition {
	if list == nil {
		return []api.NodeCondition{}
	}
	return list
}

// usage asks the executor for live figures, where it has any.
func (a *Agent) usage() *api.NodeUsage {
	sampler, ok := a.cfg.Executor.(executor.Sampler)
	if !ok {
		return nil
	}
	u := sampler.Usage()
	return &u
}

func (a *Agent) beat(ctx context.Context, s *session, timeout time.Duration, every *atomic.Int64) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hb := wire.Heartbeat{NodeID: a.NodeID(), Timestamp: time.Now().UTC(), ActivePods: len(a.worker.inventory(ctx))}
	if a.cfg.Conditions != nil {
		hb.Conditions = orEmpty(a.cfg.Conditions())
	}
	hb.Usage = a.usage()
	var ack wire.HeartbeatAck
	err := s.request(ctx, wire.TypeHeartbeat, hb, &ack)
	if err == nil && ack.HeartbeatIntervalMS > 0 && a.cfg.Heartbeat <= 0 {
		every.Store((time.Duration(ack.HeartbeatIntervalMS) * time.Millisecond).Nanoseconds())
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, errSessionOver) || s.left.Load() {
		return
	}
	a.log.WarnContext(ctx, "a heartbeat was not taken", slog.Any("error", err))
	if f, ok := errors.AsType[*fault.Error](err); ok && (f.Code == fault.NotFound || f.Code == fault.Forbidden || f.Code == fault.AuthenticationRequired) {
		// The server no longer takes this connection for the node: begin again.
		_ = s.conn.Close(CloseGoingAway, "register again")
	}
}

// inbox handles what the server sends on one session.
type inbox struct {
	agent   *Agent
	session *session
	first   chan<- wire.Connected
	greeted bool
	synced  bool
	seq     uint64
	parts   parts // of the set that is coming

	mu      sync.Mutex
	streams map[string]*logStream
	turn    chan struct{} // holds the one log chunk that stands before the connection
	wg      sync.WaitGroup
}

// parts are those of a complete set that have come so far.
type parts struct {
	seq  uint64
	next int // the number of the part that is to come
	size int // bytes
	runs []wire.Assignment
}

func (in *inbox) handle(ctx context.Context, e wire.Envelope) {
	var err error
	switch e.Type {
	case wire.TypeConnected:
		var c wire.Connected
		if err = json.Unmarshal(e.Payload, &c); err == nil && !in.greeted {
			in.greeted = true
			in.first <- c
		}
	case wire.TypePing:
		err = in.session.send(ctx, wire.TypePong, struct{}{})
	case wire.TypeRunsSet:
		err = in.set(ctx, e)
	case wire.TypeRunsDelta:
		err = in.delta(ctx, e)
	case wire.TypeLogsOpen:
		err = in.openLogs(ctx, e)
	case wire.TypeLogsMore:
		err = in.moreLogs(e)
	case wire.TypeLogsClose:
		err = in.closeLogs(e)
	case wire.TypeDisconnect:
		in.agent.log.InfoContext(ctx, "the server says goodbye")
	case wire.TypeError:
		in.agent.log.WarnContext(ctx, "the server did not understand a frame", slog.String("answer", string(e.Payload)))
	default:
		// Late answers, and messages of a newer server.
		if !strings.HasSuffix(e.Type, wire.AckSuffix) && !strings.HasSuffix(e.Type, wire.ErrorSuffix) {
			in.agent.log.DebugContext(ctx, "unknown message", slog.String("type", e.Type))
		}
	}
	if err != nil && ctx.Err() == nil {
		in.agent.log.WarnContext(ctx, "a message could not be handled", slog.String("type", e.Type), slog.Any("error", err))
	}
}

func (in *inbox) set(ctx context.Context, e wire.Envelope) error {
	var set wire.RunsSet
	if err := json.Unmarshal(e.Payload, &set); err != nil {
		return in.resync(ctx, err)
	}
	if set.Part == 0 {
		in.parts = parts{seq: e.Seq}
	}
	p := &in.parts
	if p.seq != e.Seq || p.next != set.Part || p.size+len(e.Payload) > wire.MaxSet {
		cause := fmt.Errorf("part %d of set %d does not follow part %d of set %d, or the set is too large", set.Part, e.Seq, p.next-1, p.seq)
		in.parts = parts{}
		return in.resync(ctx, cause)
	}
	p.next, p.size, p.runs = p.next+1, p.size+len(e.Payload), append(p.runs, set.Runs...)
	if set.More {
		return nil
	}
	runs := p.runs
	in.seq, in.synced, in.parts = e.Seq, true, parts{}
	in.agent.worker.want(ctx, change{complete: true, put: runs})
	return in.session.send(ctx, wire.TypeRunsAck, wire.RunsAck{Seq: e.Seq})
}

func (in *inbox) delta(ctx context.Context, e wire.Envelope) error {
	var d wire.RunsDelta
	if err := json.Unmarshal(e.Payload, &d); err != nil {
		return in.resync(ctx, err)
	}
	if !in.synced {
		return nil // a complete set is on its way
	}
	if d.Prev != in.seq {
		return in.resync(ctx, nil)
	}
	in.seq = e.Seq
	in.agent.worker.want(ctx, change{put: d.Put, remove: d.Remove})
	return in.session.send(ctx, wire.TypeRunsAck, wire.RunsAck{Seq: e.Seq})
}

// resync asks for a complete set; increments are ignored until it comes.
func (in *inbox) resync(ctx context.Context, cause error) error {
	in.synced = false
	return errors.Join(cause, in.session.send(ctx, wire.TypeRunsResync, struct{}{}))
}
