package rest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging"
)

// Envelope is the body of every successful answer with content.
type Envelope[T any] struct {
	Success bool `json:"success" doc:"always true"`
	Data    T    `json:"data"`
}

// failure is a fault on its way out: huma takes it for its status, and writes its
// body.
type failure struct {
	body   fault.Envelope
	status int
}

// Error satisfies huma.StatusError.
func (f *failure) Error() string { return string(f.body.Error.Code) + ": " + f.body.Error.Message }

// GetStatus satisfies huma.StatusError.
func (f *failure) GetStatus() int { return f.status }

// retryLater is what a caller is told, in seconds, where nobody knows better.
const retryLater = 2

// fail logs what an error hides from the caller, and gives what the caller sees.
// Errors that are no faults are told as plain internal errors.
func (s *server) fail(ctx context.Context, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded):
		e = fault.Wrap(err, fault.Timeout, "the request took too long")
	case errors.Is(err, context.Canceled):
		e = fault.Wrap(err, fault.Unavailable, "the request was given up")
	default:
		e = fault.Wrap(err, fault.Internal, "something went wrong; the server's log says more under this correlation id")
	}
	f := &failure{status: fault.Status(e.Code), body: fault.ToEnvelope(e)}
	switch {
	case f.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled):
		s.log.ErrorContext(ctx, "request failed", slog.String("code", string(e.Code)), slog.Any("error", err))
	case e.Cause != nil:
		s.log.DebugContext(ctx, "request refused", slog.String("code", string(e.Code)), slog.Any("error", err))
	}
	switch f.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError:
		details := map[string]any{"correlationId": logging.CorrelationID(ctx)}
		maps.Copy(details, e.Details)
		f.body.Error.Details = details
	case http.StatusServiceUnavailable:
		f.body.Error.RetryAfter = max(f.body.Error.RetryAfter, retryLater)
	}
	return f
}

// abort ends a request with the envelope of an error.
func (s *server) abort(c *gin.Context, err error) {
	f := s.fail(c.Request.Context(), err)
	f.headers(c.Writer.Header())
	c.AbortWithStatusJSON(f.status, f.body)
}

// headers sets what stands beside the body of a failure.
func (f *failure) headers(h http.Header) {
	if n := f.body.Error.RetryAfter; n > 0 {
		h.Set("Retry-After", strconv.Itoa(n))
	}
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="stark"`)
	}
}

// answer writes a successful answer from a plain gin handler.
func answer[T any](c *gin.Context, status int, data T) {
	c.JSON(status, Envelope[T]{Success: true, Data: data})
}
