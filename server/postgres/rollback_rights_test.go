package postgres_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A version that its owner has made private is no longer there for the pods of others,
// also where nobody names it because it ran before.
func TestRollbackKeepsOutOfPrivatePacks(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		s := newStage(t)
		stranger := s.user(t, api.RoleDeveloper)
		s.exec(t, "update public.packs set visibility = 'public'")
		s.pod = s.world.pod(t, stranger, s.old.ID)
		s.bind(t, s.pod, s.node)
		s.report(1, api.RunRunning, nil)
		if _, err := s.RollbackPod(t.Context(), stranger, s.pod.ID, api.RollbackRequest{TargetVersion: "2.0.0"}); err != nil {
			t.Fatal(err)
		}
		s.report(2, api.RunRunning, nil)
		s.exec(t, "update public.packs set visibility = 'private' where id = $1", s.old.ID)
		_, err := s.RollbackPod(t.Context(), stranger, s.pod.ID, api.RollbackRequest{Now: now})
		wantCode(t, err, fault.VersionNotFound)
		if p := must(s.GetPod(t.Context(), stranger, s.pod.ID))(t); p.PackVersion != "2.0.0" || p.Rollout != nil {
			t.Errorf("the pod is %+v", p)
		}
	}
}

// The operator of a namespace takes back a version whose pack only its owner sees.
func TestRollbackByAnOperatorOfTheNamespace(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		s := newStage(t)
		owner, operator := s.user(t, api.RoleDeveloper), s.user(t, api.RoleDeveloper)
		one, two := s.pack(t, owner, "secret", "1.0.0"), s.pack(t, owner, "secret", "2.0.0")
		s.exec(t, "insert into public.namespaces (name) values ('team')")
		s.exec(t, "insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'developer'), ('team', $2, 'operator')", owner.UserID, operator.UserID)
		s.pod = must(s.CreatePod(t.Context(), owner, api.CreatePodRequest{PackID: one.ID, Namespace: "team"}))(t)
		s.bind(t, s.pod, s.node)
		s.report(1, api.RunRunning, nil)
		if _, err := s.RollbackPod(t.Context(), owner, s.pod.ID, api.RollbackRequest{TargetVersion: "2.0.0"}); err != nil {
			t.Fatal(err)
		}
		s.report(2, api.RunRunning, nil)
		out, err := s.RollbackPod(t.Context(), operator, s.pod.ID, api.RollbackRequest{Now: now})
		if err != nil || out.PackID != one.ID || out.NewVersion != "1.0.0" || out.PreviousVersion != two.Version {
			t.Errorf("now %v: got %+v, %v", now, out, err)
		}
		if !now {
			s.report(3, api.RunRunning, nil)
		}
		if p := must(s.GetPod(t.Context(), operator, s.pod.ID))(t); p.PackName != "secret" || p.PackVersion != "1.0.0" {
			t.Errorf("now %v: the pod is %+v", now, p)
		}
	}
}

// PostgREST and its clients embed a pod's pack only where one key alone leads there;
// the pack of the next version is kept all the same.
func TestOneWayFromPodsToPacks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const keys = "select count(*)::int from pg_constraint where contype = 'f' and conrelid = 'public.pods'::regclass and confrelid = 'public.packs'::regclass"
	if n := value[int](t, s.world, keys); n != 1 {
		t.Errorf("%d foreign keys lead from pods to packs", n)
	}
	s.rollback(api.RollbackRequest{TargetVersion: "1.0.0"})
	wantCode(t, failure(s.DeletePack(t.Context(), s.dev, s.old.ID)), fault.Conflict)
	s.exec(t, "update public.pods set next_pack_id = null where id = $1", s.pod.ID)
	if _, err := s.DeletePack(t.Context(), s.dev, s.old.ID); err != nil {
		t.Errorf("the pack of no pod: %v", err)
	}
	_, err := s.conn.Exec(t.Context(), "update public.pods set next_pack_id = $2::uuid, next_incarnation = 9, next_since = now() where id = $1", s.pod.ID, api.NewID())
	if err == nil {
		t.Error("a pod changes to a pack that is not there")
	}
}
