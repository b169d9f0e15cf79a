package agent

import (
	"context"
	"errors"
)

// ErrRefused is what a Dialer's error wraps when the server did not accept the
// token. The agent then retries slowly.
var ErrRefused = errors.New("the server refused the token")

// RefusedError ends an agent that has never been let in, or that shall give up: what the
// server refuses now it will refuse later.
type RefusedError struct {
	Err  error
	Help string // the next step to take
}

// Error tells why.
func (e *RefusedError) Error() string { return "the server refuses this node: " + e.Err.Error() }

// Unwrap gives the server's answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// Close codes that the agent uses (RFC 6455).
const (
	CloseNormal    = 1000
	CloseGoingAway = 1001
)

// Conn is one WebSocket connection that carries text frames of at most
// wire.MaxMessage bytes. Write may be called concurrently with itself and with Read;
// Read is called from one goroutine. When a context ends in mid-call, the connection
// is broken.
type Conn interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, frame []byte) error
	Close(code int, reason string) error
}

// Dialer opens connections with the subprotocol wire.Subprotocol. It presents the
// token in the handshake where the platform can; the agent sends it in the first
// message where the server still asks for it.
type Dialer interface {
	Dial(ctx context.Context, url, token string) (Conn, error)
}

// State is the agent's memory across restarts: few small values under flat keys
// made of letters, digits, '-', '_' and '.'. Methods may be called concurrently; two
// writes to one key are not.
type State interface {
	// Get gives nil without an error for a key that is not there.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put is atomic and durable on return. Values may be secret.
	Put(ctx context.Context, key string, value []byte) error
	// Delete does nothing for a key that is not there.
	Delete(ctx context.Context, key string) error
	// Keys lists the keys with a prefix, in any order.
	Keys(ctx context.Context, prefix string) ([]string, error)
}
