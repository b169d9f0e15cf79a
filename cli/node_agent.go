package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/cli/local"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// agentFlags is everything that `node agent start` takes.
type agentFlags struct {
	url, name, stateDir, tokenFile string
	labels, taints, namespaces     []string
	cpu, memory                    string
	pods, warmPool                 int
	logBudget                      string
	logCheckpoints                 time.Duration
	leave                          bool
}

func (a *app) nodeAgentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "agent", Short: "Make this machine a node", Example: "  stark node agent start --name worker-1",
	}
	var f agentFlags
	start := &cobra.Command{
		Use: "start", Short: "Run pods on this machine until it is stopped",
		Long: `Run pods on this machine until it is stopped; then each pod gets its grace period.

The first registration needs a join token (STARK_JOIN_TOKEN, or --token-file) or
the session of a signed-in user. It is exchanged for a credential of the node's own,
which stays in the state folder; later starts need nothing else.`,
		Example: "  STARK_JOIN_TOKEN=stark_join_... stark node agent start --url http://server:8480 --name worker-1\n  stark node agent start -l zone=a --cpu 4 --memory 8Gi",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runAgent(cmd.Context(), f) },
	}
	f.flags(start)
	cmd.AddCommand(start)
	return cmd
}

func (f *agentFlags) flags(cmd *cobra.Command) {
	p := cmd.Flags()
	p.StringVarP(&f.url, "url", "u", "", "address of the server (default: that of --api-url)")
	p.StringVarP(&f.name, "name", "n", "", "name of the node (env STARK_NODE_NAME, default: the host's name)")
	p.StringVar(&f.stateDir, "state-dir", "", "folder for credential, bundles and runs (default: nodes/<name> in the user's folder)")
	p.StringVar(&f.tokenFile, "token-file", "", "file with the join token (else env STARK_JOIN_TOKEN)")
	p.StringArrayVarP(&f.labels, "label", "l", nil, "label key=value, unless the node has one of that key (repeatable)")
	p.StringArrayVar(&f.taints, "taint", nil, "taint key[=value]:Effect (repeatable)")
	p.StringSliceVar(&f.namespaces, "namespace", nil, "further namespace that a private node serves (repeatable)")
	p.StringVar(&f.cpu, "cpu", "", "CPU to offer, such as 2 or 1500m (default: what the machine has)")
	p.StringVar(&f.memory, "memory", "", "memory to offer, such as 4Gi (default: what the machine has)")
	p.IntVar(&f.pods, "pods", 0, "how many pods to take (default: what suits the machine)")
	p.IntVar(&f.warmPool, "warm-pool", nodejs.DefaultWarmPool, "hosts of Node.js that wait ready; 0 for none")
	p.StringVar(&f.logBudget, "log-memory", "64Mi", "memory for the newest output of all pods, at most 1Mi of each")
	p.DurationVar(&f.logCheckpoints, "log-checkpoint-interval", 10*time.Second, "how often the last 16 KiB of each pod's output are stored; 0 for never")
	p.BoolVar(&f.leave, "leave", false, "take the node out of the cluster when stopped")
}

func (a *app) runAgent(ctx context.Context, f agentFlags) error {
	if err := supported(); err != nil {
		return err
	}
	o, err := a.nodeOptions(f)
	if err != nil {
		return err
	}
	if o.Token, o.TokenSource, err = a.joinToken(ctx, f, o.StateDir); err != nil {
		return err
	}
	level, err := a.logLevel()
	if err != nil {
		return err
	}
	o.Logger = a.logger(level, "agent")
	err = runNode(ctx, o)
	for pause := time.Second; fullDisk(err) && ctx.Err() == nil; pause = min(2*pause, maxDiskPause) {
		o.Logger.ErrorContext(ctx, "the disk is full: the node starts when there is room",
			slog.String("stateDir", o.StateDir), slog.Duration("again", pause), slog.Any("error", err))
		select {
		case <-time.After(pause):
			err = runNode(ctx, o)
		case <-ctx.Done():
			return nil
		}
	}
	if refused, ok := errors.AsType[*agent.RefusedError](err); ok {
		return exitCodeError{exitNotAllowed, withHint(refused, "%s", refused.Help)}
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// maxDiskPause bounds how long an agent waits before it looks for room on its disk again.
const maxDiskPause = 30 * time.Second

// fullDisk reports whether an agent ended because it could not write down what it does.
func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// runNode works as a node until ctx ends.
func runNode(ctx context.Context, o local.NodeOptions) error {
	exec, err := local.NewRuntime(ctx, o)
	if err != nil {
		return err
	}
	node, err := local.NewNode(ctx, exec, o)
	if err != nil {
		return err
	}
	return node.Run(ctx)
}

// supported refuses what runs packs where nothing can, before anything is started.
func supported() error {
	if err := nodejs.Supported(); err != nil {
		return withHint(err, "use a Linux or macOS machine (on Windows: WSL); all other commands work here")
	}
	return nil
}

func (a *app) logLevel() (slog.Level, error) {
	var level slog.Level
	if v := a.getenv("STARK_LOG_LEVEL"); v != "" {
		if err := level.UnmarshalText([]byte(v)); err != nil {
			return level, fmt.Errorf("STARK_LOG_LEVEL %q: want debug, info, warn or error", v)
		}
	}
	return level, nil
}

func (a *app) nodeOptions(f agentFlags) (local.NodeOptions, error) {
	o := local.NodeOptions{
		URL: orDefault(strings.TrimRight(f.url, "/"), a.apiURL()), Name: orDefault(f.name, a.getenv("STARK_NODE_NAME")),
		StateDir: f.stateDir, WarmPool: f.warmPool, Namespaces: f.namespaces, Version: Version, Leave: f.leave,
	}
	var err error
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return o, usagef("--name is needed: this machine does not know its own: %w", err)
		}
		o.Name = hostName(host)
	}
	if o.StateDir == "" {
		o.StateDir = filepath.Join(string(a.home), "nodes", o.Name)
	}
	if o.Labels, err = parsePairs("--label", f.labels); err != nil {
		return o, err
	}
	if o.Taints, err = parseTaints(f.taints); err != nil {
		return o, err
	}
	if o.Allocatable, err = f.capacity(); err != nil {
		return o, err
	}
	r := api.RegisterNodeRequest{
		Name: o.Name, RuntimeType: api.RuntimeNode, Labels: o.Labels, Taints: o.Taints,
		Namespaces: o.Namespaces, Allocatable: &o.Allocatable,
	}
	if o.LogMiB, err = f.logs(); err != nil {
		return o, err
	}
	if o.LogCheckpoints = f.logCheckpoints; o.LogCheckpoints == 0 {
		o.LogCheckpoints = -1
	}
	if f.warmPool < 0 {
		return o, usagef("--warm-pool %d: want 0 or more", f.warmPool)
	}
	return o, r.Validate()
}

// hostName makes a node's name of a host's: the first part, behind a letter.
func hostName(host string) string {
	name, _, _ := strings.Cut(host, ".")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "node-" + name
	}
	return name
}

// capacity gives what the flags offer; what they leave out is 0 and is what the
// machine has.
func (f *agentFlags) capacity() (api.Capacity, error) {
	var c api.Capacity
	r, err := parseResources("--cpu", f.cpu, "--memory", f.memory)
	if err != nil {
		return c, err
	}
	if f.pods < 0 {
		return c, usagef("--pods %d: want 1 or more", f.pods)
	}
	c.Pods = f.pods
	if r != nil && r.CPU != nil {
		c.CPU = *r.CPU
	}
	if r != nil && r.Memory != nil {
		c.Memory = *r.Memory
	}
	return c, nil
}

// logs checks what is said of logs and gives their memory in MiB.
func (f *agentFlags) logs() (int64, error) {
	const least, most = 1, 16 << 10 // MiB
	r, err := parseResources("--cpu", "", "--log-memory", f.logBudget)
	if err != nil {
		return 0, err
	}
	if r == nil || r.Memory == nil || *r.Memory < least || *r.Memory > most {
		return 0, usagef("--log-memory %s: want 1Mi to 16Gi", f.logBudget)
	}
	if f.logCheckpoints != 0 && f.logCheckpoints < time.Second {
		return 0, usagef("--log-checkpoint-interval %s: want 1s or more, or 0 for never", f.logCheckpoints)
	}
	return int64(*r.Memory), nil
}

// maxToken bounds a token file, in bytes.
const maxToken = 8 << 10

// readToken reads a join token from a file.
func readToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the join token: %w", err)
	}
	if len(data) > maxToken {
		return "", fmt.Errorf("%s is no join token: it has %d bytes", file, len(data))
	}
	return strings.TrimSpace(string(data)), nil
}

// joinToken gives what the node registers with. A node that has its credential
// already needs none, so that missing a session is no fault then. The token of a
// session is asked for whenever it is needed: by then the first one may be old.
func (a *app) joinToken(ctx context.Context, f agentFlags, stateDir string) (string, func(context.Context) (string, error), error) {
	if f.tokenFile != "" {
		token, err := readToken(f.tokenFile)
		return token, nil, err
	}
	for _, name := range []string{"STARK_JOIN_TOKEN", "STARK_TOKEN"} {
		if v := a.getenv(name); v != "" {
			return v, nil, nil
		}
	}
	url := orDefault(strings.TrimRight(f.url, "/"), a.apiURL())
	s := &session{store: a.home.credentials(), url: url}
	_, err := s.Token(ctx)
	if err == nil {
		return "", s.Token, nil
	}
	if _, statErr := os.Stat(stateDir); statErr == nil && exitCode(err) == exitNotAllowed {
		return "", nil, nil
	}
	if fault.CodeOf(err) == fault.AuthenticationRequired {
		return "", nil, withHint(err, "set STARK_JOIN_TOKEN (`stark node token create` makes one), or sign in with `stark auth login`")
	}
	return "", nil, err
}
