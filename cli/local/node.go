package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/agent/nodejs/native"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/api"
)

// NodeOptions configure a Node.js node of this machine.
type NodeOptions struct {
	URL         string // of the server
	Name        string
	Token       string                                    // join token or user's token; only needed for the first registration
	TokenSource func(ctx context.Context) (string, error) // in place of Token: of a session that is renewed
	StateDir    string
	NodePath    string // default: node on PATH
	WarmPool    int    // 0 switches it off
	Labels      map[string]string
	Taints      []api.Taint
	Namespaces  []string
	Allocatable api.Capacity // figures that are 0 are taken from this machine
	Version     string
	Leave       bool // take the node out of the cluster at the end
	Logger      *slog.Logger

	LogMiB         int64         // memory for the output of all pods; 0 for the agent's default
	LogCheckpoints time.Duration // between copies of the end of each pod's output to the server; 0 for the agent's default, never when negative
}

// Node is a Node.js node that runs in this process; its pods are processes of
// their own.
type Node struct {
	agent *agent.Agent
	exec  *nodejs.Executor
	state *filestate.State
}

// executorStop bounds how long the hosts may take to end.
const executorStop = 10 * time.Second

// NewRuntime finds Node.js and begins to fill the warm pool. It needs no server,
// so that `stark dev` does it while Postgres starts.
func NewRuntime(ctx context.Context, o NodeOptions) (*nodejs.Executor, error) {
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	return nodejs.New(ctx, nodejs.Options{
		NodePath: o.NodePath, StateDir: filepath.Join(o.StateDir, "runtime"), WarmPool: o.WarmPool, Logger: o.Logger,
	})
}

// NewNode makes a node on a runtime; Run starts it. The node owns the runtime
// from here on, also when NewNode fails.
func NewNode(ctx context.Context, exec *nodejs.Executor, o NodeOptions) (*Node, error) {
	state, err := filestate.Open(filepath.Join(o.StateDir, "state"))
	if err != nil {
		return nil, errors.Join(err, closeRuntime(ctx, exec))
	}
	a, err := agent.New(agent.Config{
		URL: o.URL, Name: o.Name, Token: o.Token, TokenSource: o.TokenSource, RuntimeType: api.RuntimeNode,
		Labels: o.Labels, Taints: o.Taints, Namespaces: o.Namespaces, Allocatable: new(capacity(o.Allocatable)),
		Version: o.Version, Leave: o.Leave,
		Executor: exec, State: state, Dialer: wsconn.Dialer{}, Logger: o.Logger, Conditions: exec.Conditions,
		LogBytes: o.LogMiB << 20, LogCheckpoints: o.LogCheckpoints,
	})
	if err != nil {
		return nil, errors.Join(err, closeRuntime(ctx, exec), state.Close())
	}
	return &Node{agent: a, exec: exec, state: state}, nil
}

// capacity offers what the machine has where nothing else was asked for.
func capacity(wished api.Capacity) api.Capacity {
	own := native.Capacity()
	return api.Capacity{
		CPU:     cmp.Or(wished.CPU, own.CPU),
		Memory:  cmp.Or(wished.Memory, own.Memory),
		Storage: cmp.Or(wished.Storage, own.Storage),
		Pods:    cmp.Or(wished.Pods, own.Pods),
	}
}

// Run works until ctx ends, then stops all pods with their grace periods.
func (n *Node) Run(ctx context.Context) error {
	err := n.agent.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, closeRuntime(ctx, n.exec), n.state.Close())
}

// Registered is closed when the server has accepted the node for the first time.
func (n *Node) Registered() <-chan struct{} { return n.agent.Registered() }

// ID gives the node's id once it is registered.
func (n *Node) ID() string { return n.agent.NodeID() }

func closeRuntime(ctx context.Context, exec *nodejs.Executor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), executorStop)
	defer cancel()
	return exec.Close(ctx)
}
