package supabase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// callTransport is what the three client libraries lack, under all of them. It
// interprets answers, which a RoundTripper should not: it is the one place that
// the libraries let through an error unharmed, since each of them parses
// failures into something poorer.
type callTransport struct {
	next    http.RoundTripper
	dialect func(status int, body []byte) *fault.Error
	scope   string // query parameter for /logout
	stream  bool   // answers of 2xx are handed on unread
}

// RoundTrip sends one request. Answers of 300 and above come back as errors.
func (t *callTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if t.scope != "" && strings.HasSuffix(req.URL.Path, "/logout") {
		query := req.URL.Query()
		query.Set("scope", t.scope)
		req.URL.RawQuery = query.Encode()
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, transportFault(err)
	}
	if t.stream && resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	return t.settle(resp)
}

// bind gives a RoundTripper whose requests end with ctx as well as with their
// own context, which gotrue-go leaves empty.
func bind(ctx context.Context, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(req *http.Request) (*http.Response, error) { //nolint:contextcheck // ctx is the caller's; the request's own is joined to it below
		merged, cancel := context.WithCancelCause(ctx)
		defer cancel(nil) // the answer has been read by then
		own := req.Context()
		defer context.AfterFunc(own, func() { cancel(context.Cause(own)) })() //nolint:contextcheck // see above
		return next.RoundTrip(req.Clone(merged))
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// settle reads a small answer whole, so that a library that forgets to close the
// body leaks nothing and none can read without bound.
func (t *callTransport) settle(resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, transportFault(err)
	}
	switch {
	case len(body) > maxAnswer:
		return nil, fault.New(fault.Unavailable, "Supabase gave an answer that is too long")
	case resp.StatusCode >= http.StatusBadRequest:
		return nil, t.dialect(resp.StatusCode, body)
	case resp.StatusCode >= http.StatusMultipleChoices && resp.StatusCode != http.StatusNotModified:
		return nil, fault.New(fault.Unavailable, "Supabase answered with a redirect, which is not followed")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// transportFault tells a caller that gave up from a service that cannot be
// reached.
func transportFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fault.Wrap(err, fault.Unavailable, "Supabase cannot be reached")
}

// Fault finds the fault in what a client library returned; any other error means
// that the answer was not understood. What the library says is kept for the log
// only as its type: its text may quote the answer, which may hold a token.
func Fault(err error, operation string) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", operation, context.Canceled)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, "Supabase did not answer in time")
	}
	return fault.Wrap(fmt.Errorf("%s: answer not understood (%T)", operation, err), fault.Unavailable, "Supabase gave an answer that cannot be understood")
}

// storage-go sends through http.DefaultTransport and takes no other. Its base
// address may have any scheme, though, and http.Transport lets a scheme be served
// by a RoundTripper of its own: "stark+http" and "stark+https" lead its requests
// through callTransport.
const storageSchemePrefix = "stark+"

type storageScheme struct{ inner callTransport }

// RoundTrip takes the prefix off and sends the request on.
func (s *storageScheme) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Scheme = strings.TrimPrefix(req.URL.Scheme, storageSchemePrefix)
	// The library adds its headers for each hop; two values would be refused.
	for _, name := range []string{"Authorization", "Apikey", "Content-Type"} {
		if v := req.Header.Values(name); len(v) > 1 {
			req.Header.Set(name, v[len(v)-1])
		}
	}
	return s.inner.RoundTrip(req)
}

var storageSchemeOnce sync.Once

func registerStorageScheme(next http.RoundTripper) {
	storageSchemeOnce.Do(func() {
		def, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			return // replaced by somebody: requests fail with "unsupported protocol scheme"
		}
		rt := &storageScheme{inner: callTransport{next: next, dialect: StorageFault}}
		def.RegisterProtocol(storageSchemePrefix+"http", rt)
		def.RegisterProtocol(storageSchemePrefix+"https", rt)
	})
}
