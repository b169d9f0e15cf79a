// Package native puts an agent together for a machine with Node.js: state in a
// folder, coder/websocket, and hosts of agent/nodejs. It owns nothing but the order
// in which they start and stop, for `stark node agent start`, `stark dev` and tests
// alike.
package native

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/api"
)

const closeTimeout = 10 * time.Second

// Config is what a native agent needs beside agent.Config, whose State, Dialer,
// Executor and, when nil, Allocatable are filled in here.
type Config struct {
	agent.Config
	StateDir string         // identity, bundles and folders of pods
	Node     nodejs.Options // its StateDir is set here; WarmPool is off unless it is given
}

// Agent is an agent with everything that belongs to it.
type Agent struct {
	*agent.Agent
	executor *nodejs.Executor
	state    *filestate.State
}

// New opens the state folder, finds Node.js and begins to fill the warm pool. Run or
// Close must follow.
func New(ctx context.Context, cfg Config) (*Agent, error) {
	if cfg.StateDir == "" {
		return nil, errors.New("native: StateDir must be given")
	}
	state, err := filestate.Open(filepath.Join(cfg.StateDir, "state"))
	if err != nil {
		return nil, err
	}
	cfg.Node.StateDir = cfg.StateDir
	if cfg.Node.Logger == nil {
		cfg.Node.Logger = cfg.Logger
	}
	executor, err := nodejs.New(ctx, cfg.Node)
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	cfg.State, cfg.Executor = state, executor
	if cfg.Conditions == nil {
		cfg.Conditions = executor.Conditions
	}
	if cfg.Dialer == nil {
		cfg.Dialer = wsconn.Dialer{UserAgent: "stark-agent/" + cfg.Version}
	}
	if cfg.Allocatable == nil {
		c := Capacity()
		cfg.Allocatable = &c
	}
	inner, err := agent.New(cfg.Config)
	a := &Agent{Agent: inner, executor: executor, state: state}
	if err != nil {
		return nil, errors.Join(err, a.Close(ctx))
	}
	return a, nil
}

// Run runs the agent until ctx ends, then closes everything.
func (a *Agent) Run(ctx context.Context) error {
	return errors.Join(a.Agent.Run(ctx), a.Close(ctx))
}

// Close ends every host and gives the state folder free. It is for an agent that was
// never run; Run does it by itself.
func (a *Agent) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := errors.Join(a.executor.Close(ctx), a.state.Close()); err != nil {
		return fmt.Errorf("close the agent: %w", err)
	}
	return nil
}

// Capacity is what this machine offers by default: all processors, four fifths of
// its memory, and as many pods as Kubernetes gives a node.
func Capacity() api.Capacity {
	return api.Capacity{
		CPU:     api.Millicores(1000 * runtime.NumCPU()),
		Memory:  max(totalMemory()*4/5, 256),
		Storage: 10 << 10,
		Pods:    110,
	}
}
