package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit     = 60 * time.Second // crash recovery included
	fastLimit      = 15 * time.Second
	immediateLimit = 5 * time.Second
	logLimit       = 8 << 20 // the log starts anew beyond this
)

// spec is all that one start of the server needs.
type spec struct {
	bins     binaries
	data     string
	sockets  string
	log      string
	who      owner
	port     int
	exact    bool
	durable  bool
	settings map[string]string
}

// process is a postmaster that we started. done is closed after it was waited for.
type process struct {
	pid  int
	done chan struct{}
}

// run starts the server and waits until it answers. A port that is taken between our look and the server's
// bind is replaced, unless it has to be exact.
func run(ctx context.Context, s spec) (*process, int, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for attempt := 0; ; attempt++ {
		port, err := freePort(ctx, s.port, s.exact)
		if err != nil {
			return nil, 0, err
		}
		p, err := s.exec(port)
		if err != nil {
			return nil, 0, err
		}
		if err = p.ready(ctx, s, port); err == nil {
			return p, port, nil
		}
		p.stop(ctx)
		said := tail(s.log)
		switch {
		case ctx.Err() != nil:
		case strings.Contains(said, "could not create any TCP/IP sockets") && !s.exact && attempt < 5:
			continue
		case strings.Contains(said, "pre-existing shared memory block") && attempt < 50:
			// Backends of a killed server need a moment to notice that it is gone.
			if pause(ctx, 100*time.Millisecond) == nil {
				continue
			}
		}
		return nil, 0, fmt.Errorf("%w; the server says: %s", err, said)
	}
}

// exec starts the postmaster. The goroutine keeps its thread for the life of the child, because the kernel
// takes the end of the thread that made the child for the death of the parent.
func (s spec) exec(port int) (*process, error) {
	logFile, err := openLog(s.log)
	if err != nil {
		return nil, err
	}
	//nolint:noctx // the server outlives the context of its start; stop ends it
	cmd := exec.Command(filepath.Join(s.bins.dir, "postgres"), s.args(port)...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = attributes(s.who)
	started := make(chan error)
	p := &process{done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = logFile.Close()
		if err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // the exit code says nothing that the log does not say better
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

func (s spec) args(port int) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": s.sockets,
		"unix_socket_permissions": "0700",
		"max_connections":         "200",
		"search_path":             `"$user", public, extensions`,
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"jit":                     "off",
		"log_min_messages":        "warning",
		"shared_buffers":          "128MB",
	}
	if !s.durable {
		// Commits still reach the kernel one by one, so that a killed server loses nothing.
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, s.settings)
	args := []string{"-D", s.data}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// environment is minimal: PG* variables of the user would change the server's defaults.
func environment() []string {
	return []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}

// ready waits until the server answers a query.
func (p *process) ready(ctx context.Context, s spec, port int) error {
	for {
		conn, err := superuserConn(ctx, s.sockets, port)
		if err == nil {
			_, err = conn.Exec(ctx, "select 1")
			if closeErr := conn.Close(ctx); err == nil && closeErr == nil {
				return nil
			}
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-p.done:
			timer.Stop()
			return errors.New("the server ended while starting")
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for the server: %w", errors.Join(ctx.Err(), err))
		case <-timer.C:
		}
	}
}

// stop returns when the process is gone: asked first, then told, then killed. The end of ctx shortens the
// first step.
func (p *process) stop(ctx context.Context) {
	steps := []struct {
		sig   syscall.Signal
		limit time.Duration
	}{{stopFast, fastLimit}, {stopImmediate, immediateLimit}}
	patience := ctx.Done()
	for _, step := range steps {
		select {
		case <-p.done:
			return
		default:
		}
		_ = signal(p.pid, step.sig) // it may just have ended
		timer := time.NewTimer(step.limit)
		select {
		case <-p.done:
			timer.Stop()
			return
		case <-patience:
			patience = nil
		case <-timer.C:
		}
		timer.Stop()
	}
	_ = signal(p.pid, syscall.SIGKILL)
	<-p.done
}

// clearStale ends a server that a killed process left running on data, and removes the pid file of one
// that is gone. The state folder is locked by us, so nobody else can rightly use the data.
func clearStale(ctx context.Context, data string) error {
	path := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 || !worksIn(ctx, pid, data) {
		// The number may belong to a stranger by now, which would keep Postgres from starting.
		return removeFile(path)
	}
	for _, sig := range []syscall.Signal{stopFast, stopImmediate, syscall.SIGKILL} {
		_ = signal(pid, sig)
		for range 500 {
			if !alive(pid) || !worksIn(ctx, pid, data) {
				return removeFile(path)
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return fmt.Errorf("wait for the old server: %w", err)
			}
		}
	}
	return fmt.Errorf("process %d still runs on %s", pid, data)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the stale pid file: %w", err)
	}
	return nil
}

// freePort returns the wished port when it is free, another one otherwise.
func freePort(ctx context.Context, wished int, exact bool) (int, error) {
	var config net.ListenConfig
	ports := []int{wished}
	if !exact && wished != 0 {
		ports = append(ports, 0)
	}
	var errs []error
	for _, port := range ports {
		listener, err := config.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		addr, ok := listener.Addr().(*net.TCPAddr)
		if err := listener.Close(); err != nil {
			return 0, fmt.Errorf("look for a free port: %w", err)
		}
		if ok {
			return addr.Port, nil
		}
	}
	return 0, fmt.Errorf("look for a free port: %w", errors.Join(errs...))
}

func openLog(path string) (*os.File, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > logLimit {
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	return file, nil
}

// tail is the end of the log, on one line.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > 2000 {
		if _, err := file.Seek(-2000, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(io.LimitReader(file, 2000))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), " | ")
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
