package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging"
)

// stepError is a step of `dev` that failed.
type stepError struct {
	step string
	err  error
}

func (e stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e stepError) Unwrap() error { return e.err }

// devOutput writes the steps, as lines for people or as JSON.
type devOutput struct {
	stdout, stderr io.Writer
	json, color    bool
	width          func() int  // columns of the terminal; 0 is no terminal
	raw            atomic.Bool // the terminal moves no cursor to the first column by itself
	quiet          atomic.Bool // at the end, parts that lose each other are no news

	mu sync.Mutex // steps, log lines and warnings come from several goroutines
}

func newDevOutput(a *app, asJSON bool) *devOutput {
	return &devOutput{stdout: a.stdout, stderr: a.stderr, json: asJSON, color: a.color(a.stdout), width: func() int { return columns(a.stdout) }}
}

func (o *devOutput) write(w io.Writer, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.raw.Load() {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	_, _ = io.WriteString(w, text) // nobody is left to tell
}

// say writes a line for people only.
func (o *devOutput) say(format string, args ...any) {
	if !o.json {
		o.write(o.stdout, fmt.Sprintf(format+"\n", args...))
	}
}

func (o *devOutput) object(step string, ok bool, fields map[string]any) {
	all := map[string]any{}
	maps.Copy(all, fields)
	all["step"], all["ok"] = step, ok
	if data, err := json.Marshal(all); err == nil {
		o.write(o.stdout, string(data)+"\n")
	}
}

// messageWidth is where the times stand, where the message leaves room.
const messageWidth = 70

func (o *devOutput) step(name, message string, took time.Duration, fields map[string]any) {
	if o.json {
		all := map[string]any{"message": message, "ms": took.Milliseconds()}
		maps.Copy(all, fields)
		o.object(name, true, all)
		return
	}
	mark := "[ok]"
	if o.color {
		mark = paint(green, mark)
	}
	o.say("  %s %-10s %s", mark, name, o.fit(clean(message), seconds(took)))
}

// fit puts the time behind a message, both on one line of the terminal.
func (o *devOutput) fit(message, took string) string {
	const (
		before    = 18 // columns of mark and name
		timeWidth = 7
		least     = 10 // of the message, however narrow it is
	)
	room := messageWidth
	if width := o.width(); width > 0 {
		room = max(least, min(room, width-before-timeWidth-1))
		if over := room + timeWidth - len(took); utf8.RuneCountInString(message) > over {
			message = string([]rune(message)[:over-len("..")]) + ".."
		}
	}
	pad := room + 1 + timeWidth - utf8.RuneCountInString(message)
	return fmt.Sprintf("%s%*s", message, max(pad, len(took)+1), took)
}

func (o *devOutput) fail(e stepError) {
	o.object(e.step, false, map[string]any{"error": message(e.err)})
}

func (o *devOutput) ready(took time.Duration, fields map[string]any) {
	if o.json {
		all := maps.Clone(fields)
		all["ms"] = took.Milliseconds()
		o.object("ready", true, all)
		return
	}
	o.say("\n  ready in %s", seconds(took))
}

// problem tells of something that went wrong without ending anything.
func (o *devOutput) problem(step string, err error) {
	if o.json {
		o.object(step, false, map[string]any{"error": message(err)})
		return
	}
	mark := "[!!]"
	if o.color {
		mark = paint(red, mark)
	}
	text := strings.ReplaceAll(strings.TrimSpace(message(err)), "\n", "\n       ")
	o.say("  %s %-10s %s", mark, step, text)
}

// waitQuietly is how long a pod may take to be ready before it is told what it does.
const waitQuietly = 3 * time.Second

// waiting tells what a pod does that is long in coming, again when that changes.
type waiting struct {
	out   *devOutput
	begin time.Time
	told  string
}

func newWaiting(o *devOutput) *waiting { return &waiting{out: o, begin: time.Now()} }

func (w *waiting) tell(p api.Pod) {
	text := fmt.Sprintf("%s %s is %s%s", p.PackName, p.PackVersion, podStatus(p), because(p))
	if p.Status == api.PodStarting {
		text += ": the pack still loads, and is ready when it calls ready() or returns a promise"
	}
	if text == w.told || time.Since(w.begin) < waitQuietly {
		return
	}
	w.told = text
	if w.out.json {
		w.out.object("wait", true, map[string]any{"pod": p.ID, "status": p.Status, "message": text})
		return
	}
	w.out.say("  [..] %-10s %s", "pod", clean(text))
}

// maxDevLog is the size at which the log of `dev` starts anew, in bytes.
const maxDevLog = 20 << 20

// openLog sends all records to dev.log, and warnings to the screen in short.
func (d *dev) openLog(dir string) (*slog.Logger, func(), error) {
	level, err := d.app.logLevel()
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, "dev.log")
	if info, err := os.Stat(path); err == nil && info.Size() > maxDevLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	records := logging.New(file, level, "dev").Handler()
	log := slog.New(slog.NewMultiHandler(records, notice{out: d.out}))
	return log, func() { _ = file.Close() }, nil // the last record is written
}

// notice shows warnings and errors in one short line, and what has ended one.
type notice struct {
	out  *devOutput
	part string
}

// Enabled reports whether a record may be worth the screen.
func (n notice) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo && !n.out.quiet.Load()
}

// Handle writes the message and the error behind it.
func (n notice) Handle(_ context.Context, r slog.Record) error {
	text, recovered := r.Message, false
	r.Attrs(func(a slog.Attr) bool {
		recovered = recovered || a.Key == logging.KeyRecovered
		if a = logging.Redact(nil, a); a.Key == "error" || a.Key == "err" {
			text += ": " + a.Value.String()
		}
		return true
	})
	if r.Level < slog.LevelWarn && !recovered {
		return nil
	}
	n.out.write(n.out.stderr, fmt.Sprintf("  %s: %s: %s\n", strings.ToLower(r.Level.String()), n.part, clean(text)))
	return nil
}

// WithAttrs remembers which part speaks.
func (n notice) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == "part" {
			n.part = a.Value.String()
		}
	}
	return n
}

// WithGroup changes nothing: groups are not shown.
func (n notice) WithGroup(string) slog.Handler { return n }
