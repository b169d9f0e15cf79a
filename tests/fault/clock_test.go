package fault

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

// slack is what times may be off by on a busy machine; the clocks of the servers are off by
// twice as much.
const slack = 5 * time.Minute

// failing ends at once, as often as it is started.
const failing = `exports.default = async () => { throw new Error("as it always does"); };`

// Two servers whose clocks are wrong by ten minutes, each its own way, do everything by
// the database's: whichever leads, its lease stays its own, no node is found silent that
// is not, one that is loses its pods once, and tokens, back-offs and deadlines take the
// time that they take.
func TestClocksOfServersAreWrong(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("a clock can be set wrong on linux/amd64 only")
	}
	binary, err := harness.BuildSkewed(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := bare(t, 1, brisk)
	c.giveUpAfter(busy, 3*time.Second)
	c.register("failing", "1.0.0", failing)
	wrong := map[string]*harness.Server{}
	for _, by := range []string{"10m", "-10m"} {
		s, err := c.AddServerOf(t.Context(), binary, "SKEWED_BY="+by)
		if err != nil {
			t.Fatal(err)
		}
		wrong[by] = s
	}
	right := c.Servers[0]
	c.stop(right)
	c.nodeAt(wrong["10m"].URL, "node-1")
	second := c.nodeAt(wrong["-10m"].URL, "node-2")
	c.pods(1) // for a watch of events to begin with
	for by, s := range wrong {
		c.leads(s)
		epoch := c.epoch()
		c.tellsTheTime(s)
		c.waitsAsLongAsItShould(s)
		if now := c.epoch(); now != epoch {
			t.Errorf("the lease of the server that is off by %s went from epoch %d to %d", by, epoch, now)
		}
	}
	c.calm()
	c.losesASilentNodeOnce("node-2", second)
}

// leads makes a server the leader, by stopping whoever is.
func (c *cluster) leads(wanted *harness.Server) {
	c.t.Helper()
	for s := c.leader(); s != wanted; s = c.leader() {
		c.stop(s)
		c.eventually("the server to lead", func() error {
			if all := c.Leaders(c.t.Context()); len(all) != 1 || all[0] != wanted {
				return fmt.Errorf("%d servers lead", len(all))
			}
			return nil
		})
		c.restart(s)
	}
}

// tellsTheTime checks what a server says of times, by the clock of the database.
func (c *cluster) tellsTheTime(s *harness.Server) {
	c.t.Helper()
	direct, err := client.New(client.Config{URL: s.URL, Token: client.StaticToken(c.Session.AccessToken)})
	if err != nil {
		c.t.Fatal(err)
	}
	near := func(what string, got, want time.Time) {
		c.t.Helper()
		if off := got.Sub(want); off.Abs() > slack {
			c.t.Errorf("%s is off by %s", what, off)
		}
	}
	token, err := direct.CreateJoinToken(c.t.Context(), api.CreateJoinTokenRequest{TTLSeconds: 300})
	if err != nil {
		c.t.Fatal(err)
	}
	near("the end of a join token", token.ExpiresAt, time.Now().Add(5*time.Minute))
	session, err := direct.Login(c.t.Context(), api.LoginRequest{Email: harness.AdminEmail, Password: harness.AdminPassword})
	if err != nil {
		c.t.Fatal(err)
	}
	near("the end of a session", session.ExpiresAt, time.Now().Add(time.Hour))
	c.hearsOfEvents(direct)
}

// hearsOfEvents checks that a watch of events tells of what happens after its first answer.
func (c *cluster) hearsOfEvents(direct *client.Client) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	asked := ""
	for e, err := range direct.WatchEvents(ctx, api.EventQuery{Kind: api.EventPod, Limit: 1}) {
		switch {
		case err != nil:
			c.t.Fatalf("a watch of events does not tell of pod %s: %v", asked, err)
		case e.ObjectID == asked:
			return
		case asked == "":
			asked = c.pods(1)[0]
		}
	}
}

// waitsAsLongAsItShould deploys what runs, what fails over and over, and what runs for
// too long, while a server leads.
func (c *cluster) waitsAsLongAsItShould(s *harness.Server) {
	c.t.Helper()
	ids := c.pods(2)
	loops := c.pods(1, func(r *api.CreatePodRequest) { r.PackName = "failing"; r.RestartPolicy = api.RestartAlways })[0]
	late := c.pods(1, func(r *api.CreatePodRequest) { r.ActiveDeadlineSeconds = new(2); r.RestartPolicy = api.RestartNever })[0]
	var first, third, started, stopped time.Time
	c.eventually("a third attempt", func() error {
		return c.db.QueryRow(c.t.Context(), `select a.created_at, b.created_at from public.pod_runs a join public.pod_runs b using (pod_id, incarnation)
			where a.pod_id = $1 and a.attempt = 1 and b.attempt = 3`, loops).Scan(&first, &third)
	})
	if took := third.Sub(first); took < time.Second || took > slack {
		c.t.Errorf("two back-offs took %s", took)
	}
	c.eventually("the deadline to be kept", func() error {
		return c.db.QueryRow(c.t.Context(), `select r.started_at, p.stopped_at from public.pods p join public.pod_runs r on r.pod_id = p.id
			where p.id = $1 and p.status = 'failed' and p.last_termination ->> 'reason' = $2 and p.stopped_at is not null`, late, api.ReasonDeadlineExceeded).Scan(&started, &stopped)
	})
	if took := stopped.Sub(started); took < time.Second || took > slack {
		c.t.Errorf("a deadline of 2 s was kept after %s at %s", took, s.URL)
	}
	c.delete([]string{loops})
	c.all(ids)
	c.wereStarted(1, ids...)
}

// calm checks that nobody has been taken for silent.
func (c *cluster) calm() {
	c.t.Helper()
	var n int
	err := c.db.QueryRow(c.t.Context(), "select count(*) from stark.node_history where new_status = 'unhealthy'").Scan(&n)
	if err != nil || n > 0 {
		c.t.Errorf("nodes were taken for silent %d times (%v)", n, err)
	}
}

// losesASilentNodeOnce freezes a node for longer than nodes may be silent.
func (c *cluster) losesASilentNodeOnce(name string, agent *harness.Process) {
	c.t.Helper()
	ids := c.podsOn(name)
	if len(ids) == 0 {
		c.t.Fatalf("no pod is on %s", name)
	}
	if err := agent.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	began := time.Now()
	c.eventually("the pods to be elsewhere", func() error {
		if left := c.podsOn(name); len(left) > 0 {
			return fmt.Errorf("%d are still there", len(left))
		}
		return nil
	})
	if took := time.Since(began); took < 5*time.Second {
		c.t.Errorf("the node was given up after %s", took)
	}
	if err := agent.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
	c.all(ids)
	c.once(api.ReasonNodeLost, ids)
}

// podsOn are the pods that a node is to run.
func (c *cluster) podsOn(name string) []string {
	c.t.Helper()
	rows, err := c.db.Query(c.t.Context(), `select p.id::text from public.pods p join public.nodes n on n.id = p.node_id
		where n.name = $1 and p.status in ('scheduled', 'starting', 'running', 'unknown')`, name)
	if err != nil {
		c.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		c.t.Fatal(err)
	}
	return ids
}
