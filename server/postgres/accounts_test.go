package postgres_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestRolesChangeAsTheCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, op, dev := w.user(t, api.RoleAdmin), w.user(t, api.RoleOperator), w.user(t, api.RoleDeveloper)
	ctx := t.Context()
	for range 2 { // what is there already is no fault
		u := must(w.GrantRoles(ctx, admin, dev.UserID, []api.Role{api.RoleOperator, api.RoleDeveloper}))(t)
		if !slices.Equal(u.Roles, []api.Role{api.RoleOperator, api.RoleDeveloper, api.RoleViewer}) {
			t.Errorf("roles %v", u.Roles)
		}
	}
	if by := value[string](t, w, "select granted_by::text from public.user_roles where user_id = $1 and role = 'operator'", dev.UserID); by != admin.UserID {
		t.Errorf("granted by %s, want %s", by, admin.UserID)
	}
	for range 2 {
		u := must(w.RevokeRole(ctx, admin, dev.UserID, api.RoleOperator))(t)
		if !slices.Equal(u.Roles, []api.Role{api.RoleDeveloper, api.RoleViewer}) {
			t.Errorf("roles %v", u.Roles)
		}
	}
	if u := must(w.GetUser(ctx, op, dev.UserID))(t); u.Email != dev.Email {
		t.Errorf("got %+v", u)
	}
	_, err := w.GetUser(ctx, dev, op.UserID)
	wantCode(t, err, fault.NotFound)
	_, err = w.GrantRoles(ctx, op, op.UserID, []api.Role{api.RoleAdmin})
	wantCode(t, err, fault.Forbidden)
	_, err = w.GrantRoles(ctx, admin, api.NewID(), []api.Role{api.RoleViewer})
	wantCode(t, err, fault.NotFound)
	_, err = w.RevokeRole(ctx, admin, "x", api.RoleViewer)
	wantCode(t, err, fault.NotFound)
	_, err = w.RevokeRole(ctx, admin, admin.UserID, api.RoleAdmin)
	wantCode(t, err, fault.Conflict)
	// Nobody but an admin takes a role away, whatever the server thinks.
	if u := must(w.RevokeRole(ctx, op, admin.UserID, api.RoleAdmin))(t); !slices.Contains(u.Roles, api.RoleAdmin) {
		t.Error("an operator took the role of an admin")
	}
}

func TestADisabledAccountHasNoRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin, dev := w.user(t, api.RoleAdmin), w.user(t, api.RoleDeveloper)
	ctx := t.Context()
	must(w.CreateJoinToken(ctx, dev, api.CreateJoinTokenRequest{}))(t)
	for range 2 {
		u := must(w.SetDisabled(ctx, dev.UserID, true, admin.UserID))(t)
		if u.DisabledAt == nil || len(u.Roles) != 0 {
			t.Errorf("disabled: %+v", u)
		}
	}
	_, _, err := w.UserRoles(ctx, dev.UserID)
	wantCode(t, err, fault.Forbidden)
	if n := value[int](t, w, "select count(*) from stark.join_tokens"); n != 0 {
		t.Errorf("%d join tokens outlive their maker's rights", n)
	}
	_, err = w.CreatePack(ctx, dev, api.Pack{Name: "late", Version: "1.0.0", RuntimeTag: api.TagNode})
	wantCode(t, err, fault.Forbidden)
	_, err = w.GrantRoles(ctx, admin, dev.UserID, []api.Role{api.RoleViewer})
	wantCode(t, err, fault.Conflict)
	for range 2 {
		u := must(w.SetDisabled(ctx, dev.UserID, false, admin.UserID))(t)
		if u.DisabledAt != nil || !slices.Equal(u.Roles, []api.Role{api.RoleDeveloper, api.RoleViewer}) {
			t.Errorf("enabled: %+v", u)
		}
	}
	_, err = w.SetDisabled(ctx, api.NewID(), true, admin.UserID)
	wantCode(t, err, fault.NotFound)
	for _, disabled := range []bool{true, false} {
		_, err = w.SetDisabled(ctx, admin.UserID, disabled, dev.UserID)
		wantCode(t, err, fault.Forbidden)
	}
}

// Two admins who disable each other at the same time leave one of them.
func TestTheLastAdminIsNotDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.user(t, api.RoleAdmin), w.user(t, api.RoleAdmin)
	var wg sync.WaitGroup
	for _, pair := range [][2]string{{one.UserID, other.UserID}, {other.UserID, one.UserID}} {
		wg.Go(func() {
			if _, err := w.SetDisabled(t.Context(), pair[0], true, pair[1]); err != nil && fault.CodeOf(err) != fault.Forbidden {
				t.Errorf("disable: %v", err)
			}
		})
	}
	wg.Wait()
	var left []string
	for _, id := range []string{one.UserID, other.UserID} {
		if roles, _, err := w.UserRoles(t.Context(), id); err == nil && slices.Contains(roles, api.RoleAdmin) {
			left = append(left, id)
		}
	}
	if len(left) != 1 {
		t.Fatalf("%d admins are left, want 1", len(left))
	}
	_, err := w.SetDisabled(t.Context(), left[0], true, left[0])
	wantCode(t, err, fault.Conflict)
}

func TestOpenRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, open := range []bool{true, false} {
		for _, change := range []bool{true, false} {
			if changed := must(w.SetOpenRegistration(t.Context(), open))(t); changed != change {
				t.Errorf("set %v: changed %v, want %v", open, changed, change)
			}
		}
		if got := must(w.OpenRegistration(t.Context()))(t); got != open {
			t.Errorf("open is %v, want %v", got, open)
		}
	}
}
