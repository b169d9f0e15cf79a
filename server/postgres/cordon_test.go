package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A decision for a node that was cordoned since comes too late, unless the pod tolerates
// the taint as which a cordon counts: the rule of api.Toleration, cell by cell.
func TestOnlyWhoToleratesACordonIsBoundToACordonedNode(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	w := b.world
	b.exec(t, "update public.nodes set unschedulable = true where id = $1", b.node.ID)
	taint := api.Taint{Key: "node.stark.io/unschedulable", Effect: api.NoSchedule}
	tolerations := []api.Toleration{{Key: "other", Operator: api.TolerationExists}}
	for _, key := range []string{"", taint.Key} {
		for _, effect := range []api.TaintEffect{"", api.NoSchedule, api.NoExecute, api.PreferNoSchedule} {
			tolerations = append(tolerations, api.Toleration{Key: key, Operator: api.TolerationExists, Effect: effect})
			for _, operator := range []api.TolerationOperator{"", api.TolerationEqual} {
				for _, value := range []string{"", "true"} {
					if key != "" {
						tolerations = append(tolerations, api.Toleration{Key: key, Operator: operator, Value: value, Effect: effect})
					}
				}
			}
		}
	}
	var ds []scheduler.Decision
	want := map[string]string{}
	for _, toleration := range tolerations {
		p := must(w.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Tolerations: []api.Toleration{toleration}}))(t)
		ds = append(ds, scheduler.Decision{PodID: p.ID, Incarnation: p.Incarnation, NodeID: b.node.ID})
		if !toleration.Tolerates(taint) {
			want[p.ID] = fmt.Sprintf("%+v", toleration)
		}
	}
	w.lead(t, func(ctx context.Context) {
		stale, err := w.Bind(ctx, ds)
		if err != nil {
			t.Error(err)
		}
		for _, d := range stale {
			if _, ok := want[d.PodID]; !ok {
				t.Errorf("pod %s tolerates the cordon and was sent back", d.PodID)
			}
			delete(want, d.PodID)
		}
		for _, toleration := range want {
			t.Errorf("bound to a cordoned node: who tolerates %s", toleration)
		}
	})
}
