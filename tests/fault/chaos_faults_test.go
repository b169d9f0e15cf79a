package fault

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// faults are what may happen. Each leaves the cluster able to come to rest.
func (c *chaos) faults() map[string]func() {
	return map[string]func(){
		"kill a server":     func() { s := c.server(); s.Kill(); c.pause(2); c.restart(s) },
		"stop a server":     func() { s := c.server(); c.stop(s); c.pause(1); c.restart(s) },
		"kill all servers":  c.killServers,
		"rolling restart":   c.rollServers,
		"freeze a server":   func() { c.freeze(c.server().Process, 20) },
		"kill an agent":     func() { name := c.agent(); c.agents[name].Kill(); c.pause(3); c.startAgent(name) },
		"stop an agent":     c.stopAgent,
		"freeze an agent":   func() { c.freeze(c.agents[c.agent()], 12) },
		"cut all lines":     func() { c.Balancer.Relay().Cut() },
		"slow lines":        c.slowLines,
		"kill Postgres":     func() { _ = syscall.Kill(c.Stack.Postgres.PID(), syscall.SIGKILL); c.pause(1) },
		"cut Postgres":      func() { c.base.Cut() },
		"freeze Postgres":   func() { c.base.Freeze(); c.pause(6); c.base.Thaw() },
		"lose an answer":    func() { c.base.LoseAnswer() },
		"lose a question":   func() { c.base.LoseQuestion() },
		"slow Postgres":     func() { c.base.Delay(20 * time.Millisecond); c.pause(3); c.base.Delay(0) },
		"dead line":         func() { l := c.line(); l.Freeze(); c.pause(10); l.Thaw() },
		"no bundles":        c.noBundles,
		"a full disk":       c.fullDisk,
		"kill a pod's host": func() { c.killHost() },
		"nothing":           func() { c.pause(2) },
	}
}

func (c *chaos) killServers() {
	for _, s := range c.Servers {
		s.Kill()
	}
	c.pause(3)
	for _, s := range c.Servers {
		c.restart(s)
	}
}

func (c *chaos) rollServers() {
	for _, s := range c.Servers {
		c.stop(s)
		c.restart(s)
		c.pause(1)
	}
}

// stopAgent tells an agent to stop, which ends its pods, and starts it again.
func (c *chaos) stopAgent() {
	name := c.agent()
	if err := c.agents[name].Stop(patience); err != nil {
		c.t.Fatal(err)
	}
	c.pause(2)
	c.startAgent(name)
}

func (c *chaos) slowLines() {
	for _, l := range c.lines {
		l.Delay(200 * time.Millisecond)
	}
	c.Balancer.Relay().Delay(20 * time.Millisecond)
	c.pause(4)
	c.fast()
}

func (c *chaos) fast() {
	c.Balancer.Relay().Delay(0)
	for _, l := range c.lines {
		l.Delay(0)
	}
}

// noBundles takes the store of bundles away, and from one node those that it has.
func (c *chaos) noBundles() {
	files, err := filepath.Glob(filepath.Join(c.stateDir(c.agent()), "bundles", "*.cjs"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.t.Fatal(err)
		}
	}
	c.store.Refuse(true)
	c.store.Cut()
	c.pause(5)
	c.store.Refuse(false)
}

// fullDisk fills the only small one, if there is one.
func (c *chaos) fullDisk() {
	if c.disk == "" {
		return
	}
	filler := filepath.Join(c.disk, "filler")
	fill(c.t, filler)
	c.pause(5)
	if err := os.Remove(filler); err != nil {
		c.t.Fatal(err)
	}
}

// smallDisk makes a disk for one node, where this machine lets one be made. It is asked
// for before the cluster, so that it goes after it.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("stark-fault", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Logf("no disk will be full: %v", err)
		return ""
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// diskNode is the node that has the small disk.
const diskNode = "node-01"

func (c *chaos) stateDir(name string) string {
	if name == diskNode && c.disk != "" {
		return filepath.Join(c.disk, "state")
	}
	return filepath.Join(c.Dir, "agent-"+name)
}
