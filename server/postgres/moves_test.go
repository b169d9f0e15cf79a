package postgres_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

// The tables of core/pod and those of the database say the same, cell by cell, over
// every status that either knows.
func TestTheTablesOfMovesAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pods := value[[]string](t, w, "select enum_range(null::public.pod_status)::text[]")
	for _, s := range api.PodStatuses {
		if !slices.Contains(pods, string(s)) {
			t.Errorf("the database does not know the status %s", s)
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			if from == to {
				continue
			}
			const can = "select stark.pod_can_move($1::text::public.pod_status, $2::text::public.pod_status, $3)"
			plain, raised := value[bool](t, w, can, from, to, false), value[bool](t, w, can, from, to, true)
			want := pod.CanMove(api.PodStatus(from), api.PodStatus(to))
			if raised != want {
				t.Errorf("pod %s -> %s: SQL says %t, Go %t", from, to, raised, want)
			}
			// Only a new incarnation begins anew.
			if plain != (want && to != string(api.PodPending)) {
				t.Errorf("pod %s -> %s in the same incarnation: SQL says %t", from, to, plain)
			}
		}
	}
	runs := value[[]string](t, w, "select enum_range(null::public.run_status)::text[]")
	for _, from := range runs {
		for _, to := range runs {
			got := value[bool](t, w, "select stark.run_can_move($1::text::public.run_status, $2::text::public.run_status)", from, to)
			if want := pod.RunCanMove(api.RunStatus(from), api.RunStatus(to)); got != want && from != to {
				t.Errorf("run %s -> %s: SQL says %t, Go %t", from, to, got, want)
			}
		}
	}
}

// The functions are not only there: rows obey them, whoever writes.
func TestMovesOutsideTheTablesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	move := func(to string) error {
		_, err := b.conn.Exec(t.Context(), "update public.pods set status = $2::text::public.pod_status where id = $1", b.pod.ID, to)
		return err
	}
	for _, step := range []struct {
		to      string
		refused bool
	}{{"pending", true}, {"running", false}, {"scheduled", true}, {"stopping", false}, {"running", true}, {"stopped", false}, {"failed", true}} {
		err := move(step.to)
		if pg, ok := errors.AsType[*pgconn.PgError](err); step.refused != (ok && pg.Code == "STINV") || !step.refused && err != nil {
			t.Errorf("to %s: %v", step.to, err)
		}
	}
}
