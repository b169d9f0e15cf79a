//go:build !js

// Package wsconn is the agent's connection on native platforms: coder/websocket
// behind agent.Dialer. It is a package of its own because it imports net/http, which
// the browser's agent must not.
package wsconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/coder/websocket"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Dialer implements agent.Dialer. The zero value works.
type Dialer struct {
	Client    *http.Client // nil means http.DefaultClient
	UserAgent string
}

// Dial implements agent.Dialer. The token travels in the Authorization header.
func (d Dialer) Dial(ctx context.Context, address, token string) (agent.Conn, error) {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	if d.UserAgent != "" {
		header.Set("User-Agent", d.UserAgent)
	}
	c, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: d.Client, HTTPHeader: header, Subprotocols: []string{wire.Subprotocol},
	})
	if resp != nil && resp.Body != nil {
		// Of an upgraded connection the body is not ours; of a refused one it is read already.
		defer func() { _ = closeRefused(resp) }()
	}
	if err != nil {
		if resp != nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden) {
			return nil, fmt.Errorf("dial: status %d: %w", resp.StatusCode, agent.ErrRefused)
		}
		if busy := busyError(resp); busy != nil {
			return nil, fmt.Errorf("dial: %w", busy)
		}
		return nil, fmt.Errorf("dial: %w", withoutURL(err))
	}
	c.SetReadLimit(wire.MaxMessage)
	return &conn{c: c}, nil
}

// busyError is the word of a server, or of what stands before it, that takes nobody in
// now: it may say when to come again.
func busyError(resp *http.Response) *fault.Error {
	if resp == nil || resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		return nil
	}
	body, _ := io.ReadAll(resp.Body) // the first 1024 bytes, read already
	return fault.FromHTTP(resp.StatusCode, resp.Header.Get("Retry-After"), body)
}

func closeRefused(resp *http.Response) error {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	return resp.Body.Close()
}

// withoutURL keeps the address, which may hold a password, out of errors.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

type conn struct{ c *websocket.Conn }

func (c *conn) Read(ctx context.Context) ([]byte, error) {
	_, frame, err := c.c.Read(ctx)
	return frame, err
}

func (c *conn) Write(ctx context.Context, frame []byte) error {
	return c.c.Write(ctx, websocket.MessageText, frame)
}

// Close says goodbye; going away, it does not wait for the answer.
func (c *conn) Close(code int, reason string) error {
	if code == agent.CloseGoingAway {
		return c.c.CloseNow()
	}
	return c.c.Close(websocket.StatusCode(code), reason)
}
