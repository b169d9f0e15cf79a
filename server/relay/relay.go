// Package relay reads the logs of nodes that are connected to another server: it finds
// out which, asks it, and serves others that ask this one. It owns the way between
// servers and refuses to know what a pod or a user is: who asks it has checked that.
//
// A server that needs the logs of a pod makes a pass in the database, for one request
// to one server for one pod on one node, good for 15 s. It shows the pass to that
// server, which uses it up. Nothing else opens this way, so that neither servers need a
// secret in common nor a network of their own.
package relay

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Path is where servers ask each other for logs, below their addresses.
const Path = "/internal/logs"

const (
	announceEvery = 10 * time.Second // a server counts as gone after 30 s
	callTimeout   = 5 * time.Second  // of one call to the database
	dialTimeout   = 3 * time.Second
	answerTimeout = 10 * time.Second // until the head of an answer
	beatEvery     = 10 * time.Second // of a stream that has nothing to say
	silence       = 3 * beatEvery    // after which a stream is dead
	writeTimeout  = 30 * time.Second // a reader that takes nothing for so long has gone
	maxOpen       = 16 << 10         // bytes of a request
	maxFrame      = 4 << 20          // bytes of one line of an answer
)

// Pass opens the way to the logs of one pod on one node, once.
type Pass struct {
	Address string // of the server that holds the node's connection
	Secret  string
}

// Target is what a pass was made out for.
type Target struct{ NodeID, PodID string }

// Database knows the servers and the passes. Every method is safe for concurrent use.
type Database interface {
	// AnnounceServer says where other servers reach this one, for 30 s.
	AnnounceServer(ctx context.Context, address string) error
	WithdrawServer(ctx context.Context) error
	// RelayPass is Unavailable where no other server holds the node's connection.
	RelayPass(ctx context.Context, nodeID, podID string) (Pass, error)
	// RedeemRelayPass uses up a pass that was made out for this server.
	RedeemRelayPass(ctx context.Context, secret string) (Target, error)
}

// Source reads logs of the nodes that are connected to this server, and is Unavailable
// for others.
type Source interface {
	OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error]
}

// Config is what a Relay needs. MaxStreams may be 0.
type Config struct {
	DB         Database
	Local      Source
	Logger     *slog.Logger
	MaxStreams int // that others may read from here at the same time; 1,024 when 0
}

// Relay reads logs of all nodes. It is an http.Handler for Path, and safe for
// concurrent use.
type Relay struct {
	db     Database
	local  Source
	log    *slog.Logger
	client *http.Client
	places chan struct{} // one for each stream that is served
}

// New makes a Relay. Other servers find it while Announce runs.
func New(c Config) *Relay {
	if c.MaxStreams <= 0 {
		c.MaxStreams = 1024
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: beatEvery}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   32,
		DisableCompression:    true,
	}
	return &Relay{
		db: c.DB, local: c.Local, log: c.Logger, places: make(chan struct{}, c.MaxStreams),
		client: &http.Client{
			Transport: transport,
			// A pass is for one server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Announce tells the other servers where this one is until ctx ends, and then that it
// is gone.
func (r *Relay) Announce(ctx context.Context, address string) {
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	for {
		if err := r.within(ctx, func(ctx context.Context) error { return r.db.AnnounceServer(ctx, address) }); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "this server could not tell the others its address", slog.Any("error", err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if err := r.within(context.WithoutCancel(ctx), r.db.WithdrawServer); err != nil {
				r.log.WarnContext(ctx, "this server could not take its address back", slog.Any("error", err))
			}
			r.client.CloseIdleConnections()
			return
		}
	}
}

func (r *Relay) within(ctx context.Context, f func(context.Context) error) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f(call)
}

// frame is one line between servers; one of its parts is set.
type frame struct {
	Chunk *wire.LogsChunk `json:"chunk,omitempty"`
	Beat  bool            `json:"beat,omitempty"`
	End   *wire.LogsEnd   `json:"end,omitempty"` // the last line: without it the other server has gone
}

// OpenLogs reads the output of a pod from its node, wherever that is connected. The
// sequence ends with the output, with ctx, or with its first error; leaving the loop
// closes the stream at the node. A node that no server holds is Unavailable.
func (r *Relay) OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		begun := false
		for chunk, err := range r.local.OpenLogs(ctx, nodeID, o) {
			if !begun && fault.CodeOf(err) == fault.Unavailable && ctx.Err() == nil {
				r.remote(ctx, nodeID, o, err, yield)
				return
			}
			begun = true
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// remote asks the server that holds the node's connection; otherwise is the error if
// there is none.
func (r *Relay) remote(ctx context.Context, nodeID string, o wire.LogsOpen, otherwise error, yield func(wire.LogsChunk, error) bool) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	pass, err := r.db.RelayPass(call, nodeID, o.PodID)
	cancel()
	if err != nil {
		if fault.CodeOf(err) != fault.Unavailable {
			r.log.WarnContext(ctx, "no pass to another server", slog.Any("error", err))
		}
		yield(wire.LogsChunk{}, otherwise)
		return
	}
	if err := r.read(ctx, pass, o, yield); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		yield(wire.LogsChunk{}, err)
	}
}

// errGone is what a reader is told of a server that does not answer well.
func errGone(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "the server that holds the node's connection does not answer")
}

var errCut = errors.New("the answer was cut off")
