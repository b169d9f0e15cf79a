package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/filestate"
	"github.com/stark-orchestrator/stark/agent/simulated"
	"github.com/stark-orchestrator/stark/shared/api"
)

// simulatedKey is the label and the taint of simulated nodes.
const simulatedKey = "stark.io/simulated"

// fleetReport is how often `sim agents` says how it goes.
const fleetReport = 5 * time.Second

// fleetFlags is everything that `sim agents` takes.
type fleetFlags struct {
	count, arrivals                               int
	server, prefix, tokenFile, stateDir           string
	heartbeat, churn, latency, logEvery, duration time.Duration
	cpu, memory                                   string
	pods                                          int
	sources, labels                               []string
	open, remove                                  bool
}

func (a *app) simAgentsCommand() *cobra.Command {
	var f fleetFlags
	cmd := &cobra.Command{
		Use: "agents", Short: "Connect simulated nodes to a server, to see what it bears",
		Long: `Connect simulated nodes to a server until Ctrl-C, or for --duration. Each is the real
agent with a connection, an identity and heartbeats of its own; only its pods are
simulated: they become running after --start-latency, stay until they are stopped, and
run nothing.

The nodes have the label and the taint ` + simulatedKey + `, so that only pods that
tolerate it come to them; --open leaves the taint out, for a cluster that exists for
the trial alone. At the end each node leaves the cluster. Its row stays, offline, and
the next run with the same --prefix takes it over; --remove deletes it. After a kill -9
that works once the nodes are unhealthy (half a minute), and at once with --state-dir,
where the agents keep their credentials and runs, as those of real nodes do: a folder on
a quick disk, which is flushed for every run.

Join tokens are made as the signed-in user, or one that has enough uses is given by
--token-file or STARK_JOIN_TOKEN. More than 1000 nodes need "stark cluster config set
maxTotalNodes=...", and every agent an open file here and one at the server (ulimit -n).

Exit codes: 0 all agents were online, 1 error, or some never were.`,
		Example: "  stark sim agents -n 1000\n  stark sim agents -n 200 --churn 1m --duration 10m -o json\n  stark sim agents -n 500 --open --start-latency 200ms --cpu 4 --memory 8Gi",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.simulateAgents(cmd.Context(), f) },
	}
	f.flags(cmd)
	return cmd
}

// otherFiles is how many open files are left for all but the agents.
const otherFiles = 50

// enoughFiles refuses more agents than a process may have files for.
func enoughFiles(agents, files int) error {
	if agents <= files-otherFiles {
		return nil
	}
	return usagef("-n %d: each agent has an open file, and this process may have %d: raise the limit by \"ulimit -n %d\", for the server too", agents, files, agents+otherFiles)
}

func (f *fleetFlags) flags(cmd *cobra.Command) {
	p := cmd.Flags()
	p.IntVarP(&f.count, "number", "n", 100, fmt.Sprintf("how many agents, 1 to %d", simulated.MaxAgents))
	p.StringVar(&f.server, "server", "", "address of the server that the agents connect to (default: that of --api-url)")
	p.StringVar(&f.tokenFile, "token-file", "", "file with a join token of enough uses (else env STARK_JOIN_TOKEN, else tokens are made)")
	p.StringVar(&f.stateDir, "state-dir", "", "folder for credentials and runs, to be the same nodes after a kill -9 (default: none is kept)")
	p.StringVar(&f.prefix, "prefix", "sim", "beginning of the nodes' names")
	p.DurationVar(&f.heartbeat, "heartbeat", 0, "time between heartbeats (default: as the server says)")
	p.DurationVar(&f.churn, "churn", 0, "mean time after which an agent loses its connection and comes back; 0 for never")
	p.DurationVar(&f.latency, "start-latency", 0, "how long a pod takes to run, on average")
	p.DurationVar(&f.logEvery, "log-every", 0, "time between two lines of a pod's output; 0 for none")
	p.DurationVar(&f.duration, "duration", 0, "end after so long (default: with Ctrl-C)")
	p.IntVar(&f.arrivals, "arrivals", 64, "how many agents are on their way in, or out, at the same time")
	p.StringVar(&f.cpu, "cpu", "", "CPU that each node offers (default: 1)")
	p.StringVar(&f.memory, "memory", "", "memory that each node offers (default: 1Gi)")
	p.IntVar(&f.pods, "pods", 0, "how many pods each node takes (default: 110)")
	p.StringArrayVarP(&f.labels, "label", "l", nil, "label key=value of the nodes (repeatable)")
	p.StringSliceVar(&f.sources, "source", nil, "local address to connect from, in turn; for more than 28000 agents on one machine (repeatable)")
	p.BoolVar(&f.open, "open", false, "leave the taint out: any pod may come")
	p.BoolVar(&f.remove, "remove", false, "delete the nodes at the end, as quickly as the server's rate limit lets")
}

// options checks what is said and gives what the fleet needs but for tokens.
func (f *fleetFlags) options(server string) (simulated.Options, error) {
	o := simulated.Options{
		URL: server, Prefix: f.prefix, Count: f.count, Arrivals: f.arrivals, Heartbeat: f.heartbeat, Churn: f.churn,
		StartLatency: f.latency, LogEvery: f.logEvery, Version: Version,
	}
	switch {
	case f.count < 1 || f.count > simulated.MaxAgents:
		return o, usagef("-n %d: want 1 to %d", f.count, simulated.MaxAgents)
	case f.arrivals < 1:
		return o, usagef("--arrivals %d: want 1 or more", f.arrivals)
	case f.heartbeat < 0 || f.heartbeat > 0 && f.heartbeat < 100*time.Millisecond:
		return o, usagef("--heartbeat %s: want 100ms or more", f.heartbeat)
	case min(f.churn, f.latency, f.logEvery, f.duration) < 0:
		return o, usagef("--churn, --start-latency, --log-every and --duration cannot be negative")
	case f.pods < 0:
		return o, usagef("--pods %d: want 1 or more", f.pods)
	}
	if err := enoughFiles(f.count, mostOpenFiles()); err != nil {
		return o, err
	}
	for _, text := range f.sources {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return o, usagef("--source %q: want an IP address of this machine", text)
		}
		o.Sources = append(o.Sources, addr)
	}
	var err error
	if o.Labels, err = parsePairs("--label", f.labels); err != nil {
		return o, err
	}
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[simulatedKey] = "true"
	if !f.open {
		o.Taints = []api.Taint{{Key: simulatedKey, Value: "true", Effect: api.NoSchedule}}
	}
	if o.Allocatable, err = f.capacity(); err != nil {
		return o, err
	}
	r := api.RegisterNodeRequest{Name: fmt.Sprintf("%s-%d", f.prefix, f.count), RuntimeType: api.RuntimeNode, Labels: o.Labels, Taints: o.Taints, Allocatable: o.Allocatable}
	return o, r.Validate()
}

// capacity is what a simulated node offers: what nothing is said of is what the server
// takes for a node that does not say.
func (f *fleetFlags) capacity() (*api.Capacity, error) {
	c := api.Capacity{CPU: 1000, Memory: 1024, Storage: 10240, Pods: 110}
	r, err := parseResources("--cpu", f.cpu, "--memory", f.memory)
	if err != nil {
		return nil, err
	}
	if r != nil && r.CPU != nil {
		c.CPU = *r.CPU
	}
	if r != nil && r.Memory != nil {
		c.Memory = *r.Memory
	}
	if f.pods > 0 {
		c.Pods = f.pods
	}
	return &c, nil
}

func (a *app) simulateAgents(ctx context.Context, f fleetFlags) error {
	server := orDefault(strings.TrimRight(f.server, "/"), a.apiURL())
	o, err := f.options(server)
	if err != nil {
		return err
	}
	if f.stateDir != "" {
		state, err := filestate.Open(f.stateDir)
		if err != nil {
			return err
		}
		defer state.Close()
		o.State = func(name string) (agent.State, error) { return state.Within(name) }
	}
	tokens, err := a.fleetTokens(ctx, f)
	if err != nil {
		return err
	}
	o.Token = tokens.next
	fleet, err := simulated.New(o)
	if err != nil {
		return err
	}
	begun := time.Now()
	err = a.runFleet(ctx, fleet, f.duration)
	// The fleet has ended, by Ctrl-C in most cases; what is left to do has its own time.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(fleetError(err), tokens.revoke(after))
	s := fleetSummary{Stats: fleet.Stats(), DurationMS: time.Since(begun).Milliseconds()}
	if f.remove {
		var gone error
		s.Removed, gone = tokens.remove(context.WithoutCancel(ctx), fleet.NodeIDs())
		err = errors.Join(err, gone)
	}
	view := view[fleetSummary]{kind: "sim", id: func(fleetSummary) string { return "agents" }}
	if printErr := printOne(a, view, s, func(w io.Writer) { describeFleet(w, s) }); err == nil {
		err = printErr
	}
	if err == nil && s.Registered < s.Agents {
		err = fmt.Errorf("%d of %s never came online", s.Agents-s.Registered, plural(s.Agents, "agent"))
	}
	return err
}

// fleetError explains why no agent was let in.
func fleetError(err error) error {
	if refused, ok := errors.AsType[*agent.RefusedError](err); ok {
		return exitCodeError{exitNotAllowed, withHint(refused, "%s", refused.Help)}
	}
	return err
}

// runFleet runs a fleet and says from time to time how it goes.
func (a *app) runFleet(ctx context.Context, fleet *simulated.Fleet, duration time.Duration) error {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	ended := make(chan error, 1)
	go func() { ended <- fleet.Run(ctx) }()
	ticker := time.NewTicker(fleetReport)
	defer ticker.Stop()
	whole, leaving := fleet.Whole(), ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-leaving:
			leaving = nil
			fmt.Fprintln(a.stderr, "the nodes leave")
			continue
		case <-whole:
			whole = nil
		case <-ticker.C:
		}
		s := fleet.Stats()
		fmt.Fprintf(a.stderr, "%d of %d online, %d reconnects, %d pods running, %d frames in, %d out, %d errors\n",
			s.Online, s.Agents, s.Reconnects, s.PodsRunning, s.FramesIn, s.FramesOut, s.Errors)
	}
}

// fleetSummary is the answer of `sim agents`.
type fleetSummary struct {
	simulated.Stats
	Removed    int   `json:"removed"` // nodes that were deleted at the end
	DurationMS int64 `json:"durationMs"`
}

func describeFleet(w io.Writer, s fleetSummary) {
	whole := "never"
	if s.AllOnlineMS > 0 {
		whole = "after " + (time.Duration(s.AllOnlineMS) * time.Millisecond).String()
	}
	fmt.Fprintf(w, "Agents:\t%d, of which %d were online (all together %s)\n", s.Agents, s.Registered, whole)
	fmt.Fprintf(w, "Refused:\t%d\n", s.Refused)
	fmt.Fprintf(w, "Reconnects:\t%d\n", s.Reconnects)
	fmt.Fprintf(w, "Pods started:\t%d\n", s.PodsStarted)
	fmt.Fprintf(w, "Frames:\t%d in (%s), %d out (%s)\n", s.FramesIn, size(s.BytesIn), s.FramesOut, size(s.BytesOut))
	fmt.Fprintf(w, "Errors:\t%d\n", s.Errors)
	for _, text := range slices.Sorted(maps.Keys(s.Failures)) {
		fmt.Fprintf(w, "  %dx\t%s\n", s.Failures[text], clean(text))
	}
	if s.Removed > 0 {
		fmt.Fprintf(w, "Removed:\t%s\n", plural(s.Removed, "node"))
	}
}
