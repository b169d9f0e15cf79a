package postgres_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestProfilesAndRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, dev := w.user(t, api.RoleAdmin), w.user(t, api.RoleDeveloper)

	u := must(w.Profile(t.Context(), dev))(t)
	if u.ID != dev.UserID || u.DisplayName != "Somebody" || !slices.Contains(u.Roles, api.RoleDeveloper) {
		t.Errorf("got profile %+v", u)
	}
	_, err := w.Profile(t.Context(), access.Identity{UserID: api.NewID()})
	wantCode(t, err, fault.UserNotFound)
	_, err = w.Profile(t.Context(), access.Identity{NodeID: "n", UserID: api.NewID()})
	wantCode(t, err, fault.Forbidden)

	roles, found, err := w.UserRoles(t.Context(), admin.UserID)
	if err != nil || !found || !slices.Contains(roles, api.RoleAdmin) {
		t.Errorf("got roles %v, %v, %v", roles, found, err)
	}
	for _, id := range []string{"x", api.NewID()} {
		if _, found, err := w.UserRoles(t.Context(), id); found || err != nil {
			t.Errorf("id %q: found %v, %v", id, found, err)
		}
	}
	if err := w.SetRoles(t.Context(), admin, dev.UserID, []api.Role{api.RoleOperator}); err != nil {
		t.Fatal(err)
	}
	if roles, _, _ := w.UserRoles(t.Context(), dev.UserID); !slices.Equal(roles, []api.Role{api.RoleOperator}) {
		t.Errorf("got roles %v", roles)
	}
	wantCode(t, w.SetRoles(t.Context(), admin, admin.UserID, []api.Role{api.RoleViewer}), fault.Conflict)
	wantCode(t, w.SetRoles(t.Context(), admin, api.NewID(), nil), fault.UserNotFound)
	wantCode(t, w.SetRoles(t.Context(), admin, "x", nil), fault.NotFound)
}

func TestListUsersUnderRLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, dev := w.user(t, api.RoleAdmin), w.user(t, api.RoleDeveloper)
	for _, c := range []struct {
		name string
		as   access.Identity
		q    api.UserQuery
		want int
	}{
		{"staff sees all", admin, api.UserQuery{}, 2},
		{"others see themselves", dev, api.UserQuery{}, 1},
		{"by role", admin, api.UserQuery{Role: api.RoleDeveloper}, 1},
		{"by search", admin, api.UserQuery{Search: dev.Email}, 1},
		{"a pattern is text", admin, api.UserQuery{Search: "%_"}, 0},
		{"nobody sees none", access.Identity{Anonymous: true}, api.UserQuery{}, -1},
	} {
		users, total, err := w.ListUsers(t.Context(), c.as, c.q)
		if c.want < 0 {
			wantCode(t, err, fault.AuthenticationRequired)
			continue
		}
		if err != nil || len(users) != c.want || total != c.want {
			t.Errorf("%s: got %d of %d, %v; want %d", c.name, len(users), total, err, c.want)
		}
	}
	if users, total, _ := w.ListUsers(t.Context(), admin, api.UserQuery{Limit: 1, Offset: 1}); len(users) != 1 || total != 2 {
		t.Errorf("got %d of %d", len(users), total)
	}
}

func TestTheFirstAdminIsClaimedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if s := must(w.SetupStatus(t.Context()))(t); !s.NeedsSetup || s.UserCount != 0 {
		t.Errorf("got %+v", s)
	}
	var claimed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		id := w.user(t, api.RoleViewer)
		wg.Go(func() {
			if ok, err := w.ClaimFirstAdmin(t.Context(), id.UserID); err != nil {
				t.Error(err)
			} else if ok {
				claimed.Add(1)
			}
		})
	}
	wg.Wait()
	if claimed.Load() != 1 {
		t.Errorf("%d claims succeeded, want 1", claimed.Load())
	}
	if s := must(w.SetupStatus(t.Context()))(t); s.NeedsSetup || s.UserCount != 8 {
		t.Errorf("got %+v", s)
	}
	_, err := w.ClaimFirstAdmin(t.Context(), "x")
	wantCode(t, err, fault.NotFound)
}
