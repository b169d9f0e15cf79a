package simulated

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"time"
)

// Stats is what a fleet has done so far.
type Stats struct {
	Agents     int `json:"agents"`
	Registered int `json:"registered"` // were online at least once
	Online     int `json:"online"`     // are now
	Refused    int `json:"refused"`    // were never let in
	Reconnects int `json:"reconnects"`

	AllOnlineMS int64 `json:"allOnlineMs,omitempty"` // from the start until all were online; 0 where they never were

	PodsStarted int64 `json:"podsStarted"`
	PodsRunning int64 `json:"podsRunning"`

	FramesIn  int64 `json:"framesIn"` // from the server
	FramesOut int64 `json:"framesOut"`
	BytesIn   int64 `json:"bytesIn"` // of the frames' payloads
	BytesOut  int64 `json:"bytesOut"`

	Errors   int64            `json:"errors"`
	Failures map[string]int64 `json:"failures,omitempty"` // the errors, by what was wrong
}

// Stats counts.
func (f *Fleet) Stats() Stats {
	s := Stats{
		Agents: len(f.members), Registered: int(f.registered.Load()), Online: int(f.online.Load()),
		Refused: int(f.refused.Load()), Reconnects: int(f.reconnects.Load()),
		AllOnlineMS: time.Duration(f.took.Load()).Milliseconds(),
		PodsStarted: f.executor.Started(), PodsRunning: f.executor.Live(),
		FramesIn: f.traffic.framesIn.Load(), FramesOut: f.traffic.framesOut.Load(),
		BytesIn: f.traffic.bytesIn.Load(), BytesOut: f.traffic.bytesOut.Load(),
	}
	s.Failures, s.Errors = f.failures.list()
	return s
}

// maxFailures bounds how many kinds of failures are told apart.
const maxFailures = 20

// failures counts what agents warn of, by the message and the innermost cause, so that a
// thousand agents with one trouble give one line.
type failures struct {
	mu    sync.Mutex
	by    map[string]int64
	total int64
}

func (f *failures) add(err error) { f.count(innermost(err)) }

func (f *failures) count(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]int64{}
	}
	if _, known := f.by[text]; !known && len(f.by) >= maxFailures {
		text = "others"
	}
	f.by[text]++
	f.total++
}

func (f *failures) list() (by map[string]int64, total int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.by), f.total
}

// innermost gives the cause at the bottom, which names no addresses and ports.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// complaints implements slog.Handler for one agent. What it says between a cut of its
// connection by the fleet and its return is no failure.
type complaints struct {
	all  *failures
	line *line
}

// Enabled implements slog.Handler.
func (complaints) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler.
func (c complaints) Handle(_ context.Context, r slog.Record) error {
	if c.line.isCut.Load() {
		return nil
	}
	text, own := r.Message, false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		if ok {
			text += ": " + innermost(err)
			own = errors.Is(err, net.ErrClosed) // who closed it was this side
		}
		return !ok
	})
	if !own {
		c.all.count(text)
	}
	return nil
}

// WithAttrs implements slog.Handler; which pod it was is not told apart.
func (c complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements slog.Handler.
func (c complaints) WithGroup(string) slog.Handler { return c }
