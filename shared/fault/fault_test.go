package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{nil, ""},
		{io.EOF, fault.Internal},
		{fault.New(fault.NotFound, "pod %d", 1), fault.NotFound},
		{fmt.Errorf("get pod: %w", fault.New(fault.Gone, "gone")), fault.Gone},
	} {
		if got := fault.CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	t.Parallel()
	e := fault.Wrap(io.EOF, fault.Unavailable, "no %s", "database")
	if !errors.Is(e, io.EOF) || e.Error() != "SERVICE_UNAVAILABLE: no database: EOF" {
		t.Errorf("got %q, want code, message and cause", e)
	}
	if got := fault.New(fault.Conflict, "x").Error(); got != "CONFLICT: x" {
		t.Errorf("got %q", got)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for code, status := range fault.Codes() {
		if got := fault.Status(code); got != status || status < 400 || status > 599 {
			t.Errorf("Status(%s) = %d, want %d, an HTTP failure", code, got, status)
		}
	}
	if fault.Status("NEW_CODE") != 500 || fault.Status(fault.RateLimited) != 429 {
		t.Error("an unknown code must be 500, a rate limit 429")
	}
}

func TestRetryable(t *testing.T) {
	t.Parallel()
	for code := range fault.Codes() {
		want := code == fault.RateLimited || code == fault.Unavailable || code == fault.Timeout || code == fault.InProgress
		if got := fault.Retryable(fault.New(code, "x")); got != want {
			t.Errorf("Retryable(%s) = %t, want %t", code, got, want)
		}
	}
	if fault.Retryable(nil) || fault.Retryable(io.EOF) {
		t.Error("no error and an unknown one must not be retried")
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []*fault.Error{
		{Code: fault.NotFound, Message: "no such pod"},
		{Code: fault.RateLimited, Message: "slow down", RetryAfter: 3 * time.Second},
		{Code: fault.Forbidden, Message: "no", Details: map[string]any{"action": "create", "subject": "Pod"}},
		{Code: fault.Validation, Message: "bad", Details: map[string]any{"name": fault.Field{Code: fault.FieldRequired, Message: "is required"}}},
	} {
		body, err := json.Marshal(fault.ToEnvelope(fmt.Errorf("wrapped: %w", want)))
		if err != nil {
			t.Fatal(err)
		}
		if got := fault.FromHTTP(fault.Status(want.Code), "", body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %#v, want %#v", body, got, want)
		}
	}
	body, err := json.Marshal(fault.ToEnvelope(errors.New("password=hunter2")))
	if err != nil || strings.Contains(string(body), "hunter2") || !strings.Contains(string(body), "INTERNAL_ERROR") {
		t.Errorf("an unknown error became %s, %v, want nothing of its text", body, err)
	}
	fraction, err := json.Marshal(fault.ToEnvelope(&fault.Error{Code: fault.RateLimited, RetryAfter: 1500 * time.Millisecond}))
	if err != nil || !strings.Contains(string(fraction), `"retryAfter":2`) {
		t.Errorf("got %s, %v, want seconds rounded up", fraction, err)
	}
}

func TestFromHTTPWithoutEnvelope(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Code{
		400: fault.Validation, 401: fault.AuthenticationFailed, 403: fault.Forbidden, 404: fault.NotFound, 405: fault.MethodNotAllowed,
		408: fault.Timeout, 409: fault.Conflict, 410: fault.Gone, 413: fault.PayloadTooLarge, 415: fault.UnsupportedMediaType, 422: fault.Validation,
		429: fault.RateLimited, 500: fault.Internal, 502: fault.Unavailable, 503: fault.Unavailable, 504: fault.Timeout, 302: fault.Internal,
	} {
		e := fault.FromHTTP(status, "7", []byte("<html>Bad Gateway</html>"))
		if e.Code != want || e.RetryAfter != 7*time.Second || strings.Contains(e.Message, "html") {
			t.Errorf("status %d gives %s, %v, %q, want %s after 7s", status, e.Code, e.RetryAfter, e.Message, want)
		}
	}
	odd := fault.FromHTTP(400, "soon", []byte(`{"error":{"code":"VALIDATION_ERROR","message":"m","details":{"a":"text","b":{"code":1}}}}`))
	if odd.Details["a"] != "text" || odd.RetryAfter != 0 {
		t.Errorf("got %#v, want odd details left as they are", odd)
	}
}

func TestFromNetwork(t *testing.T) {
	t.Parallel()
	secret := "http://h/x?token=hunter2"
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{&url.Error{Op: "Get", URL: secret, Err: io.EOF}, fault.Unavailable},
		{&url.Error{Op: "Get", URL: secret, Err: context.DeadlineExceeded}, fault.Timeout},
		{&url.Error{Op: "Get", URL: secret, Err: os.ErrDeadlineExceeded}, fault.Timeout},
		{io.ErrUnexpectedEOF, fault.Unavailable},
	} {
		e := fault.FromNetwork(c.err, "h")
		if e.Code != c.want || strings.Contains(e.Error(), "hunter2") || !strings.Contains(e.Message, "h") {
			t.Errorf("%v gives %v, want %s without the URL", c.err, e, c.want)
		}
	}
}
