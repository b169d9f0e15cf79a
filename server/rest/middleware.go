package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging"
)

const headerCorrelation = "X-Correlation-ID"

// correlate gives the request an id: the caller's, where it can stand in a log,
// else a new one.
func (s *server) correlate(c *gin.Context) {
	id := c.GetHeader(headerCorrelation)
	if !logging.ValidCorrelationID(id) {
		id = api.NewID()
	}
	c.Header(headerCorrelation, id)
	c.Request = c.Request.WithContext(logging.WithCorrelationID(c.Request.Context(), id))
	// A write deadline outlives its request on a kept connection: each sets its own.
	s.writeWithin(c, s.config.RequestTimeout)
	c.Next()
}

// observe logs and counts every request. The path is logged without its query,
// which may carry what callers put there by mistake.
func (s *server) observe(c *gin.Context) {
	start := time.Now()
	c.Next()
	route := c.FullPath()
	if route == "" {
		route = "(none)"
	}
	took := time.Since(start)
	status := c.Writer.Status()
	s.metrics.observe(c.Request.Method, route, status, took)
	level := slog.LevelInfo
	switch {
	case route == "/health" || route == "/live" || route == "/ready" || route == "/metrics":
		level = slog.LevelDebug
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("method", c.Request.Method), slog.String("path", shown(c.Request.URL.Path)), slog.String("route", route),
		slog.Int("status", status), slog.Int64("durationMs", took.Milliseconds()), slog.Int("bytes", max(c.Writer.Size(), 0)),
		slog.String("peer", s.peer(c.Request).String()),
	}
	if id, ok := sessionOf(c); ok && id.identity.UserID != "" {
		attrs = append(attrs, slog.String("userId", id.identity.UserID))
	}
	s.log.LogAttrs(c.Request.Context(), level, "request", attrs...)
}

// recover turns a panic into the envelope of an internal error.
func (s *server) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		s.log.ErrorContext(c.Request.Context(), "panic in a handler", slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
		if !c.Writer.Written() {
			s.abort(c, fault.New(fault.Internal, "something went wrong; the server's log says more under this correlation id"))
			return
		}
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}()
	c.Next()
}

// secure sets the headers that keep browsers from guessing and caches from
// keeping.
func (s *server) secure(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	h.Set("Cache-Control", "no-store")
	c.Next()
}

// media refuses bodies of a type that no handler reads.
func (s *server) media(c *gin.Context) {
	r := c.Request
	if r.ContentLength == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodDelete {
		c.Next()
		return
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	switch {
	case c.FullPath() == "" || (kind == "multipart/form-data" && c.FullPath() == "/api/packs"):
	case err != nil || kind != "application/json" || (charset != "" && charset != "utf-8"):
		s.abort(c, fault.New(fault.UnsupportedMediaType, "send application/json"))
		return
	case r.Header.Get("Content-Encoding") != "":
		s.abort(c, fault.New(fault.UnsupportedMediaType, "send the body without Content-Encoding"))
		return
	case r.ContentLength > bodyLimit(c.FullPath()) && c.FullPath() != "/api/packs":
		s.abort(c, fault.New(fault.PayloadTooLarge, "the body is larger than %d bytes", bodyLimit(c.FullPath())))
		return
	}
	c.Next()
}

// slack is what answers may take beyond the time for the work.
const slack = 10 * time.Second

// deadline bounds the work of a request, and the time in which its body may
// arrive and its answer may leave.
func (s *server) deadline(c *gin.Context, d time.Duration) context.CancelFunc {
	ctx, cancel := context.WithTimeout(c.Request.Context(), d)
	c.Request = c.Request.WithContext(ctx)
	// Later than the work may take: a read deadline that passes while a handler runs
	// ends the context of the connection, and with it every later request on it.
	if err := http.NewResponseController(c.Writer).SetReadDeadline(time.Now().Add(d + slack)); err != nil {
		s.log.DebugContext(ctx, "connection takes no deadline", slog.Any("error", err))
	}
	s.writeWithin(c, d)
	return cancel
}

// writeWithin bounds the time in which an answer may leave, with something to
// spare for the answer to a request that ran out of time.
func (s *server) writeWithin(c *gin.Context, d time.Duration) {
	if err := http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(d + slack)); err != nil {
		s.log.DebugContext(c.Request.Context(), "connection takes no deadline", slog.Any("error", err))
	}
}

// textual refuses parameters that are no text, and that Postgres could not compare
// with any.
func textual(c *gin.Context) error {
	bad := func(name, value string) error {
		if utf8.ValidString(value) && !strings.ContainsRune(value, 0) {
			return nil
		}
		return api.InvalidField(name, fault.FieldInvalidFormat, "must be UTF-8 without NUL characters")
	}
	for _, p := range c.Params {
		if err := bad(p.Key, p.Value); err != nil {
			return err
		}
	}
	for name, values := range c.Request.URL.Query() {
		for _, v := range values {
			if err := bad(strings.ToValidUTF8(name, "?"), v); err != nil {
				return err
			}
		}
	}
	return nil
}

// intParam reads a whole number of a plain gin handler's query.
func intParam(c *gin.Context, name string, fallback, low, high int) (int, error) {
	raw := c.Query(name)
	if raw == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil || n < low || n > high {
		return 0, api.InvalidField(name, fault.FieldOutOfRange, "must be a whole number from %d to %d", low, high)
	}
	return n, nil
}

// boolParam reads a flag: absent and "false" and "0" are false.
func boolParam(c *gin.Context, name string) (bool, error) {
	raw, present := c.GetQuery(name)
	if !present {
		return false, nil
	}
	if raw == "" {
		return true, nil
	}
	v, err := strconv.ParseBool(raw)
	if err != nil {
		return false, api.InvalidField(name, fault.FieldInvalidType, "must be true or false")
	}
	return v, nil
}
