// Package loggingtest gives tests a logger that finds secrets: at level debug, in the
// form that the programs log in, and the test fails when a line holds what it was told
// is secret or what looks like it. A rule (tests/rules) keeps tests from other loggers.
package loggingtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/shared/logging"
)

// shapes are secrets that show what they are.
var shapes = map[string]*regexp.Regexp{
	"an access token or key": regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}`),
	"a key of Supabase":      regexp.MustCompile(`sb_(?:secret|publishable)_[\w-]{8,}`),
	"a token of a node":      regexp.MustCompile(`stark_(?:join|node|ticket|relay)_[\w-]{16,}`),
	"a bearer token":         regexp.MustCompile(`(?i)bearer [\w.~+/-]{12,}`),
	"a private key":          regexp.MustCompile(`BEGIN [A-Z ]*PRIVATE KEY|"d":"[\w-]{40,}"`),
	"a password in a URL":    regexp.MustCompile(`://[^/\s:@"]+:(?:[^@\s"/x][^@\s"/]*|x[^@\s"/x][^@\s"/]*)@`),
	"a signed URL":           regexp.MustCompile(`[?&]token=[\w.-]{12,}`),
}

const (
	shortest = 8       // what is shorter is found by chance
	most     = 1 << 20 // bytes that a failed test shows, the newest
)

// Log is the logger of one test.
type Log struct {
	*slog.Logger

	mu      sync.Mutex
	secrets []string // guarded by mu, like what follows
	lines   []string
	size    int
	ended   bool
}

// New makes a Log with secrets that are known already. What is logged after the test
// has ended is let go.
func New(tb testing.TB, secrets ...string) *Log {
	tb.Helper()
	return NewTo(tb, io.Discard, secrets...)
}

// NewTo makes a Log whose lines w gets as well, for tests that read them.
func NewTo(tb testing.TB, w io.Writer, secrets ...string) *Log {
	tb.Helper()
	l := open(w)
	l.Secret(secrets...)
	tb.Cleanup(func() {
		for _, fault := range l.end() {
			tb.Error(fault)
		}
		if tb.Failed() {
			tb.Log(l.text())
		}
	})
	return l
}

// Shared makes a Log for what outlives a test, such as a stack that serves a package.
// Lines of level error go to w as well. Call end when nothing is logged any more: its
// error says which lines hold secrets.
func Shared(w io.Writer) (l *Log, end func() error) {
	l = open(failures{w})
	return l, func() error {
		if faults := l.end(); len(faults) > 0 {
			return errors.New(strings.Join(faults, "\n"))
		}
		return nil
	}
}

func open(w io.Writer) *Log {
	l := &Log{}
	l.Logger = logging.New(writer{l, w}, slog.LevelDebug, "")
	return l
}

// failures lets lines of level error through.
type failures struct{ to io.Writer }

func (f failures) Write(line []byte) (int, error) {
	if !bytes.Contains(line, []byte(`"level":"ERROR"`)) {
		return len(line), nil
	}
	return f.to.Write(line)
}

// Secret names further secrets, also those that came to be after lines were written.
func (l *Log) Secret(values ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range values {
		if len(v) >= shortest {
			l.secrets = append(l.secrets, v, url.QueryEscape(v))
		}
	}
}

type writer struct {
	log *Log
	to  io.Writer
}

func (w writer) Write(line []byte) (int, error) {
	w.log.add(string(line))
	return w.to.Write(line)
}

func (l *Log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.lines = append(l.lines, line)
		l.size += len(line)
	}
}

// end says what is wrong with everything that was logged.
func (l *Log) end() (faults []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, line := range l.lines {
		if what := l.find(line); what != "" {
			faults = append(faults, fmt.Sprintf("a line of the log holds %s: %s", what, line))
		}
	}
	return faults
}

func (l *Log) find(line string) string {
	for _, secret := range l.secrets {
		if strings.Contains(line, secret) {
			return "a secret of this test"
		}
	}
	for what, shape := range shapes {
		if shape.MatchString(line) {
			return what
		}
	}
	return ""
}

func (l *Log) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := l.size
	first := 0
	for ; size > most; first++ {
		size -= len(l.lines[first])
	}
	return strings.Join(l.lines[first:], "")
}
