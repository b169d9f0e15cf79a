package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

	// GiveUp ends the agent with a *RefusedError also where the server has let the node in
	// before: pods are stopped first. For agents whose owner is at hand with a new token;
	// others go on trying.
	GiveUp bool

	// TokenSource gives a token that is good now, in place of Token: a user's session
	// is renewed from time to time. It is asked only where no credential is kept.
	TokenSource func(ctx context.Context) (string, error)

	// Random fills b with random bytes that are fit for secrets; nil takes those of the
	// system. In a browser it must be given: package crypto/rand would weigh 100 KB in each tab.
	Random func(b []byte) error

	Executor executor.Executor
	State    State
	Dialer   Dialer
	Logger   *slog.Logger

	Linked func(connection string) // told the id of the connection on which the node registers, and "" when it is lost; must not block, may be nil
	Wake   <-chan struct{}         // ends a wait between attempts to connect: the network is back; may be nil

	// Conditions gives all that hold for the node, with Status true or false; it is sent
	// when the node registers and with each heartbeat. It may be nil, and must not wait.
	Conditions func() []api.NodeCondition
	// ConditionsChanged makes the agent send a heartbeat at once; may be nil.
	ConditionsChanged <-chan struct{}

	// Heartbeat is the time between heartbeats, whatever the server says; 0 leaves it to
	// the server. A node that is heard less often than its cluster expects counts as lost.
	Heartbeat time.Duration

	LogBytesPerPod int           // kept output of one pod; default 1 MiB
	LogBytes       int64         // kept output of all pods together, also of those that have ended; default 64 MiB
	LogCheckpoints time.Duration // between copies of the end of the output to the server; default 10 s, never when negative
	StopTimeout    time.Duration // bounds a graceful stop of all pods; default 35 s
	Backoff        Backoff       // of the connection
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
	HealthyAfter time.Duration // a run that was ready for this long resets the delay; default 10 min
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
	if c.Random == nil {
		c.Random = systemRandom
	}
	if c.RuntimeType == "" {
		c.RuntimeType = api.RuntimeNode
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.LogBytesPerPod <= 0 {
		c.LogBytesPerPod = 1 << 20
	}
	if c.LogBytes <= 0 {
		c.LogBytes = 64 << 20
	}
	if c.LogCheckpoints == 0 {
		c.LogCheckpoints = 10 * time.Second
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

// websocketURL turns the server's address into that of its WebSocket endpoint. It is
// taken apart by hand, since package net/url would weigh 30 KB in each browser tab;
// whoever dials reads the rest.
func websocketURL(raw string) (string, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "", errors.New("agent: the server's address starts with http:// or https://") // it may hold a password: not repeated
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "ws":
		scheme = "ws"
	case "https", "wss":
		scheme = "wss"
	default:
		return "", fmt.Errorf("agent: the server's address starts with http:// or https://, not %q", scheme)
	}
	host, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	name := host[strings.LastIndexByte(host, '@')+1:]
	if name == "" || strings.Count(name, "[") != strings.Count(name, "]") || strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", errors.New("agent: the server's address has no host, or one that cannot be read")
	}
	if path == "" || path == "/" {
		path = "/ws"
	}
	return scheme + "://" + host + path, nil
}

// detached gives a context that outlives ctx, for work that a graceful stop needs.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(ctx))
}
