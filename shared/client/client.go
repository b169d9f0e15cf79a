// Package client speaks Stark's REST API with Go types. It owns paths, tokens
// and the way failures come back: what the server or the network fails with is a
// *fault.Error, and a cancelled context stays context.Canceled. It refuses to
// decide anything about the cluster.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/logging"
)

// HeaderCorrelationID carries the correlation id in both directions.
const HeaderCorrelationID = "X-Correlation-ID"

// HeaderIdempotencyKey tells that requests with the same key are one. All methods that
// make something send one of their own, and repeat a request that got no answer.
const HeaderIdempotencyKey = "Idempotency-Key"

const (
	maxAnswer      = 32 << 20 // bytes
	defaultTimeout = 30 * time.Second
)

// TokenSource gives the bearer token of a request. Implementations are safe for
// concurrent use.
type TokenSource interface {
	// Token gives a token that is good now, or "" to call without one.
	Token(ctx context.Context) (string, error)
	// Refresh is called when the server called stale expired; it gives a newer
	// one. What it fails with goes to the caller of the request.
	Refresh(ctx context.Context, stale string) (string, error)
}

// StaticToken is a TokenSource that never changes.
type StaticToken string

// Token gives the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// Refresh fails: there is no newer token.
func (t StaticToken) Refresh(context.Context, string) (string, error) {
	return "", fault.New(fault.TokenExpired, "the token has expired")
}

// Config says where the server is and who calls.
type Config struct {
	URL       string       // e.g. http://127.0.0.1:8480
	Token     TokenSource  // nil: call without a token
	HTTP      *http.Client // nil: a client without a time limit of its own; the context ends requests
	Timeout   time.Duration
	UserAgent string
}

// Client calls one server; it is safe for concurrent use.
type Client struct {
	base   *url.URL
	config Config
}

// New checks the URL and makes a client. No request is sent.
func New(c Config) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fault.New(fault.Validation, "%q is not the URL of a server, such as http://127.0.0.1:8480", c.URL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.New(fault.Validation, "the server's URL must hold neither credentials nor a query")
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{CheckRedirect: noRedirect}
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return &Client{base: u, config: c}, nil
}

// noRedirect hands a redirect back: following one could carry the token to
// another server.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL gives the server's address.
func (c *Client) URL() string { return c.base.String() }

// WebSocketURL gives the address of the WebSocket endpoint.
func (c *Client) WebSocketURL() string { return WebSocketURL(c.base) }

// WebSocketURL turns the address of a server into that of its WebSocket endpoint.
func WebSocketURL(base *url.URL) string {
	u := base.JoinPath("ws")
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[base.Scheme]
	return u.String()
}

// call is one request.
type call struct {
	method      string
	path        []string // segments, escaped one by one
	query       url.Values
	body        func() (io.Reader, int64, error) // made anew when the request is repeated; length -1 if unknown
	contentType string
	anonymous   bool // send no token
	once        bool // happens once however often it is sent: with a key, and again after a failure in between
	noTimeout   bool // the context alone ends it
}

// jsonBody sets the body of a call.
func (k call) jsonBody(v any) call {
	k.contentType = "application/json"
	k.body = func() (io.Reader, int64, error) {
		data, err := json.Marshal(v)
		return bytes.NewReader(data), int64(len(data)), err
	}
	return k
}

// do sends a call and reads the data of its envelope into out, if out is not nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	if !k.noTimeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	resp, err := c.send(ctx, k)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read
	data, err := c.read(resp)
	if err != nil {
		return err
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	envelope := struct {
		Data json.RawMessage `json:"data"`
	}{}
	if err := json.Unmarshal(data, &envelope); err != nil || envelope.Data == nil {
		return fault.Wrap(err, fault.Internal, "%s did not answer as a Stark server does", c.base.Host)
	}
	if err := json.Unmarshal(envelope.Data, out); err != nil {
		return fault.Wrap(err, fault.Internal, "%s answered with something unexpected", c.base.Host)
	}
	return nil
}

// send sends a call, and one that can only happen once again when it is not known
// whether it has. The caller closes the body.
func (c *Client) send(ctx context.Context, k call) (*http.Response, error) {
	if !k.once {
		return c.sendFresh(ctx, k, "")
	}
	key, ok := ctx.Value(idempotencyKey{}).(string)
	if !ok {
		key = api.NewID()
	}
	for attempt := 1; ; attempt++ {
		resp, err := c.sendFresh(ctx, k, key)
		if err == nil || attempt == maxAttempts || !worthAnother(err) {
			return resp, err
		}
		select {
		case <-time.After(pauseBefore(attempt, err)):
		case <-ctx.Done():
			return nil, err
		}
	}
}

type idempotencyKey struct{}

// WithIdempotencyKey gives what is created with the context this key, instead of one of
// its own: who asks for the same with the same key within a day, in whatever process,
// gets what was made first. The key holds for one creation; 1 to 255 visible ASCII
// characters.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, key)
}

// sendFresh sends a call once, or twice when its token has expired, and turns failed
// answers into errors.
func (c *Client) sendFresh(ctx context.Context, k call, key string) (*http.Response, error) {
	token := ""
	if c.config.Token != nil && !k.anonymous {
		var err error
		if token, err = c.config.Token.Token(ctx); err != nil {
			return nil, err
		}
	}
	resp, err := c.sendOnce(ctx, k, token, key)
	if token == "" || fault.CodeOf(err) != fault.TokenExpired {
		return resp, err
	}
	fresh, refreshErr := c.config.Token.Refresh(ctx, token)
	if refreshErr != nil {
		return nil, refreshErr
	}
	return c.sendOnce(ctx, k, fresh, key)
}

func (c *Client) sendOnce(ctx context.Context, k call, token, key string) (*http.Response, error) {
	req, err := c.request(ctx, k, token)
	if err != nil {
		return nil, err
	}
	if key != "" {
		req.Header.Set(HeaderIdempotencyKey, key)
	}
	resp, err := c.config.HTTP.Do(req)
	if err != nil {
		if fe, ok := errors.AsType[*fault.Error](err); ok { // of the request's body
			return nil, fe
		}
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
		return nil, fault.FromNetwork(err, c.base.Host)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		body = nil // the status alone says enough
	}
	return nil, fault.FromHTTP(resp.StatusCode, resp.Header.Get("Retry-After"), body)
}

func (c *Client) request(ctx context.Context, k call, token string) (*http.Request, error) {
	escaped := make([]string, len(k.path))
	for i, p := range k.path {
		escaped[i] = url.PathEscape(p)
	}
	u := c.base.JoinPath(escaped...)
	u.RawQuery = k.query.Encode()
	var body io.Reader
	length := int64(0)
	if k.body != nil {
		var err error
		if body, length, err = k.body(); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.ContentLength = length
		req.Header.Set("Content-Type", k.contentType)
	}
	req.Header.Set("Accept", "application/json")
	if c.config.UserAgent != "" {
		req.Header.Set("User-Agent", c.config.UserAgent)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	id := logging.CorrelationID(ctx)
	if id == "" {
		id = api.NewID()
	}
	req.Header.Set(HeaderCorrelationID, id)
	return req, nil
}

func (c *Client) read(resp *http.Response) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fault.FromNetwork(err, c.base.Host)
	}
	if len(data) > maxAnswer {
		return nil, fault.New(fault.PayloadTooLarge, "the answer of %s is longer than %d bytes", c.base.Host, maxAnswer)
	}
	return data, nil
}
