package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

func events(t *testing.T, b *bound, who string, q api.EventQuery) []api.Event {
	t.Helper()
	if err := q.Validate(time.Now()); err != nil {
		t.Fatal(err)
	}
	id := b.owner
	if who != "" {
		id = b.user(t, api.Role(who))
	}
	return must(b.Events(t.Context(), id, q))(t)
}

func TestEventsOfPodsAndNodes(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	name := must(b.GetNode(t.Context(), b.owner, b.node.ID))(t).Name
	b.exec(t, "update public.nodes set status = 'suspect' where id = $1", b.node.ID)
	b.exec(t, "update public.nodes set unschedulable = true where id = $1", b.node.ID)
	err := b.StoreHealth(t.Context(), []postgres.NodeHealth{{NodeID: b.node.ID, Session: name, Conditions: []api.NodeCondition{
		{Type: api.ConditionDiskPressure, Status: true, Reason: "DiskNearlyFull", Message: "4 % free"}, {Type: "Hidden"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events(t, b, "", api.EventQuery{}) {
		got = append(got, string(e.Kind)+" "+e.Action+" "+e.Reason+" "+string(e.Type))
	}
	for _, want := range []string{
		"node registered  Normal", "pod created  Normal", "pod scheduled  Normal", "node status ConnectionLost Warning",
		"node cordoned  Normal", "node condition DiskNearlyFull Warning",
	} {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != want })); n != 1 {
			t.Errorf("%q is there %d times in %q", want, n, got)
		}
	}
	for q, want := range map[api.EventQuery]func(api.Event) bool{
		{Kind: api.EventPod}:              func(e api.Event) bool { return e.Kind == api.EventPod },
		{ObjectID: b.node.ID}:             func(e api.Event) bool { return e.ObjectName == name },
		{Namespace: b.pod.Namespace}:      func(e api.Event) bool { return e.ObjectID == b.pod.ID },
		{Limit: 1}:                        func(e api.Event) bool { return e.Action == "condition" },
		{Limit: 1, Oldest: true}:          func(e api.Event) bool { return e.Action == "registered" },
		{Since: time.Now().Add(-1 << 62)}: func(e api.Event) bool { return e.ObjectID != "" },
	} {
		found := events(t, b, "", q)
		if len(found) == 0 || slices.ContainsFunc(found, func(e api.Event) bool { return !want(e) }) {
			t.Errorf("%+v: got %+v", q, found)
		}
	}
	if found := events(t, b, string(api.RoleViewer), api.EventQuery{Kind: api.EventPod}); len(found) != 0 {
		t.Errorf("a stranger sees %+v", found)
	}
	if found := events(t, b, string(api.RoleViewer), api.EventQuery{Kind: api.EventNode}); len(found) == 0 {
		t.Error("a viewer sees nothing of the nodes")
	}
}

func TestEventsTellWhyAPodWaits(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	p := b.world.pod(t, b.owner, b.pod.PackID)
	b.exec(t, "update public.pods set reason = 'Unschedulable', status_message = 'no node has 9 cores' where id = $1", p.ID)
	found := events(t, b, "", api.EventQuery{ObjectID: p.ID})
	if last := found[len(found)-1]; last.Action != api.ActionWaiting || last.Type != api.EventWarning || last.Message != "no node has 9 cores" {
		t.Errorf("got %+v", last)
	}
}
