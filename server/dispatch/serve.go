package dispatch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// ServeHTTP takes a connection and serves it until it ends. A token may come in
// the Authorization header or as a second subprotocol; without one, or with one
// that is not valid, the peer has Config.AuthTimeout to send one.
func (d *Dispatcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := d.newSession(r)
	ctx, stop := context.WithCancelCause(context.WithoutCancel(r.Context()))
	s.stop, s.done = stop, ctx.Done()
	if err := d.admit(s); err != nil {
		refuseHTTP(w, err)
		return
	}
	upgraded := false
	defer func() {
		if !upgraded {
			stop(errEnded)
			d.leave(ctx, s)
		}
	}()
	if token := handshakeToken(r); token != "" {
		if err := s.present(ctx, token); err != nil && fault.Retryable(err) {
			refuseHTTP(w, err)
			return
		}
	}
	conn, err := websocket.Accept(&handshake{ResponseWriter: w}, r, &websocket.AcceptOptions{
		Subprotocols: []string{wire.Subprotocol}, OriginPatterns: originPatterns(d.config.Origins),
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		s.log.Debug("a connection was not upgraded", slog.Any("error", err))
		return
	}
	s.conn, upgraded = conn, true
	// The goroutine of the request ends here, with its stack and all that the request has
	// brought: a connection lives for days.
	go d.live(ctx, s)
}

// live serves an upgraded session until it ends.
func (d *Dispatcher) live(ctx context.Context, s *session) {
	defer d.leave(ctx, s)
	defer s.stop(errEnded)
	defer func() {
		if v := recover(); v != nil { // as of a request: one connection is lost, not the server
			s.log.ErrorContext(ctx, "panic in a connection", slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
		}
	}()
	d.serve(ctx, s)
}

// originPatterns adds to an origin with any port the one whose port goes unsaid: a
// page at http://localhost names none, and REST answers it.
func originPatterns(origins []string) []string {
	patterns := slices.Clone(origins)
	for _, o := range origins {
		if base, anyPort := strings.CutSuffix(o, ":*"); anyPort {
			patterns = append(patterns, base)
		}
	}
	return patterns
}

// handshake gives what refuses an upgrade the form that all refusals have.
type handshake struct {
	http.ResponseWriter
	refused bool
}

// Unwrap lets the connection be taken over.
func (h *handshake) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Sizes of a connection's buffers, in bytes: frames are mostly small, and what is larger
// goes past the buffer. Those of an HTTP connection have 4 KiB each.
const (
	readBuffer  = 1 << 10
	writeBuffer = 2 << 10
)

// Hijack takes the connection over with small buffers.
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// What the peer has sent already stays in the buffer, where it is looked for.
	early, err := rw.Peek(rw.Reader.Buffered())
	small := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), max(readBuffer, len(early)))
	if err == nil {
		_, err = small.Peek(len(early))
	}
	if err == nil {
		err = rw.Flush()
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, bufio.NewReadWriter(small, bufio.NewWriterSize(conn, writeBuffer)), nil
}

// WriteHeaderNow hands the head of an upgrade to gin, which else would keep it
// until a body comes.
func (h *handshake) WriteHeaderNow() {
	if g, ok := h.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		g.WriteHeaderNow()
	}
}

// WriteHeader writes a status, and the envelope with it where it is an error.
func (h *handshake) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		h.ResponseWriter.WriteHeader(status)
		return
	}
	h.refused = true
	e := fault.New(fault.Validation, "open a WebSocket here, version 13")
	switch {
	case status == http.StatusForbidden:
		e = fault.New(fault.Forbidden, "this origin may not open a connection")
	case status >= http.StatusInternalServerError:
		e = fault.New(fault.Internal, "the connection could not be upgraded")
	}
	h.Header().Set("Content-Type", "application/json")
	h.ResponseWriter.WriteHeader(status)
	_ = json.NewEncoder(h.ResponseWriter).Encode(fault.ToEnvelope(e)) // nobody is left to tell
}

// Write drops the text of a refusal, which WriteHeader has replaced.
func (h *handshake) Write(b []byte) (int, error) {
	if h.refused {
		return len(b), nil
	}
	return h.ResponseWriter.Write(b)
}

func refuseHTTP(w http.ResponseWriter, err error) {
	envelope := fault.ToEnvelope(err)
	w.Header().Set("Content-Type", "application/json")
	if envelope.Error.RetryAfter == 0 {
		envelope.Error.RetryAfter = 1
	}
	w.Header().Set("Retry-After", strconv.Itoa(envelope.Error.RetryAfter))
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(envelope) // nobody is left to tell
}

func (d *Dispatcher) newSession(r *http.Request) *session {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	s := &session{
		id: api.NewID(), order: d.opened.Add(1), d: d, out: newOutbox(), beside: make(chan struct{}, maxBeside),
		watches: map[string]context.CancelFunc{}, streams: map[string]*stream{},
	}
	s.meta = Meta{Session: s.id, IP: host, UserAgent: truncate(r.UserAgent(), 256)}
	s.log = d.log.With(slog.String("session", s.id))
	return s
}

func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// handshakeToken finds the token of a handshake. A token in the URL is ignored:
// addresses end up in logs.
func handshakeToken(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offer := range strings.SplitSeq(line, ",") {
			if coded, ok := strings.CutPrefix(strings.TrimSpace(offer), wire.BearerSubprotocolPrefix); ok {
				if token, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "=")); err == nil {
					return string(token)
				}
			}
		}
	}
	return ""
}

// serve runs an upgraded session until it ends.
func (d *Dispatcher) serve(ctx context.Context, s *session) {
	defer s.life.end()
	defer s.forgetTimers()
	defer func() { _ = s.conn.CloseNow() }() // a second close says so; nothing depends on it
	s.out.open(func() {
		s.life.run(func() {
			if err := s.write(ctx); err != nil {
				s.stop(err)
			}
		})
	})
	_, known := s.who()
	s.send(wire.TypeConnected, wire.Connected{ConnectionID: s.id, RequiresAuth: !known})
	auth := time.AfterFunc(d.config.AuthTimeout, func() {
		if _, known := s.who(); !known {
			s.end(closeRefused, "authentication timeout")
		}
	})
	defer auth.Stop()
	// A join token is good for one thing.
	join := time.AfterFunc(2*d.config.AuthTimeout+d.config.RegisterTimeout, func() {
		if s.joining() {
			s.end(closeRefused, "registration timeout")
		}
	})
	defer join.Stop()
	defer s.keepAlive(ctx)()
	err := s.read(ctx)
	s.stop(err)
	s.log.DebugContext(ctx, "a connection has ended", slog.Any("error", err), slog.String("node", s.node()))
}

// keepAlive finds sockets whose peer is gone without a word, until end is called. A peer
// that has been heard within the interval, as by its heartbeats, is not asked.
func (s *session) keepAlive(ctx context.Context) (end func()) {
	var timer *time.Timer
	set := make(chan struct{})
	timer = time.AfterFunc(s.d.config.PingInterval, func() {
		s.life.run(func() {
			<-set
			if quiet := time.Since(time.Unix(0, s.heard.Load())); quiet < s.d.config.PingInterval {
				timer.Reset(s.d.config.PingInterval - quiet)
				return
			}
			ping, cancel := context.WithTimeout(ctx, s.d.config.PingTimeout)
			defer cancel()
			if err := s.conn.Ping(ping); err != nil {
				s.stop(err)
				return
			}
			timer.Reset(s.d.config.PingInterval)
		})
	})
	close(set)
	return func() { timer.Stop() }
}

// read handles frames one by one until the connection ends.
func (s *session) read(ctx context.Context) error {
	limit := rate.NewLimiter(framesPer, framesBurst)
	s.conn.SetReadLimit(-1) // readFrame keeps the bound, and says so before it closes
	var buffer bytes.Buffer
	for {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		frame, err := s.readFrame(ctx, &buffer)
		if err != nil {
			return err
		}
		s.heard.Store(time.Now().UnixNano())
		var e wire.Envelope
		if err := json.Unmarshal(frame, &e); err != nil {
			s.misunderstood(wire.CodeInvalidJSON, "the frame is not a JSON message")
			continue
		}
		if e.Type == "" {
			s.misunderstood(wire.CodeInvalidMessage, "the message has no type")
			continue
		}
		if len(e.CorrelationID) > wire.MaxCorrelationID {
			s.misunderstood(wire.CodeInvalidMessage, "correlationId may have at most "+strconv.Itoa(wire.MaxCorrelationID)+" bytes")
			continue
		}
		s.handle(ctx, e)
	}
}

// readFrame reads one frame of at most wire.MaxMessage bytes; a longer one is
// answered and ends the session with 1009.
func (s *session) readFrame(ctx context.Context, buffer *bytes.Buffer) ([]byte, error) {
	const keep = 64 << 10 // a larger buffer is not kept between frames
	if buffer.Cap() > keep {
		*buffer = bytes.Buffer{}
	}
	buffer.Reset()
	kind, r, err := s.conn.Reader(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := buffer.ReadFrom(io.LimitReader(r, wire.MaxMessage+1)); err != nil {
		return nil, err
	}
	if buffer.Len() > wire.MaxMessage {
		s.misunderstood(wire.CodeMessageTooLarge, "a frame may have at most "+strconv.Itoa(wire.MaxMessage)+" bytes")
		s.end(websocket.StatusMessageTooBig, "the frame is too large")
		<-ctx.Done() // the writer says so first
		return nil, context.Cause(ctx)
	}
	if kind != websocket.MessageText {
		s.end(websocket.StatusUnsupportedData, "only text frames are understood")
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return bytes.Clone(buffer.Bytes()), nil
}

func (s *session) misunderstood(code, message string) {
	s.reply(wire.TypeError, "", wire.Failure{Code: code, Message: message})
}
