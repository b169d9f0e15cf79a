package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func checkpoint(node, pod string, attempt int, texts ...string) postgres.NodeCheckpoint {
	c := postgres.NodeCheckpoint{NodeID: node}
	c.RunKey = api.RunKey{PodID: pod, Incarnation: 1, Attempt: attempt}
	for _, text := range texts {
		c.Lines = append(c.Lines, api.LogLine{Time: time.Unix(1000, 0).UTC(), Stream: "log", Line: text, Attempt: attempt})
	}
	return c
}

// The ends of the output of runs that live are kept, in one statement, for their own
// node alone; a run that has ended has its last output instead.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.user(t, api.RoleAdmin)
	node, other := w.node(t, owner, "n").Node.ID, w.node(t, owner, "m").Node.ID
	pack := w.pack(t, owner, "web", "1.0.0")
	pod, silent := w.pod(t, owner, pack.ID), w.pod(t, owner, pack.ID)
	w.bind(t, pod, node)
	report := func(attempt int, status api.RunStatus, ended *api.Termination) {
		t.Helper()
		r := wire.RunReport{RunKey: api.RunKey{PodID: pod.ID, Incarnation: 1, Attempt: attempt}, Status: status, Ready: status == api.RunRunning, Termination: ended, At: time.Now()}
		if _, refused, err := w.ReportRuns(t.Context(), node, []wire.RunReport{r}); err != nil || len(refused) > 0 {
			t.Fatalf("%v, refused %v", err, refused)
		}
	}
	stored := func(previous bool, want ...string) {
		t.Helper()
		var got []string
		for _, l := range must(w.StoredLogs(t.Context(), []string{pod.ID, silent.ID}, previous))(t)[pod.ID].Lines {
			got = append(got, l.Line)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	report(1, api.RunRunning, nil)
	stored(false)
	keep := func(all ...postgres.NodeCheckpoint) {
		t.Helper()
		if err := w.StoreCheckpoints(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	}
	keep(checkpoint(node, pod.ID, 1, "one"), checkpoint(other, pod.ID, 2, "not mine"), checkpoint(node, api.NewID(), 1, "nobody's"))
	stored(false, "one")
	keep(checkpoint(node, pod.ID, 1, "one"), checkpoint(node, pod.ID, 1, "one", "two"))
	keep(checkpoint(other, pod.ID, 1, "of a stranger"))
	stored(false, "one", "two")
	report(1, api.RunExited, &api.Termination{Reason: api.ReasonError, LastOutput: "last\nwords\n", FinishedAt: time.Unix(2000, 0), Attempt: 1})
	keep(checkpoint(node, pod.ID, 1, "too late"))
	stored(false, "last", "words")
	stored(true)
	report(2, api.RunRunning, nil)
	stored(false, "last", "words") // the newest has said nothing yet
	keep(checkpoint(node, pod.ID, 2, "again"))
	stored(false, "again")
	stored(true, "last", "words")
	w.lead(t, func(ctx context.Context) {
		if _, err := w.Compact(ctx); err != nil {
			t.Error(err)
		}
	})
	if n := value[int](t, w, "select count(*) from stark.log_checkpoints"); n != 1 {
		t.Errorf("%d checkpoints are left of one run that lives", n)
	}
	newest := must(w.StoredLogs(t.Context(), []string{pod.ID}, false))(t)[pod.ID]
	before := must(w.StoredLogs(t.Context(), []string{pod.ID}, true))(t)[pod.ID]
	if newest.Ended || newest.At.IsZero() || !before.Ended || !before.At.Equal(time.Unix(2000, 0)) {
		t.Errorf("got %+v and, before it, %+v", newest, before)
	}
}
