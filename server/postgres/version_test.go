package postgres_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestVersionsRiseWithEveryChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, admin := w.user(t, api.RoleDeveloper), w.user(t, api.RoleAdmin)
	k := w.pack(t, ann, "hello", "1.0.0")
	seen := must(w.GetPack(ctx, ann, k.ID))(t).ResourceVersion
	if !api.ValidResourceVersion(seen) {
		t.Fatalf("got version %q, want one that a header can carry", seen)
	}
	if again := must(w.GetPack(ctx, ann, k.ID))(t).ResourceVersion; again != seen {
		t.Errorf("reading has made %s of %s", again, seen)
	}
	if _, err := w.conn.Exec(ctx, "update public.packs set description = 'by hand' where id = $1", k.ID); err != nil {
		t.Fatal(err)
	}
	if now := must(w.GetPack(ctx, ann, k.ID))(t).ResourceVersion; now == seen {
		t.Errorf("a write by SQL has left the version %s", now)
	}

	before := must(w.GetUser(ctx, admin, ann.UserID))(t).ResourceVersion
	after := must(w.GrantRoles(ctx, admin, ann.UserID, []api.Role{api.RoleOperator}))(t).ResourceVersion
	if before == after || !api.ValidResourceVersion(after) {
		t.Errorf("a role more has made version %q of %q", after, before)
	}
	_, err := w.RevokeRole(access.Expect(ctx, before), admin, ann.UserID, api.RoleOperator)
	wantConflictAt(t, err, after)
	if _, err := w.RevokeRole(access.Expect(ctx, after), admin, ann.UserID, api.RoleOperator); err != nil {
		t.Error(err)
	}
}

// wantConflictAt wants a conflict that names the version of now.
func wantConflictAt(t *testing.T, err error, version string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Conflict || f.Details["resourceVersion"] != version {
		t.Errorf("got %v, want a conflict that names version %s", err, version)
	}
}

func TestChangesOfAnOldVersionAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, op := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t, api.RoleOperator)
	k := w.pack(t, ann, "hello", "1.0.0")
	p := must(w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: k.ID}))(t)
	n := must(w.CreateNode(ctx, op, api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode}))(t)
	old := access.Expect(ctx, "1", "2")

	_, err := w.UpdatePack(old, ann, k.ID, api.UpdatePackRequest{Description: new("x")})
	wantConflictAt(t, err, k.ResourceVersion)
	wantConflictAt(t, failure(w.DeletePack(old, ann, k.ID)), k.ResourceVersion)
	_, err = w.UpdateNode(old, op, n.ID, api.UpdateNodeRequest{Unschedulable: new(true)})
	wantConflictAt(t, err, n.ResourceVersion)
	wantConflictAt(t, w.DeleteNode(old, op, n.ID), n.ResourceVersion)
	_, _, err = w.StopPod(old, ann, p.ID)
	wantConflictAt(t, err, p.ResourceVersion)
	_, err = w.RollbackPod(old, ann, p.ID, api.RollbackRequest{})
	wantConflictAt(t, err, p.ResourceVersion)
	if now := must(w.GetPod(ctx, ann, p.ID))(t); now.StopRequestedAt != nil || now.ResourceVersion != p.ResourceVersion {
		t.Errorf("a refused change has left %+v", now)
	}

	// Who may not change it learns no version of it.
	_, err = w.UpdateNode(old, bob, n.ID, api.UpdateNodeRequest{Unschedulable: new(true)})
	wantCode(t, err, fault.Forbidden)
	wantCode(t, failure(w.DeletePack(old, bob, k.ID)), fault.NotFound)

	changed := must(w.UpdateNode(access.Expect(ctx, "1", n.ResourceVersion), op, n.ID, api.UpdateNodeRequest{Unschedulable: new(true)}))(t)
	if !changed.Unschedulable || changed.ResourceVersion == n.ResourceVersion {
		t.Errorf("got %+v", changed)
	}
	if _, _, err := w.StopPod(access.Expect(ctx, p.ResourceVersion), ann, p.ID); err != nil {
		t.Error(err)
	}
}

// TestOneOfManyChangesOfAVersionWins lets two servers change one object that both
// have read.
func TestOneOfManyChangesOfAVersionWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := open(t, postgres.Config{URL: w.at.URL})
	ann := w.user(t, api.RoleDeveloper)
	k := w.pack(t, ann, "hello", "1.0.0")
	ctx := access.Expect(t.Context(), k.ResourceVersion)
	const each = 8
	errs := make(chan error, 2*each)
	var all sync.WaitGroup
	for range each {
		for _, db := range []*postgres.DB{w.DB, other} {
			all.Go(func() {
				_, err := db.UpdatePack(ctx, ann, k.ID, api.UpdatePackRequest{Description: new(strings.Repeat("x", 3))})
				errs <- err
			})
		}
	}
	all.Wait()
	close(errs)
	won := 0
	for err := range errs {
		if err == nil {
			won++
		} else {
			wantCode(t, err, fault.Conflict)
		}
	}
	if won != 1 {
		t.Errorf("%d changes of one version were made, want 1", won)
	}
}
