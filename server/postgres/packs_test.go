package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestPacksOfTwoUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, bob, viewer := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper), w.user(t, api.RoleViewer)
	k := w.pack(t, ann, "hello", "1.0.0")
	if k.Status != api.PackReady || k.BundlePath != ann.UserID+"/hello/1.0.0/"+sha+".js" || k.Visibility != api.VisibilityPrivate {
		t.Errorf("got %+v", k)
	}
	_, err := w.GetPack(ctx, bob, k.ID)
	wantCode(t, err, fault.NotFound)
	_, err = w.UpdatePack(ctx, bob, k.ID, api.UpdatePackRequest{})
	wantCode(t, err, fault.NotFound)

	public := must(w.UpdatePack(ctx, ann, k.ID, api.UpdatePackRequest{
		Visibility: new(api.VisibilityPublic), Description: new("greets"), Metadata: map[string]any{"a": 1.0},
	}))(t)
	if public.Visibility != api.VisibilityPublic || public.Description != "greets" || public.Metadata["a"] != 1.0 {
		t.Errorf("got %+v", public)
	}
	if got := must(w.GetPack(ctx, bob, k.ID))(t); got.ID != k.ID {
		t.Errorf("got %+v", got)
	}
	_, err = w.UpdatePack(ctx, bob, k.ID, api.UpdatePackRequest{Description: new("mine")})
	wantCode(t, err, fault.Forbidden)
	wantCode(t, failure(w.DeletePack(ctx, bob, k.ID)), fault.Forbidden)

	_, err = w.CreatePack(ctx, ann, api.Pack{Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode})
	wantCode(t, err, fault.Conflict)
	_, err = w.CreatePack(ctx, bob, api.Pack{Name: "hello", Version: "2.0.0", RuntimeTag: api.TagNode})
	wantCode(t, err, fault.Conflict)
	_, err = w.CreatePack(ctx, viewer, api.Pack{Name: "other", Version: "2.0.0", RuntimeTag: api.TagNode})
	wantCode(t, err, fault.Forbidden)
	_, err = w.CreatePack(ctx, ann, api.Pack{Name: "9", Version: "2.0.0", RuntimeTag: api.TagNode})
	wantCode(t, err, fault.Validation)
	_, err = w.CreatePack(ctx, ann, api.Pack{Name: "x", Version: "2.0.0", RuntimeTag: api.TagNode, Metadata: map[string]any{"a": strings.Repeat("x", 70000)}})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.Validation || f.Details["metadata"] == nil {
		t.Errorf("got %v, want a fault of metadata", err)
	}
	_, err = w.CreatePack(ctx, ann, api.Pack{Name: "x", Version: "2.0.0", RuntimeTag: api.TagNode, Description: "\x00"})
	wantCode(t, err, fault.Validation)
	_, err = w.CompletePack(ctx, ann, k.ID, pack.Bundle{SHA256: sha, Size: 10})
	wantCode(t, err, fault.NotFound)
}

func TestPackListsAndVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann, admin := w.user(t, api.RoleDeveloper), w.user(t, api.RoleAdmin)
	for _, v := range []string{"1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"} {
		w.pack(t, ann, "hello", v)
	}
	w.pack(t, admin, "bye_bye", "1.0.0")
	versions := must(w.PackVersions(ctx, ann, "hello"))(t)
	if len(versions) != 4 || versions[0].Version != "2.0.0-rc.1" || !versions[1].Latest || versions[1].Version != "1.10.0" {
		t.Errorf("got %+v", versions)
	}
	_, err := w.PackVersions(ctx, ann, "bye_bye")
	wantCode(t, err, fault.NotFound)
	for _, c := range []struct {
		as   access.Identity
		q    api.PackQuery
		want int
	}{
		{ann, api.PackQuery{}, 4},
		{admin, api.PackQuery{}, 5},
		{admin, api.PackQuery{Name: "hello", Version: "1.9.0"}, 1},
		{admin, api.PackQuery{Search: "e_b"}, 1},
		{admin, api.PackQuery{Search: "h_l"}, 0},
		{admin, api.PackQuery{OwnerID: admin.UserID}, 1},
		{admin, api.PackQuery{OwnerID: "' or true --"}, 0},
		{admin, api.PackQuery{RuntimeTag: api.TagBrowser}, 0},
	} {
		page, err := w.ListPacks(ctx, c.as, c.q)
		if err != nil || page.Total != c.want || len(page.Items) != c.want {
			t.Errorf("%+v: got %d items of %d, %v; want %d", c.q, len(page.Items), page.Total, err, c.want)
		}
	}
	if beyond := must(w.ListPacks(ctx, admin, api.PackQuery{PageQuery: api.PageQuery{Page: 9, PageSize: 3}}))(t); beyond.Total != 5 || len(beyond.Items) != 0 {
		t.Errorf("beyond the last page: %d of %d", len(beyond.Items), beyond.Total)
	}
	page := must(w.ListPacks(ctx, admin, api.PackQuery{PageQuery: api.PageQuery{Page: 2, PageSize: 3}}))(t)
	if page.Total != 5 || len(page.Items) != 2 || page.Page != 2 || page.PageSize != 3 {
		t.Errorf("got page %+v", page)
	}
}

func TestPacksGoOnlyWhenUnused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	ann := w.user(t, api.RoleDeveloper)
	used, unused := w.pack(t, ann, "used", "1.0.0"), w.pack(t, ann, "unused", "1.0.0")
	w.pod(t, ann, used.ID)
	wantCode(t, failure(w.DeletePack(ctx, ann, used.ID)), fault.Conflict)
	if _, err := w.DeletePack(ctx, ann, unused.ID); err != nil {
		t.Error(err)
	}
	wantCode(t, failure(w.DeletePack(ctx, ann, unused.ID)), fault.NotFound)

	pending := must(w.CreatePack(ctx, ann, api.Pack{Name: "pending", Version: "1.0.0", RuntimeTag: api.TagNode}))(t)
	_, err := w.CreatePod(ctx, ann, api.CreatePodRequest{PackID: pending.ID})
	wantCode(t, err, fault.InvalidState)
	for _, id := range []string{pending.ID, used.ID} {
		if err := w.AbandonPack(ctx, ann, id); err != nil {
			t.Error(err)
		}
	}
	_, err = w.GetPack(ctx, ann, pending.ID)
	wantCode(t, err, fault.NotFound)
	if _, err := w.GetPack(ctx, ann, used.ID); err != nil {
		t.Errorf("a ready pack was abandoned: %v", err)
	}
}

func TestMalformedIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, id := t.Context(), w.user(t, api.RoleAdmin)
	for name, call := range map[string]func(string) error{
		"GetPack": func(x string) error { _, err := w.GetPack(ctx, id, x); return err },
		"CompletePack": func(x string) error {
			_, err := w.CompletePack(ctx, id, x, pack.Bundle{SHA256: sha, Size: 1})
			return err
		},
		"UpdatePack": func(x string) error { _, err := w.UpdatePack(ctx, id, x, api.UpdatePackRequest{}); return err },
		"DeletePack": func(x string) error { return failure(w.DeletePack(ctx, id, x)) },
		"GetNode":    func(x string) error { _, err := w.GetNode(ctx, id, x); return err },
		"UpdateNode": func(x string) error { _, err := w.UpdateNode(ctx, id, x, api.UpdateNodeRequest{}); return err },
		"DeleteNode": func(x string) error { return w.DeleteNode(ctx, id, x) },
		"GetPod":     func(x string) error { _, err := w.GetPod(ctx, id, x); return err },
		"StopPod":    func(x string) error { _, _, err := w.StopPod(ctx, id, x); return err },
		"PodHistory": func(x string) error { _, err := w.PodHistory(ctx, id, x, 0, 0); return err },
		"PodRuns":    func(x string) error { _, err := w.PodRuns(ctx, id, x); return err },
		"Verdict":    func(x string) error { _, err := w.Verdict(ctx, id, x); return err },
		"Revoke":     func(x string) error { return w.RevokeJoinToken(ctx, id, x) },
		"CreatePod":  func(x string) error { _, err := w.CreatePod(ctx, id, api.CreatePodRequest{PackID: x}); return err },
	} {
		for _, x := range []string{"1' or '1'='1", api.NewID()} {
			if got := fault.CodeOf(call(x)); got != fault.NotFound {
				t.Errorf("%s(%q): got %q, want NOT_FOUND", name, x, got)
			}
		}
	}
}

// A server that dies in the middle of an upload must not block the version.
func TestAnAbandonedUploadDoesNotBlockItsVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann, bob := w.user(t, api.RoleDeveloper), w.user(t, api.RoleDeveloper)
	p := api.Pack{Name: "hello", Version: "1.0.0", RuntimeTag: api.TagNode}
	left := must(w.CreatePack(t.Context(), ann, p))(t)
	_, err := w.CreatePack(t.Context(), ann, p)
	wantCode(t, err, fault.Conflict)                    // it may still be under way
	w.exec(t, "set session_replication_role = replica") // else nobody makes a pack older
	w.exec(t, "update public.packs set created_at = now() - interval '16 minutes' where id = $1", left.ID)
	_, err = w.CreatePack(t.Context(), bob, p)
	wantCode(t, err, fault.Conflict)
	again := must(w.CreatePack(t.Context(), ann, p))(t)
	w.exec(t, `update public.packs set created_at = now() - interval '1 day', status = 'ready', bundle_sha256 = $2, bundle_size = 10
		where id = $1`, again.ID, sha)
	_, err = w.CreatePack(t.Context(), ann, p)
	wantCode(t, err, fault.Conflict)
}
