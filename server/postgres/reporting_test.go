package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// reporters are nodes with a pod each.
type reporters struct {
	*world
	owner access.Identity
	nodes []api.Node
	pods  []api.Pod
}

func newReporters(t *testing.T, n int) *reporters {
	t.Helper()
	w := newWorld(t)
	r := &reporters{world: w, owner: w.user(t, api.RoleOperator, api.RoleDeveloper)}
	k := w.pack(t, w.user(t, api.RoleAdmin), "hello", "1.0.0")
	for i := range n {
		node := w.node(t, r.owner, fmt.Sprintf("n%d", i)).Node
		p := w.pod(t, r.owner, k.ID)
		w.bind(t, p, node.ID)
		r.nodes, r.pods = append(r.nodes, node), append(r.pods, p)
	}
	return r
}

// runs is what a node says of its pod.
func (r *reporters) runs(i int) wire.RunReport {
	return wire.RunReport{RunKey: api.RunKey{PodID: r.pods[i].ID, Incarnation: 1, Attempt: 1}, Status: api.RunRunning, Ready: true}
}

// report begins to store what nodes say, each on its own, and gives when all is told.
func (r *reporters) report(ctx context.Context, t *testing.T, told map[int][]wire.RunReport) (wait func() (accepted, refused map[int]int)) {
	t.Helper()
	accepted, refused := map[int]int{}, map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, reports := range told {
		wg.Go(func() {
			a, no, err := r.ReportRuns(ctx, r.nodes[i].ID, reports)
			if err != nil {
				t.Errorf("node %d: %v", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			accepted[i], refused[i] = len(a), len(no)
		})
	}
	return func() (map[int]int, map[int]int) { wg.Wait(); return accepted, refused }
}

// busy has as many reports as are stored at a time wait for the runs of their pods, so that
// others gather behind them.
func (r *reporters) busy(ctx context.Context, t *testing.T, first ...int) (tx pgx.Tx, wait func() (map[int]int, map[int]int)) {
	t.Helper()
	tx = r.holding(t, "lock table public.pod_runs in exclusive mode")
	told := map[int][]wire.RunReport{}
	for _, i := range first {
		told[i] = []wire.RunReport{r.runs(i)}
	}
	wait = r.report(ctx, t, told)
	r.awaitBlocked(ctx, t, tx, len(first))
	return tx, wait
}

// A crowd that starts on many nodes is stored in few transactions, and each node is answered
// for itself.
func TestReportsOfManyNodesShareATransaction(t *testing.T) {
	t.Parallel()
	r := newReporters(t, 12)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	tx, firstTold := r.busy(ctx, t, 0)
	told := map[int][]wire.RunReport{}
	for i := 2; i < 12; i++ {
		told[i] = []wire.RunReport{r.runs(i)}
	}
	told[3] = append(told[3], r.runs(4)) // which is another's
	told[5] = []wire.RunReport{{RunKey: api.RunKey{PodID: api.NewID(), Incarnation: 1, Attempt: 1}, Status: api.RunRunning}}
	second := r.report(ctx, t, map[int][]wire.RunReport{1: {r.runs(1)}})
	r.awaitBlocked(ctx, t, tx, 2)
	others := r.report(ctx, t, told)
	await(t, "the reports to wait for those before them", func() bool { return r.ReportsWaiting() == len(told) })
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	firstTold()
	second()
	accepted, refused := others()
	for i := range told {
		want := map[int][2]int{3: {1, 1}, 5: {0, 1}}[i]
		if want == [2]int{} {
			want = [2]int{1, 0}
		}
		if accepted[i] != want[0] || refused[i] != want[1] {
			t.Errorf("node %d: %d accepted and %d refused, want %v", i, accepted[i], refused[i], want)
		}
	}
	if n := value[int](t, r.world, "select count(*) from public.pods p where p.status = 'running'"); n != 11 {
		t.Errorf("%d pods run, want all but the one of node 5", n)
	}
	// The two before them, those that gathered, and those that take turns: nodes 3 and 4 tell
	// of one pod.
	if n := value[int](t, r.world, "select count(distinct p.xmin::text) from public.pods p where p.status = 'running'"); n > 4 {
		t.Errorf("%d transactions for 11 nodes", n)
	}
	if n := value[int](t, r.world, "select count(*) from public.pod_history h where h.action = 'ready'"); n != 11 {
		t.Errorf("%d entries of the history, want one for each", n)
	}
}

// A pod that somebody else holds keeps its own node waiting and nobody beside it.
func TestAHeldPodKeepsOnlyItsOwnNodesReportsWaiting(t *testing.T) {
	t.Parallel()
	r := newReporters(t, 6)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	tx := r.holding(t, "select from public.pods p where p.id = $1 for update", r.pods[0].ID)
	held := r.report(ctx, t, map[int][]wire.RunReport{0: {r.runs(0)}})
	r.awaitBlocked(ctx, t, tx, 1)
	told := map[int][]wire.RunReport{}
	for i := 1; i < 6; i++ {
		told[i] = []wire.RunReport{r.runs(i)}
	}
	if accepted, _ := r.report(ctx, t, told)(); len(accepted) != 5 || accepted[1] != 1 || accepted[5] != 1 {
		t.Errorf("accepted %v while another node's pod is held", accepted)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if accepted, _ := held(); accepted[0] != 1 {
		t.Errorf("accepted %v of the pod that was held", accepted)
	}
}

// A namespace that is busy keeps those waiting whose pods have ended in it, and nobody whose
// pods start. When it stays so they are refused alone.
func TestABusyNamespaceKeepsNobodysStartWaiting(t *testing.T) {
	t.Parallel()
	r := newReporters(t, 6)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	tx := r.holding(t, "select from public.namespaces where name = 'default' for update")
	told := map[int][]wire.RunReport{}
	for i := range 4 {
		ended := r.runs(i)
		ended.Status, ended.Ready, ended.Final = api.RunExited, false, true
		ended.Termination = &api.Termination{Reason: api.ReasonCompleted, ExitCode: new(0)}
		told[i] = []wire.RunReport{ended}
	}
	ends := r.report(ctx, t, told)
	r.awaitBlocked(ctx, t, tx, 1)
	await(t, "those that must wait for the namespace to do so behind the first", func() bool { return r.ReportsCounted() > 0 })
	if accepted, _ := r.report(ctx, t, map[int][]wire.RunReport{4: {r.runs(4)}, 5: {r.runs(5)}})(); accepted[4] != 1 || accepted[5] != 1 {
		t.Errorf("accepted %v while a namespace is busy", accepted)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if accepted, _ := ends(); len(accepted) != 4 || accepted[0]+accepted[1]+accepted[2]+accepted[3] != 4 {
		t.Errorf("accepted %v of those that have ended", accepted)
	}
	if n := value[int](t, r.world, "select (s.resource_usage ->> 'pods')::int from public.namespaces s where s.name = 'default'"); n != 2 {
		t.Errorf("%d pods are counted, want the two that run", n)
	}
}

// Pods that are gone, as those that somebody has purged meanwhile, are nobody's to wait for:
// what nodes tell of them does not take a transaction for each.
func TestReportsOfPodsThatAreGoneShareATransaction(t *testing.T) {
	t.Parallel()
	const many = 20
	r := newReporters(t, many)
	r.DB = open(t, postgres.Config{URL: r.at.URL, Tracer: postgrestest.Tracer{}})
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ctx, statements := postgrestest.Record(ctx)
	tx, firstTold := r.busy(ctx, t, 0)
	second := r.report(ctx, t, map[int][]wire.RunReport{1: {r.runs(1)}})
	r.awaitBlocked(ctx, t, tx, 2)
	told := map[int][]wire.RunReport{}
	for i := 2; i < many; i++ {
		gone := wire.RunReport{RunKey: api.RunKey{PodID: api.NewID(), Incarnation: 1, Attempt: 1}, Status: api.RunRunning}
		told[i] = []wire.RunReport{gone, r.runs(i)}
	}
	others := r.report(ctx, t, told)
	await(t, "the reports to wait for those before them", func() bool { return r.ReportsWaiting() == len(told) })
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	firstTold()
	second()
	accepted, refused := others()
	for i := range told {
		if accepted[i] != 1 || refused[i] != 1 {
			t.Errorf("node %d: %d accepted and %d refused, want one each", i, accepted[i], refused[i])
		}
	}
	// Begin, settings, the time, pods, runs, the changes of both, commit.
	if n := len(statements.Sent()); n > 8*(2+1) {
		t.Errorf("%d statements for %d nodes:\n%s", n, many, strings.Join(statements.Sent(), "\n"))
	}
}

// A pod that somebody is about to remove is not gone yet: its node waits for what becomes
// of it.
func TestAReportOfAPodThatIsBeingRemovedWaits(t *testing.T) {
	t.Parallel()
	r := newReporters(t, 1)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if accepted, _ := r.report(ctx, t, map[int][]wire.RunReport{0: {r.runs(0)}})(); accepted[0] != 1 {
		t.Fatal("its run is not known")
	}
	r.exec(t, "update public.pods set status = 'stopped'")
	for _, keeps := range []bool{true, false} {
		tx := r.holding(t, "delete from public.pods where id = $1", r.pods[0].ID)
		told := r.report(ctx, t, map[int][]wire.RunReport{0: {{
			RunKey: r.runs(0).RunKey, Status: api.RunExited, Final: true, Termination: &api.Termination{Reason: api.ReasonStopped},
		}}})
		r.awaitBlocked(ctx, t, tx, 1)
		end := tx.Commit
		if keeps {
			end = tx.Rollback
		}
		if err := end(ctx); err != nil {
			t.Fatal(err)
		}
		if accepted, refused := told(); accepted[0]+refused[0] != 1 || keeps != (accepted[0] == 1) {
			t.Errorf("kept %t: %d accepted, %d refused", keeps, accepted[0], refused[0])
		}
	}
}
