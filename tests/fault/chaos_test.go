package fault

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/relaytest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// What `make chaos` sets; without it the case takes some twenty seconds.
var (
	long          = flag.Bool("long", false, "pull cables for as long as the real times of a cluster say: minutes")
	chaosDuration = flag.Duration("chaos.duration", 15*time.Second, "for how long faults are thrown")
	chaosSeed     = flag.Uint64("chaos.seed", 1, "which faults, in which order")
	chaosServers  = flag.Int("chaos.servers", 2, "servers behind the balancer")
	chaosAgents   = flag.Int("chaos.agents", 4, "nodes, a third of them behind a line that fails or mangles")
	chaosPods     = flag.Int("chaos.pods", 20, "pods that there are at most at a time")
)

// chaos throws faults at a cluster and changes pods in between.
type chaos struct {
	*cluster
	random *rand.Rand
	agents map[string]*harness.Process
	lines  map[string]*relaytest.Relay // of the nodes that have one of their own
	urls   map[string]string
	base   *relaytest.Relay // between the servers and Postgres
	store  *relaytest.Relay // between the nodes and the bundles
	disk   string           // of one node, "" for none
	live   []string         // pods that were asked for and not stopped
	counts map[string]int
}

// TestChaos throws faults of all kinds for a while, then lets the cluster come to rest
// and counts. Which faults come in which order follows from the seed; what they meet
// does not, so a failure tells its seed and shows again most of the time.
func TestChaos(t *testing.T) {
	t.Parallel()
	t.Logf("seed %d", *chaosSeed)
	c := newChaos(t)
	before := c.goroutines()
	faults := c.faults()
	names := slices.Sorted(maps.Keys(faults))
	for end := time.Now().Add(*chaosDuration); time.Now().Before(end); {
		c.work()
		name := names[c.random.IntN(len(names))]
		c.counts[name]++
		began := time.Now()
		faults[name]()
		if *chaosDuration > time.Minute {
			t.Logf("%s  %-20s %5.1fs  %d pods", time.Now().Format(time.TimeOnly), name, time.Since(began).Seconds(), len(c.live))
		}
		c.counted() // twice is twice, there and then
	}
	c.heal()
	c.all(c.live)
	t.Logf("faults: %v; %d starts", c.counts, len(c.counted()))
	c.delete(c.live)
	c.settled()
	c.leaksNothing(before)
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{
		random: rand.New(rand.NewPCG(*chaosSeed, 0)), //nolint:gosec // to be repeatable is the point
		agents: map[string]*harness.Process{}, lines: map[string]*relaytest.Relay{}, urls: map[string]string{}, counts: map[string]int{},
	}
	c.disk = smallDisk(t)
	through := func(relay **relaytest.Relay) func(address string) (string, error) {
		return func(address string) (string, error) {
			u, err := url.Parse(address)
			if err != nil {
				return "", err
			}
			r, err := relaytest.New(t.Context(), relaytest.To(u.Host))
			if err != nil {
				return "", err
			}
			t.Cleanup(func() { _ = r.Close() })
			*relay = r
			return r.URL(address)
		}
	}
	c.cluster = begin(t, harness.Options{ServerEnv: []string{brisk}, Servers: *chaosServers, Database: through(&c.base), Storage: through(&c.store)})
	c.giveUpAfter(4*time.Second, 5*time.Second)
	mangler, err := harness.NewMangler(t.Context(), c.URL, *chaosSeed)
	if err != nil {
		t.Fatal(err)
	}
	mangler.Mangle(true)
	t.Cleanup(mangler.Close)
	for i := range *chaosAgents {
		name := fmt.Sprintf("node-%02d", i+1)
		switch i % 3 {
		case 0:
			c.urls[name] = c.URL
		case 1:
			c.urls[name] = c.ownLine(name)
		default:
			c.urls[name] = mangler.URL
		}
		c.startAgent(name)
	}
	return c
}

// ownLine gives a node a line that can fail by itself.
func (c *chaos) ownLine(name string) string {
	c.t.Helper()
	line, err := relaytest.New(c.t.Context(), relaytest.To(strings.TrimPrefix(c.URL, "http://")))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = line.Close() })
	c.lines[name] = line
	return "http://" + line.Addr()
}

// pause lets up to so many seconds go by, in which work goes on.
func (c *chaos) pause(seconds float64) {
	if *chaosDuration < time.Minute {
		seconds = min(seconds, 3)
	}
	end := time.Now().Add(time.Duration(c.random.Float64() * seconds * float64(time.Second)))
	for time.Now().Before(end) {
		time.Sleep(min(time.Until(end), 200*time.Millisecond))
		c.work()
	}
}

func (c *chaos) server() *harness.Server { return c.Servers[c.random.IntN(len(c.Servers))] }

func (c *chaos) agent() string {
	names := slices.Sorted(maps.Keys(c.agents))
	return names[c.random.IntN(len(names))]
}

func (c *chaos) line() *relaytest.Relay {
	names := slices.Sorted(maps.Keys(c.lines))
	return c.lines[names[c.random.IntN(len(names))]]
}

func (c *chaos) freeze(p *harness.Process, seconds float64) {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	c.pause(seconds)
	if err := p.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chaos) killHost() {
	runs := slices.DeleteFunc(c.counted(), func(r run) bool { return !r.lives() })
	if len(runs) > 0 {
		_ = syscall.Kill(runs[c.random.IntN(len(runs))].pid, syscall.SIGKILL) // it may have ended by now
	}
}

// work changes something: a pod more, one less, or another version. What the fault of
// the moment refuses is fine, as long as the refusal says so.
func (c *chaos) work() {
	c.t.Helper()
	c.counts["requests"]++
	ctx := c.t.Context()
	i := 0
	if len(c.live) > 0 {
		i = c.random.IntN(len(c.live))
	}
	var err error
	switch n := c.random.IntN(10); {
	case len(c.live) < *chaosPods && n < 6:
		var p api.Pod
		p, err = c.Client.CreatePod(ctx, api.CreatePodRequest{
			PackName: "counted", PackVersion: "1.0.0", TerminationGracePeriodSeconds: new(2), RestartPolicy: api.RestartAlways,
		})
		if err == nil {
			c.live = append(c.live, p.ID)
		}
	case len(c.live) == 0:
	case n < 8:
		_, _, err = c.Client.StopPod(ctx, c.live[i])
		c.live = slices.Delete(c.live, i, i+1) // with an error it may have been stopped all the same
	default:
		_, err = c.Client.RollbackPod(ctx, c.live[i], api.RollbackRequest{TargetVersion: []string{"1.0.0", "2.0.0"}[c.random.IntN(2)]})
		if code := fault.CodeOf(err); code == fault.SameVersion || code == fault.InvalidState || code == fault.Conflict {
			err = nil // between two versions, or not placed yet
		}
	}
	if err != nil && !fault.Retryable(err) {
		c.t.Fatalf("a fault was answered by %v, which does not say that it may pass", err)
	}
}

// heal ends what is still broken.
func (c *chaos) heal() {
	c.t.Helper()
	c.base.Thaw()
	c.base.Delay(0)
	c.store.Refuse(false)
	c.fast()
	for _, l := range c.lines {
		l.Thaw()
	}
	c.eventually("the database", func() error {
		if _, err := c.Client.ListNodes(c.t.Context(), api.NodeQuery{}); err != nil {
			return err
		}
		if c.base.Armed() {
			return errors.New("an answer is still to be lost")
		}
		return nil
	})
}

func (c *chaos) startAgent(name string) {
	c.t.Helper()
	var p *harness.Process
	if err := c.persist(func() (err error) {
		p, err = c.AgentAt(c.t.Context(), c.urls[name], name, "--warm-pool", "0", "--pods", "400", "--cpu", "64", "--memory", "256Gi", "--state-dir", c.stateDir(name))
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	c.agents[name] = p
	c.eventually("the agent "+name, func() error {
		select {
		case <-p.Done():
			c.startAgent(name) // it has ended: what supervises agents starts them again
			return nil
		default:
		}
		return c.nodeIs(name, api.NodeOnline)
	})
}
