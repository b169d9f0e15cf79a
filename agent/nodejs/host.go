//go:build unix

package nodejs

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	maxFrame     = 16 << 20
	maxLine      = 16 << 10
	warmTimeout  = 30 * time.Second
	writeTimeout = 5 * time.Second
	// pipeGrace is how long output is still read after a host has died, should a
	// process that escaped hold the pipe.
	pipeGrace = 200 * time.Millisecond
	// deathGrace is how long a process may take to die behind its control channel.
	deathGrace = 100 * time.Millisecond
)

// order is a frame to the host.
type order struct {
	Type           string            `json:"t"`
	ID             string            `json:"id"`
	File           string            `json:"file,omitempty"`
	Heap           int               `json:"heap,omitempty"`
	Pod            map[string]any    `json:"pod,omitempty"`
	Env            map[string]string `json:"env,omitempty"`
	UnresponsiveMS int64             `json:"unresponsiveMs,omitempty"`
	StorageBytes   int64             `json:"storageBytes,omitempty"` // that the storage adapter may keep, 0 for any
	GraceMS        *int64            `json:"graceMs,omitempty"`
	Reason         string            `json:"reason,omitempty"`
	Message        string            `json:"message,omitempty"`
}

// notice is a frame from the host.
type notice struct {
	Type string `json:"t"`
	ID   string `json:"id"`

	// Output by columns, which are equally long.
	Streams []int    `json:"streams"` // as streams names them
	Times   []int64  `json:"times"`   // unix milliseconds
	Texts   []string `json:"texts"`
	Gaps    []int    `json:"gaps"` // lines that are missing there; the text is empty then

	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	DelayMS int64  `json:"delayMs"`
	CPUMS   int64  `json:"cpuMs"`
	Bytes   int64  `json:"bytes"`
}

// host is one Node.js process.
type host struct {
	e     *Executor
	cmd   *exec.Cmd
	pipes pipes
	dir   string
	heap  int // of its first worker, MiB
	warm  chan struct{}
	dead  chan struct{} // closed when the process is reaped and nothing is left
	gauge gauge         // of its memory, from begin on
	base  int64         // resident bytes before the first pack
	peak  atomic.Int64
	rss   atomic.Int64 // of the last sample
	cpu   cpuMeter
	out   sync.WaitGroup

	writeMu sync.Mutex // of the control socket, and of alive
	alive   bool       // started and not yet reaped: its process id is its own
	looked  bool       // whether forked was found out
	forked  bool       // has started processes, or may have

	mu     sync.Mutex
	pods   map[string]*controller
	served bool // has or had a pod
	ending bool // takes no more pods
	cause  *api.Termination
	fatal  bool   // the runtime said that it ran out of memory
	note   string // which pack signalled the process
}

// spawn starts a host whose spare worker has the given heap limit.
func (e *Executor) spawn(heap int) (*host, error) {
	dir, err := os.MkdirTemp(filepath.Join(e.opts.StateDir, "pods"), "")
	if err != nil {
		return nil, fmt.Errorf("make the pod's folder: %w", err)
	}
	h := &host{
		e: e, dir: dir, heap: heap, pods: map[string]*controller{},
		warm: make(chan struct{}), dead: make(chan struct{}),
	}
	//nolint:noctx // a host lives as long as its pod; it is killed as a process group
	h.cmd = exec.Command(e.node, "--enable-source-maps", e.program, fmt.Sprintf(`{"heap":%d}`, heap))
	h.cmd.Dir = dir
	h.cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "LANG=C.UTF-8"}
	h.cmd.SysProcAttr = procAttr()
	p, theirs, err := plumb(h.cmd)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	h.pipes = p
	if err := e.admit(h); err != nil {
		return nil, errors.Join(err, closeAll(theirs), p.close(), os.RemoveAll(dir))
	}
	err = e.spawner.start(h.cmd)
	if closeErr := closeAll(theirs); closeErr != nil {
		e.log.Warn("a descriptor could not be closed", slog.Any("error", closeErr))
	}
	if err != nil {
		e.dismiss(h)
		close(h.dead)
		return nil, errors.Join(fmt.Errorf("start Node.js: %w", err), p.close(), os.RemoveAll(dir))
	}
	h.begin()
	return h, nil
}

func (h *host) begin() {
	h.gauge = openGauge(h.cmd.Process.Pid)
	h.writeMu.Lock()
	h.alive = true
	h.writeMu.Unlock()
	h.out.Go(func() { h.scan("stdout", readRemains(h.pipes.stdout)) })
	h.out.Go(func() { h.scan("stderr", readRemains(h.pipes.stderr)) })
	go h.read()
	h.mu.Lock()
	ending := h.ending
	h.mu.Unlock()
	if ending { // killed before it was there
		h.killGroup()
	}
}

func (e *Executor) admit(h *host) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("the executor is closed")
	}
	e.hosts[h] = true
	return nil
}

func (e *Executor) dismiss(h *host) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.hosts, h)
}

// awaitWarm waits until the host's worker is there to take a bundle.
func (h *host) awaitWarm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	select {
	case <-h.warm:
		return nil
	case <-h.dead:
		return errors.New("the Node.js host died at its start")
	case <-ctx.Done():
		return fmt.Errorf("start a Node.js host: %w", context.Cause(ctx))
	}
}

func (h *host) isDead() bool {
	select {
	case <-h.dead:
		return true
	default:
		return false
	}
}

// attach gives the host a pod, unless it ends already.
func (h *host) attach(c *controller, limit int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending || len(h.pods) >= limit {
		return false
	}
	h.pods[c.id], h.served = c, true
	select {
	case h.e.attached <- struct{}{}:
	default: // the watch is woken already
	}
	return true
}

// detach takes a pod off; a host without pods is killed, since it is never reused.
func (h *host) detach(c *controller) {
	h.mu.Lock()
	delete(h.pods, c.id)
	empty := len(h.pods) == 0
	h.ending = h.ending || empty
	h.mu.Unlock()
	if empty {
		h.killGroup()
	}
}

func (h *host) find(id string) *controller {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pods[id]
}

func (h *host) all() []*controller {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*controller, 0, len(h.pods))
	for _, c := range h.pods {
		out = append(out, c)
	}
	return out
}

func (h *host) send(o order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode an order: %w", err)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, len(body)+4), uint32(len(body)))
	frame = append(frame, body...)
	h.writeMu.Lock()
	defer h.writeMu.Unlock()
	err = h.pipes.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = h.pipes.control.Write(frame)
	}
	if err != nil {
		return fmt.Errorf("speak with the host: %w", err)
	}
	return nil
}

// kill ends the whole host, and says why for its pods. The first cause counts.
func (h *host) kill(reason, message string) {
	h.mu.Lock()
	if h.cause == nil {
		h.cause = &api.Termination{Reason: reason, Message: message}
	}
	h.ending = true
	h.mu.Unlock()
	h.killGroup()
}

// killGroup kills the process and all that it started, as long as it is not reaped:
// until then its id cannot be anybody else's.
func (h *host) killGroup() {
	h.writeMu.Lock()
	defer h.writeMu.Unlock()
	if !h.alive {
		return
	}
	pid := h.cmd.Process.Pid
	var below []int
	// Whoever was killed can start nothing more, and a dead one does not tell
	// whether it ever did: the first look, at the living process, counts.
	if !h.looked {
		h.looked, h.forked = true, forked(pid)
	}
	if h.forked {
		below = descendants(pid)
	}
	// These fail only when nothing is left to kill.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	for _, child := range below {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
}

// read takes the host's frames until its end of the control socket closes, which it
// does when the process dies.
func (h *host) read() {
	in := bufio.NewReaderSize(h.pipes.control, 64<<10)
	for {
		n, err := readFrame(in)
		if err != nil {
			h.blame(err)
			break
		}
		h.handle(n)
	}
	h.reap()
}

func readFrame(in *bufio.Reader) (notice, error) {
	var n notice
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return n, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return n, errors.New("the frame is too large")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return n, err
	}
	return n, json.Unmarshal(body, &n)
}

func (h *host) handle(n notice) {
	if n.Type == "warm" {
		select {
		case <-h.warm:
		default:
			h.base = h.gauge.bytes()
			close(h.warm)
		}
		return
	}
	c := h.find(n.ID)
	if c == nil {
		return
	}
	switch n.Type {
	case "ready":
		c.readyOnce.Do(func() { close(c.ready) })
	case "out":
		c.take(n)
	case "exit":
		c.outcome(n)
	case "pulse":
		c.delay.Store(max(n.DelayMS, 0))
		c.bytes.Store(max(n.Bytes, 0))
	case "last":
		h.suicide(c, n.Reason)
	}
}

// reap is the end of a host: nothing of it is left when dead closes.
func (h *host) reap() {
	h.killGroup()
	h.writeMu.Lock()
	h.alive = false
	h.writeMu.Unlock()
	err := h.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.e.log.Warn("a host could not be reaped", slog.Any("error", err))
	}
	if h.forked {
		killStrays(h.dir)
	}
	deadline := time.Now().Add(pipeGrace)
	_ = errors.Join(h.pipes.stdout.SetReadDeadline(deadline), h.pipes.stderr.SetReadDeadline(deadline)) // else they end by themselves
	h.out.Wait()
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	h.gauge.close()
	if err := errors.Join(h.pipes.close(), os.RemoveAll(h.dir)); err != nil {
		h.e.log.Warn("a host left something behind", slog.Any("error", err))
	}
	h.e.dismiss(h)
	close(h.dead)
	for _, c := range h.all() {
		c.finish(h.verdict(c))
	}
	h.e.pool.poke()
}

// scan takes what reaches the process's own stdout or stderr, past the workers: the
// runtime's last words, and packs that write to the descriptor.
func (h *host) scan(stream string, from io.Reader) {
	in := bufio.NewReaderSize(from, maxLine)
	for {
		line, isPrefix, err := in.ReadLine()
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(line), "\uFFFD")
		for isPrefix && err == nil { // the rest of a line that is too long
			_, isPrefix, err = in.ReadLine()
		}
		if stream == "stderr" && (strings.Contains(text, "out of memory") || strings.Contains(text, "Allocation failed")) {
			h.mu.Lock()
			h.fatal = true
			h.mu.Unlock()
		}
		for _, c := range h.all() {
			c.line(stream, time.Now().UTC(), text)
		}
	}
}
