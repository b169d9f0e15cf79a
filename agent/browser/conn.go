//go:build js

package browser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall/js"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	maxUnread   = 8192    // frames that may wait for the agent
	maxUnsent   = 4 << 20 // bytes that may wait for the network
	drainRhythm = 20 * time.Millisecond
	openState   = 1 // WebSocket.OPEN
)

// Dialer opens the browser's WebSockets. It implements agent.Dialer. A browser sends no
// header with them, so the agent shows its token in the first message.
type Dialer struct {
	mu   sync.Mutex
	open *conn
}

// Dial implements agent.Dialer.
func (d *Dialer) Dial(ctx context.Context, url, _ string) (agent.Conn, error) {
	c := &conn{arrived: make(chan struct{}, 1), over: make(chan struct{})}
	c.onMessage = js.FuncOf(func(_ js.Value, args []js.Value) any { c.take(args[0].String()); return nil })
	c.onClose = js.FuncOf(func(_ js.Value, args []js.Value) any {
		c.end(fmt.Errorf("the connection was closed (%d %s)", args[0].Int(), args[1].String()))
		return nil
	})
	ws, err := call(ctx, "dial", url, wire.Subprotocol, c.onMessage, c.onClose)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c.ws = ws
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = c
	return c, nil
}

// Drop ends the open connection: a tab that was frozen has lost it without being told.
func (d *Dialer) Drop(reason string) {
	d.mu.Lock()
	c := d.open
	d.mu.Unlock()
	if c != nil {
		c.end(errors.New(reason))
		c.ws.Call("close")
	}
}

// conn is one WebSocket. It implements agent.Conn.
type conn struct {
	ws                 js.Value
	onMessage, onClose js.Func
	arrived            chan struct{} // has room for one: there may be a frame
	over               chan struct{} // closed at the end
	once               sync.Once
	err                error // valid once over is closed

	mu     sync.Mutex
	unread []string
}

func (c *conn) take(frame string) {
	c.mu.Lock()
	c.unread = append(c.unread, frame)
	n := len(c.unread)
	c.mu.Unlock()
	if n > maxUnread {
		c.end(errors.New("the server sends faster than this tab can read"))
	}
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func (c *conn) end(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.over)
	})
}

// Read implements agent.Conn.
func (c *conn) Read(ctx context.Context) ([]byte, error) {
	for {
		c.mu.Lock()
		if len(c.unread) > 0 {
			frame := c.unread[0]
			c.unread[0] = ""
			c.unread = c.unread[1:]
			c.mu.Unlock()
			return []byte(frame), nil
		}
		c.mu.Unlock()
		select {
		case <-c.arrived:
		case <-c.over:
			return nil, c.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Write implements agent.Conn. It waits while too much is on its way.
func (c *conn) Write(ctx context.Context, frame []byte) error {
	for {
		select {
		case <-c.over:
			return c.err
		default:
		}
		if c.ws.Get("readyState").Int() != openState {
			return errors.New("the connection is closing")
		}
		if c.ws.Get("bufferedAmount").Int() < maxUnsent {
			c.ws.Call("send", string(frame))
			return nil
		}
		select {
		case <-time.After(drainRhythm):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close implements agent.Conn. The browser finishes the handshake by itself.
func (c *conn) Close(code int, reason string) error {
	c.end(errors.New("the connection was closed here"))
	if code == agent.CloseNormal {
		c.ws.Call("close", code, reason)
	} else {
		c.ws.Call("close") // browsers allow no other code of the protocol's own
	}
	return nil
}
