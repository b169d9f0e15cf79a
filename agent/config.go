package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/shared/api"
)

// Config is what an agent needs. URL, Name, Executor, State and Dialer must be set.
type Config struct {
	URL         string // http(s):// or ws(s):// address of the server
	Name        string // of the node; unique in the cluster
	Token       string // join token or user's token; not needed once a credential is kept
	RuntimeType api.RuntimeType
	Labels      map[string]string
	Annotations map[string]string
	Taints      []api.Taint
	Namespaces  []string
	Allocatable *api.Capacity // nil leaves it to the server's default
	Version     string        // of the agent, shown in the node's capabilities
	Leave       bool          // a graceful stop takes the node out of the cluster

	// TokenSource gives a token that is good now, in place of Token: a user's session
	// is renewed from time to time. It is asked only where no credential is kept.
	TokenSource func(ctx context.Context) (string, error)

	Executor executor.Executor
	State    State
	Dialer   Dialer
	Logger   *slog.Logger

	Conditions     func() []api.NodeCondition // sent with each heartbeat; may be nil
	LogBytesPerPod int                        // default 1 MiB
	StopTimeout    time.Duration              // bounds a graceful stop of all pods; default 35 s
	Backoff        Backoff                    // of the connection
	Restart        RestartDelays
}

// Backoff is how the agent waits between attempts to connect. Every wait is
// jittered downwards by up to a half.
type Backoff struct {
	First   time.Duration // default 100 ms
	Max     time.Duration // default 30 s
	Refused time.Duration // after a refused token; default 30 s
}

// RestartDelays is how the agent waits before it starts an ended pod again.
type RestartDelays struct {
	First        time.Duration // default 1 s, doubled each time
	Max          time.Duration // default 5 min
	HealthyAfter time.Duration // a run that lived this long resets the delay; default 10 min
}

func (c *Config) complete() error {
	if c.Executor == nil || c.State == nil || c.Dialer == nil {
		return errors.New("agent: Executor, State and Dialer must be given")
	}
	if c.Name == "" {
		return errors.New("agent: the node needs a name")
	}
	u, err := websocketURL(c.URL)
	if err != nil {
		return err
	}
	c.URL = u
	if c.RuntimeType == "" {
		c.RuntimeType = api.RuntimeNode
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.LogBytesPerPod <= 0 {
		c.LogBytesPerPod = 1 << 20
	}
	setDefault(&c.StopTimeout, 35*time.Second)
	setDefault(&c.Backoff.First, 100*time.Millisecond)
	setDefault(&c.Backoff.Max, 30*time.Second)
	setDefault(&c.Backoff.Refused, 30*time.Second)
	setDefault(&c.Restart.First, time.Second)
	setDefault(&c.Restart.Max, 5*time.Minute)
	setDefault(&c.Restart.HealthyAfter, 10*time.Minute)
	return nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

// websocketURL turns the server's address into that of its WebSocket endpoint.
func websocketURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("agent: the server's address cannot be read") // the parse error would quote a password in it
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", fmt.Errorf("agent: the server's address starts with http:// or https://, not %q", u.Scheme)
	}
	if u.Host == "" {
		return "", errors.New("agent: the server's address has no host")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/ws"
	}
	return u.String(), nil
}

// detached gives a context that outlives ctx, for work that a graceful stop needs.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(ctx))
}
