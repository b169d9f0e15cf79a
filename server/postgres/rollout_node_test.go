package postgres_test

import (
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A pod stays where it runs when its node no longer serves it; the code of another
// version is not handed to a node that would get no new pod.
func TestNoOtherVersionOnANodeThatNoLongerServesThePod(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	third := s.pack(t, s.dev, "app", "3.0.0")
	lender := s.user(t, api.RoleDeveloper)
	s.exec(t, `insert into public.namespace_members (namespace, user_id, role) values ('default', $1, 'developer')`, lender.UserID)
	lend := func(role string) {
		t.Helper()
		s.exec(t, `update public.namespace_members set role = 'developer'`)
		s.exec(t, `update public.nodes set shared = false, registered_by = $1, namespaces = '{default}'`, lender.UserID)
		if role == "" {
			s.exec(t, `delete from public.namespace_members`)
		} else {
			s.exec(t, `update public.namespace_members set role = $1::public.stark_role`, role)
		}
	}
	refused := func(what, version string) {
		t.Helper()
		_, err := s.RollbackPod(t.Context(), s.dev, s.pod.ID, api.RollbackRequest{TargetVersion: version})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.InvalidState || f.Details["node"] != "n1" {
			t.Errorf("%s: got %v", what, err)
		}
	}

	lend("developer")
	s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
	s.wanted("1 2.0.0 run, 2 1.0.0 run")
	lend("viewer")
	refused("a version after the one that is under way", third.Version)
	s.rollback(api.RollbackRequest{TargetVersion: "2.0.0"}) // the way back hands out nothing
	refused("the owner of the node is a viewer now", "1.0.0")
	lend("")
	s.wanted("1 2.0.0 run")
	if out := s.rollback(api.RollbackRequest{TargetVersion: "1.0.0", Now: true}); out.Pod.Status != api.PodPending || out.Pod.NodeID != nil {
		t.Errorf("at once: got %+v", out.Pod)
	}
}
