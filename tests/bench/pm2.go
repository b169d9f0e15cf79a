package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const pm2Version = "7.0.4"

// pm2Script is what a pack is to Stark: it says that it is there, and stays.
const pm2Script = `console.log("ready");
setInterval(() => {}, 1 << 30);
`

// pm2Driver does what is written to it by PM2's own API, without the 150 ms that each
// command of PM2 needs for its own process; it answers with a line.
const pm2Driver = `const pm2 = require("pm2");
pm2.connect((err) => {
  const answer = (err) => process.stdout.write((err ? "failed: " + (err.message || JSON.stringify(err)) : "ok") + "\n");
  answer(err);
  require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
    const [what, name, script] = JSON.parse(line);
    if (what === "start") pm2.start({ name, script }, answer);
    else pm2.stop(name, answer);
  }).on("close", () => { pm2.disconnect(); process.exit(0); });
});
`

// pm2 is one daemon with a home of its own.
type pm2 struct {
	bin, home string
	driver    *pm2Connection
}

// fetchPM2 installs it once into the cache.
func (b *bench) fetchPM2(ctx context.Context) (bin string, err error) {
	dir, err := b.peerCache("pm2-" + pm2Version)
	if err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "node_modules", "pm2", "bin", "pm2")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	fmt.Fprintf(b.errOut, "fetching pm2 %s from the npm registry into %s: 25 MB, some half a minute\n", pm2Version, dir)
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "pm2-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", fresh, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error", "pm2@"+pm2Version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install pm2: %w\n%s", err, out)
	}
	return bin, os.Rename(fresh, dir)
}

// peerCache is where a peer is kept once it was fetched.
func (b *bench) peerCache(name string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "stark", "peers")
	return filepath.Join(dir, name), os.MkdirAll(dir, 0o755)
}

// openPM2 starts a daemon by the first command that needs one.
func (b *bench) openPM2(ctx context.Context) (*pm2, error) {
	bin, err := b.fetchPM2(ctx)
	if err != nil {
		return nil, err
	}
	p := &pm2{bin: bin}
	if p.home, err = b.folder("pm2"); err != nil {
		return nil, err
	}
	// A folder without this file makes PM2 tell its makers of this machine.
	if err := os.WriteFile(p.file("touch"), nil, 0o600); err != nil {
		return p, err
	}
	if err := os.WriteFile(p.file("app.js"), []byte(pm2Script), 0o600); err != nil {
		return p, err
	}
	if err := os.WriteFile(p.file("driver.cjs"), []byte(pm2Driver), 0o600); err != nil {
		return p, err
	}
	if err := p.command(ctx, "ping"); err != nil {
		return p, err
	}
	p.driver, err = p.connect()
	syscall.Sync() // see cluster
	return p, err
}

func (p *pm2) file(name string) string { return filepath.Join(p.home, name) }

// env is as bare as that of Stark's agents.
func (p *pm2) env() []string {
	return []string{"PATH=" + filepath.Dir(p.bin) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + p.home, "PM2_HOME=" + p.home, "PM2_DISABLE_VERSION_CHECK=1"}
}

// command is what a user types.
func (p *pm2) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "node", append([]string{p.bin, "--silent"}, args...)...)
	cmd.Env, cmd.Dir = p.env(), p.home
	cmd.WaitDelay = time.Second // the daemon inherits what the first command has open
	if out, err := cmd.CombinedOutput(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("pm2 %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// close ends the daemon and all of its scripts, also after an interrupt.
func (p *pm2) close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if p.driver != nil {
		p.driver.close()
	}
	daemon, err := os.ReadFile(p.file("pm2.pid"))
	if err != nil {
		return nil // it has never started
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), waitLimit)
	defer stop()
	err = p.command(ctx, "kill")
	pid, wrong := strconv.Atoi(strings.TrimSpace(string(daemon)))
	if wrong != nil {
		return errors.Join(err, wrong)
	}
	return errors.Join(err, gone(ctx, pid))
}

// gone waits until a process has ended.
func gone(ctx context.Context, pid int) error {
	for syscall.Kill(pid, 0) == nil {
		if ctx.Err() != nil {
			return fmt.Errorf("process %d has not ended: %w", pid, ctx.Err())
		}
		pause(ctx, time.Millisecond)
	}
	return nil
}

// printed waits until a script has written its first line, which PM2 keeps in a file.
func (p *pm2) printed(ctx context.Context, name string) error {
	ctx, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	for {
		if s, err := os.Stat(p.file("logs/" + name + "-out.log")); err == nil && s.Size() > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("pm2: %s has printed nothing: %w", name, ctx.Err())
		}
		pause(ctx, time.Millisecond)
	}
}

// once starts and stops a script by a way to ask for it.
func (p *pm2) once(ctx context.Context, name string, ask func(ctx context.Context, what, name string) error) (started, stopped time.Duration, err error) {
	begin := time.Now()
	asked := make(chan error, 1)
	go func() { asked <- ask(ctx, "start", name) }()
	err = p.printed(ctx, name)
	started = time.Since(begin)
	if err = errors.Join(<-asked, err); err != nil {
		return 0, 0, err
	}
	text, err := os.ReadFile(p.file("pids/" + name + "-" + p.id(name) + ".pid"))
	if err != nil {
		return 0, 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, 0, err
	}
	begin = time.Now()
	go func() { asked <- ask(ctx, "stop", name) }()
	within, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	err = gone(within, pid)
	stopped = time.Since(begin)
	return started, stopped, errors.Join(<-asked, err)
}

// id is the number that PM2 has given a script.
func (p *pm2) id(name string) string {
	found, _ := filepath.Glob(p.file("pids/" + name + "-*.pid")) // the pattern is sound
	if len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), name+"-"), ".pid")
}

// pm2Connection is a client that stays connected to the daemon.
type pm2Connection struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func (p *pm2) connect() (*pm2Connection, error) {
	cmd := exec.Command("node", p.file("driver.cjs")) //nolint:noctx // close ends it
	cmd.Env, cmd.Dir = append(p.env(), "NODE_PATH="+filepath.Dir(filepath.Dir(filepath.Dir(p.bin)))), p.home
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &pm2Connection{process: cmd, in: in, out: bufio.NewReader(out)}
	return c, c.answer()
}

// ask starts or stops a script, and waits for PM2's answer.
func (c *pm2Connection) ask(ctx context.Context, what, name, script string) error {
	line, err := json.Marshal([]string{what, name, script})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.process.Process.Kill() })()
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return err
	}
	return c.answer()
}

func (c *pm2Connection) answer() error {
	line, err := c.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("PM2's API: %w", err)
	}
	if line = strings.TrimSpace(line); line != "ok" {
		return fmt.Errorf("PM2's API: %s", line)
	}
	return nil
}

func (c *pm2Connection) close() {
	_ = c.in.Close()
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
}
