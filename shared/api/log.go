package api

import "time"

// LogLine is one line of a pod's output.
type LogLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"` // "stdout", "stderr" or "log"
	Line    string    `json:"line"`
	Attempt int       `json:"attempt,omitempty"`
	Dropped int       `json:"dropped,omitempty"` // lines lost before this one; Line is then empty
	Notice  string    `json:"notice,omitempty"`  // a word of Stark about the lines around it; Line is then empty
	PodID   string    `json:"podId,omitempty"`   // where the lines of many pods come together
	// Event is what a notice about one pod of many is about.
	Event LogEvent `json:"event,omitempty"`
	// Position is where the line stands in its pod's output; opaque. A reader that lost its
	// connection shows the last one of each pod, and gets what comes behind it.
	Position string `json:"position,omitempty"`
}

// StreamLog is the LogLine.Stream of the pack's own logger, and of marks and notices.
const StreamLog = "log"

// DefaultLogPods and MaxLogPods bound the pods whose output one request reads: unless the
// request says otherwise, and at all.
const (
	DefaultLogPods = 50
	MaxLogPods     = 100
)

// LogEvent is what has happened to a pod whose output is followed among that of others.
type LogEvent string

// The events.
const (
	LogJoined  LogEvent = "joined"  // its output follows from here on
	LogEnded   LogEvent = "ended"   // it has ended, and no more comes
	LogRemoved LogEvent = "removed" // it is gone, or not for this reader any more
	LogLeft    LogEvent = "left"    // it does not match any more
	LogLost    LogEvent = "lost"    // its node is lost
	LogWaits   LogEvent = "waiting" // there is no place for it yet
)

// Final reports whether nothing of the pod comes any more, unless it joins again.
func (e LogEvent) Final() bool { return e == LogEnded || e == LogRemoved || e == LogLeft }
