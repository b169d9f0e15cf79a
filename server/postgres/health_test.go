package postgres_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestStoreHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleOperator)
	a, b := w.node(t, ann, "a").Node, w.node(t, ann, "b").Node
	store := func(all ...postgres.NodeHealth) {
		t.Helper()
		if err := w.StoreHealth(ctx, all); err != nil {
			t.Fatal(err)
		}
	}
	conditions := func(id string) []api.NodeCondition { return must(w.GetNode(ctx, ann, id))(t).Conditions }
	disk := api.NodeCondition{Type: api.ConditionDiskPressure, Status: true, Reason: "DiskNearlyFull"}
	store(postgres.NodeHealth{NodeID: a.ID, Session: "a", Conditions: []api.NodeCondition{disk}},
		postgres.NodeHealth{NodeID: b.ID, Session: "old", Conditions: []api.NodeCondition{disk}}) // b has another session now
	first := conditions(a.ID)
	if len(first) != 1 || !first[0].Status || first[0].LastTransitionTime.IsZero() || len(conditions(b.ID)) != 0 {
		t.Fatalf("got %+v and %+v", first, conditions(b.ID))
	}
	version := must(w.GetNode(ctx, ann, a.ID))(t).ResourceVersion
	usage := &api.NodeUsage{CPU: new(api.Millicores(10)), Memory: new(api.Mebibytes(20)), Pods: []api.PodUsage{{PodID: api.NewID(), Incarnation: 1, CPU: new(api.Millicores(5))}}}
	store(postgres.NodeHealth{NodeID: a.ID, Session: "a", Conditions: []api.NodeCondition{disk}, Usage: usage})
	if now := must(w.GetNode(ctx, ann, a.ID))(t).ResourceVersion; now != version {
		t.Error("what is no news has changed the row")
	}
	disk.Message = "4 % free"
	store(postgres.NodeHealth{NodeID: a.ID, Session: "a", Conditions: []api.NodeCondition{{Type: "Hidden"}, disk}})
	now := conditions(a.ID)
	if len(now) != 2 || now[0].Message != "4 % free" || !now[0].LastTransitionTime.Equal(first[0].LastTransitionTime) {
		t.Errorf("got %+v, want the time of the first transition", now)
	}
	disk.Status = false
	store(postgres.NodeHealth{NodeID: a.ID, Session: "a", Conditions: []api.NodeCondition{disk}})
	if now = conditions(a.ID); len(now) != 1 || now[0].Status || !now[0].LastTransitionTime.After(first[0].LastTransitionTime) {
		t.Errorf("got %+v, want a new transition", now)
	}
	store(postgres.NodeHealth{NodeID: a.ID, Session: "a", Conditions: []api.NodeCondition{}})
	if now = conditions(a.ID); len(now) != 0 {
		t.Errorf("got %+v, want none", now)
	}
	if n := value[int](t, w, "select (usage ->> 'cpu')::int from stark.node_usage"); n != 10 {
		t.Errorf("the figures say %d", n)
	}
}
