package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
)

// run is one start as its pack has counted it.
type run struct {
	pod                  string
	incarnation, attempt int
	pid                  int
	born                 string // when its process was started, in ticks since the boot
}

// counted reads what the packs have left. A key that was started twice ends the test:
// nothing mends that.
func (c *cluster) counted() []run {
	c.t.Helper()
	if twice, err := os.ReadFile(filepath.Join(c.starts, "twice")); err == nil {
		c.t.Fatalf("started more than once:\n%s", twice)
	}
	entries, err := os.ReadDir(c.starts)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []run
	for _, e := range entries {
		part := strings.Split(e.Name(), ".")
		text, err := os.ReadFile(filepath.Join(c.starts, e.Name()))
		if len(part) != 3 || err != nil {
			c.t.Fatalf("a start left %q: %v", e.Name(), err)
		}
		r := run{pod: part[0]}
		r.incarnation, _ = strconv.Atoi(part[1])
		r.attempt, _ = strconv.Atoi(part[2])
		pid, stat, _ := strings.Cut(string(text), " ")
		r.pid, _ = strconv.Atoi(pid)
		r.born = born(stat)
		out = append(out, r)
	}
	return out
}

// lives reports whether the host of a run is alive. The number of a process is somebody
// else's before long, perhaps another host's: the time of its birth is not.
func (r run) lives() bool {
	if r.pid == 0 || r.born == "" {
		return false // killed between making its file and filling it
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.pid))
	return err == nil && born(string(stat)) == r.born
}

// born is when the process of a line of /proc/<pid>/stat was started, "" where it has
// ended and nobody has taken notice. The name stands in brackets and may hold anything.
func born(stat string) string {
	const state, start = 0, 19
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(fields) <= start || fields[state] == "Z" {
		return ""
	}
	return fields[start]
}

func (c *cluster) nothingLives() {
	c.t.Helper()
	err := within(context.WithoutCancel(c.t.Context()), patience, func() error {
		for _, r := range c.counted() {
			if r.lives() {
				return fmt.Errorf("pod %s incarnation %d attempt %d still runs as process %d", r.pod, r.incarnation, r.attempt, r.pid)
			}
		}
		return nil
	})
	if err != nil {
		c.t.Errorf("all is stopped, and yet: %v", err)
	}
}

// row is a pod as its table has it.
type row struct {
	ID          string
	Status      api.PodStatus
	Incarnation int
	Stopping    bool
	Rollout     bool
	Detail      string
}

func (c *cluster) rows() ([]row, error) {
	rows, err := c.db.Query(c.t.Context(), `select p.id::text as id, p.status::text as status, p.incarnation,
		p.stop_requested_at is not null as stopping, p.next_pack_id is not null as rollout,
		concat_ws(' ', p.pack_version, n.name, n.status, p.reason, p.status_message) as detail
		from public.pods p left join public.nodes n on n.id = p.node_id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[row])
}

// settled waits until the cluster is at rest and all that was promised holds, seen
// from outside: no key was started twice; what the tables say runs, runs, once, in the
// incarnation that they say, and nothing else does; quotas add up.
func (c *cluster) settled() {
	c.t.Helper()
	limit := 2 * patience
	if *chaosDuration > time.Minute {
		limit = 7 * time.Minute // what was killed over and over is in its back-off
	}
	if err := within(c.t.Context(), limit, c.rest); err != nil {
		c.t.Fatalf("the cluster does not come to rest: %v", err)
	}
}

// rest tells what keeps the cluster from being at rest.
func (c *cluster) rest() error {
	pods, err := c.rows()
	if err != nil {
		return err
	}
	live := map[string][]run{}
	for _, r := range c.counted() {
		if r.lives() {
			live[r.pod] = append(live[r.pod], r)
		}
	}
	var errs []error
	for _, p := range pods {
		errs = append(errs, p.matches(live[p.ID]))
		delete(live, p.ID)
	}
	for id, runs := range live {
		errs = append(errs, fmt.Errorf("pod %s has no row and runs as %+v", id, runs))
	}
	return errors.Join(append(errs, c.openRuns(), c.sums())...)
}

func (p row) matches(live []run) error {
	fail := func(what string) error {
		return fmt.Errorf("pod %s is %s in incarnation %d (%s) and %s: %+v", p.ID, p.Status, p.Incarnation, p.Detail, what, live)
	}
	switch {
	case p.Rollout:
		return fail("between two versions")
	case p.Status.Terminal() && len(live) > 0:
		return fail("has processes")
	case p.Status.Terminal():
		return nil
	case p.Status != api.PodRunning || p.Stopping:
		return fail("on its way")
	case len(live) != 1 || live[0].incarnation != p.Incarnation:
		return fail("must have one process, of that incarnation")
	}
	return nil
}

// openRuns compares the runs that the tables hold for open with the pods.
func (c *cluster) openRuns() error {
	var wrong []string
	err := c.db.QueryRow(c.t.Context(), `select coalesce(array_agg(format('%s.%s.%s is %s', r.pod_id, r.incarnation, r.attempt, r.status)), '{}')
		from public.pod_runs r join public.pods p on p.id = r.pod_id
		where r.status not in ('exited', 'lost') and (p.status <> 'running' or r.incarnation <> p.incarnation or r.status <> 'running')`).Scan(&wrong)
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("runs are open that should not be: %s", strings.Join(wrong, ", "))
	}
	return err
}

// sums compares what namespaces have counted with what their pods ask for.
func (c *cluster) sums() error {
	var wrong []string
	err := c.db.QueryRow(c.t.Context(), `select coalesce(array_agg(n.name || ' counts ' || n.resource_usage::text || ' and its pods ask for ' || s.sum::text), '{}')
		from public.namespaces n, lateral (select jsonb_build_object('pods', count(p.id),
			'cpu', coalesce(sum((p.resource_requests ->> 'cpu')::bigint), 0), 'memory', coalesce(sum((p.resource_requests ->> 'memory')::bigint), 0),
			'storage', coalesce(sum((p.resource_requests ->> 'storage')::bigint), 0)) as sum
			from public.pods p where p.namespace = n.name and p.status not in ('succeeded', 'stopped', 'failed', 'evicted')) s
		where n.resource_usage <> s.sum`).Scan(&wrong)
	if err == nil && len(wrong) > 0 {
		err = errors.New(strings.Join(wrong, ", "))
	}
	return err
}

// wereStarted checks that each pod was started so many times, by its own count.
func (c *cluster) wereStarted(times int, ids ...string) {
	c.t.Helper()
	got := map[string]int{}
	for _, r := range c.counted() {
		got[r.pod]++
	}
	for _, id := range ids {
		if got[id] != times {
			c.t.Errorf("pod %s was started %d times, want %d", id, got[id], times)
		}
	}
}

// all waits until every pod runs, and the cluster is at rest.
func (c *cluster) all(ids []string) {
	c.t.Helper()
	c.settled()
	rows, err := c.rows()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, id := range ids {
		i := slices.IndexFunc(rows, func(p row) bool { return p.ID == id })
		if i < 0 {
			c.t.Errorf("pod %s is lost", id)
		} else if rows[i].Status != api.PodRunning {
			c.t.Errorf("pod %s is %s: %s", id, rows[i].Status, rows[i].Detail)
		}
	}
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

// goroutines counts those of every server that runs.
func (c *cluster) goroutines() []int {
	c.t.Helper()
	var out []int
	for _, s := range c.Servers {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, s.URL+"/metrics", nil)
		if err != nil {
			c.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.t.Fatal(err)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		m := goroutines.FindSubmatch(body)
		if err != nil || m == nil {
			c.t.Fatalf("the figures of %s: %v", s.URL, err)
		}
		n, _ := strconv.Atoi(string(m[1]))
		out = append(out, n)
	}
	return out
}

// leaksNothing checks that what the servers run does not grow with the faults: before
// is what ran at rest. Connections come and go, and a few goroutines with each.
func (c *cluster) leaksNothing(before []int) {
	c.t.Helper()
	const slack = 40
	sum := func(list []int) (n int) {
		for _, v := range list {
			n += v
		}
		return n
	}
	c.eventually("the servers to run no more than before", func() error {
		if now := c.goroutines(); sum(now) > sum(before)+slack {
			return fmt.Errorf("%v goroutines, and %v before", now, before)
		}
		return nil
	})
}

func TestBorn(t *testing.T) {
	t.Parallel()
	const fields = " 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 11 0 %d 1 1"
	for stat, want := range map[string]string{
		"42 (node) S" + fmt.Sprintf(fields, 987):         "987",
		"42 (a) Z (b) node) R" + fmt.Sprintf(fields, 12): "12",
		"42 (node) Z" + fmt.Sprintf(fields, 987):         "",
		"42 (no":                                         "",
		"":                                               "",
	} {
		if got := born(stat); got != want {
			t.Errorf("%q was born at %q, want %q", stat, got, want)
		}
	}
}
