package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestPackRequests(t *testing.T) {
	t.Parallel()
	pack := func(name, version string) *api.CreatePackRequest {
		return &api.CreatePackRequest{Name: name, Version: version, RuntimeTag: api.TagNode}
	}
	metadata := map[string]any{}
	for k := range many(51) {
		metadata[k] = 1
	}
	tooMuch := pack("a", "1.0.0")
	tooMuch.Description, tooMuch.Metadata, tooMuch.BundleContent = strings.Repeat("x", 1001), metadata, strings.Repeat("x", api.MaxBundleBytes+1)
	shows := func(m map[string]any) *api.CreatePackRequest {
		r := pack("a", "1.0.0")
		r.Metadata = m
		return r
	}
	env := func(v any) *api.CreatePackRequest {
		r := pack("a", "1.0.0")
		r.Metadata = map[string]any{"env": v}
		return r
	}
	uploaded := func(digest, content string, size int64, path string) *api.CreatePackRequest {
		r := pack("a", "1.0.0")
		r.BundleSHA256, r.BundleContent, r.BundleSize, r.BundlePath = digest, content, size, path
		return r
	}
	digest := strings.Repeat("a1", 32)
	runValidate(t, []validateCase{
		{"uploaded before", uploaded(digest, "", 0, ""), nil},
		{"uploaded before, with its size", uploaded(digest, "", 7, "p"), nil},
		{"a digest in capitals", uploaded(strings.ToUpper(digest), "", 0, ""), map[string]string{"bundleSha256": "INVALID_FORMAT"}},
		{"half a digest", uploaded("a1", "", 0, ""), map[string]string{"bundleSha256": "INVALID_FORMAT"}},
		{"a path for a digest", uploaded("../"+digest[3:], "", 0, ""), map[string]string{"bundleSha256": "INVALID_FORMAT"}},
		{"a size without a digest", uploaded("", "", 7, ""), map[string]string{"bundleSha256": "REQUIRED"}},
		{"a size below zero", uploaded(digest, "", -7, ""), map[string]string{"bundleSize": "OUT_OF_RANGE"}},
		{"uploaded before and now", uploaded(digest, "code", 0, ""), map[string]string{"bundleSha256": "NOT_ALLOWED"}},
		{"good", pack("hello", "1.0.0"), nil},
		{"env", env(map[string]any{"A": "1"}), nil},
		{"env of a Go caller", env(map[string]string{"1A": "1"}), map[string]string{"metadata.env.1A": "INVALID_KEY_FORMAT"}},
		{"env with a number", env(map[string]any{"A": 1, "STARK_X": "1"}), map[string]string{"metadata.env.A": "INVALID_TYPE", "metadata.env.STARK_X": "RESERVED"}},
		{"env as a list", env([]any{"A=1"}), map[string]string{"metadata.env": "INVALID_TYPE"}},
		{"empty", &api.CreatePackRequest{}, map[string]string{"name": "REQUIRED", "version": "REQUIRED", "runtimeTag": "REQUIRED"}},
		{"name of 64", pack("a"+strings.Repeat("-", 63), "1.0.0"), nil},
		{"name of 65", pack(strings.Repeat("a", 65), "1.0.0"), map[string]string{"name": "TOO_LONG"}},
		{"name with digit first", pack("1a", "1.0.0"), map[string]string{"name": "INVALID_FORMAT"}},
		{"name with path", pack("a/../b", "1.0.0"), map[string]string{"name": "INVALID_FORMAT"}},
		{"pre-release", pack("a", "1.0.0-beta.1+build.5"), nil},
		{"v in front", pack("a", "v1.0.0"), map[string]string{"version": "INVALID_FORMAT"}},
		{"leading zero", pack("a", "1.02.0"), map[string]string{"version": "INVALID_FORMAT"}},
		{"long version", pack("a", "1.0.0-"+strings.Repeat("a", 130)), map[string]string{"version": "TOO_LONG"}},
		{"shows something", shows(map[string]any{"ui": true, "minNodeVersion": "20.0.0"}), nil},
		{"with a height", shows(map[string]any{"ui": map[string]any{"height": 60.0}}), nil},
		{"shows what", shows(map[string]any{"ui": "yes"}), map[string]string{"metadata.ui": "INVALID_TYPE"}},
		{"too high", shows(map[string]any{"ui": map[string]any{"height": 2001.0}}), map[string]string{"metadata.ui.height": "OUT_OF_RANGE"}},
		{"no height", shows(map[string]any{"ui": map[string]any{"height": "high"}}), map[string]string{"metadata.ui.height": "OUT_OF_RANGE"}},
		{
			"unknown words", &api.CreatePackRequest{Name: "a", Version: "1.0.0", RuntimeTag: "Node", Visibility: "all", Format: "amd"},
			map[string]string{"runtimeTag": "INVALID_VALUE", "visibility": "INVALID_VALUE", "format": "INVALID_VALUE"},
		},
		{"too much", tooMuch, map[string]string{"description": "TOO_LONG", "metadata": "TOO_MANY_KEYS", "bundleContent": "TOO_LARGE"}},
		{"update", &api.UpdatePackRequest{Description: new("x"), Visibility: new(api.VisibilityPublic)}, nil},
		{
			"wrong update", &api.UpdatePackRequest{Description: new(strings.Repeat("x", 1001)), Visibility: new(api.Visibility("x")), Metadata: metadata},
			map[string]string{"description": "TOO_LONG", "visibility": "INVALID_VALUE", "metadata": "TOO_MANY_KEYS"},
		},
		{
			"wrong query", &api.PackQuery{RuntimeTag: "x", OwnerID: "me", Search: strings.Repeat("x", 257)},
			map[string]string{"runtimeTag": "INVALID_VALUE", "ownerId": "INVALID_FORMAT", "search": "TOO_LONG"},
		},
	})
}

func TestPackDefaults(t *testing.T) {
	t.Parallel()
	r := api.CreatePackRequest{Name: "a", Version: "1.0.0", RuntimeTag: "isomorphic"}
	wantFields(t, r.Validate(), nil)
	if r.RuntimeTag != api.TagUniversal || r.Visibility != api.VisibilityPrivate || r.Format != api.FormatCommonJS {
		t.Errorf("got %s %s %s, want universal private cjs", r.RuntimeTag, r.Visibility, r.Format)
	}
	q := api.PackQuery{RuntimeTag: "isomorphic", PageQuery: api.PageQuery{Page: -1, PageSize: 1000}}
	wantFields(t, q.Validate(), nil)
	if q.RuntimeTag != api.TagUniversal || q.Page != 1 || q.PageSize != api.MaxPageSize {
		t.Errorf("got %+v, want universal, page 1 of 100", q)
	}
}

func TestRuntimeFits(t *testing.T) {
	t.Parallel()
	for tag, want := range map[api.RuntimeTag][2]bool{api.TagNode: {true, false}, api.TagBrowser: {false, true}, api.TagUniversal: {true, true}} {
		if got := [2]bool{tag.Fits(api.RuntimeNode), tag.Fits(api.RuntimeBrowser)}; got != want {
			t.Errorf("%s fits node, browser: %v, want %v", tag, got, want)
		}
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want api.PageQuery }{
		{api.PageQuery{}, api.PageQuery{Page: 1, PageSize: 20}},
		{api.PageQuery{Page: 3, PageSize: 10}, api.PageQuery{Page: 3, PageSize: 10}},
		{api.PageQuery{Page: -3, PageSize: -1}, api.PageQuery{Page: 1, PageSize: 1}},
		{api.PageQuery{Page: 1 << 30, PageSize: 101}, api.PageQuery{Page: 1_000_000, PageSize: 100}},
	} {
		if got := c.in.Normalize(); got != c.want {
			t.Errorf("%+v becomes %+v, want %+v", c.in, got, c.want)
		}
	}
	q := api.PageQuery{Page: 3}
	if q.Limit() != 20 || q.Offset() != 40 {
		t.Errorf("page 3: limit %d offset %d, want 20 and 40", q.Limit(), q.Offset())
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	a, b := api.NewID(), api.NewID()
	if a >= b || !api.ValidID(a) || a[14] != '7' {
		t.Errorf("%s, %s: want two version 7 UUIDs in order", a, b)
	}
	for id, want := range map[string]bool{
		"00000000-0000-0000-0000-000000000001": true, "6BA7B810-9DAD-11D1-80B4-00C04FD430C8": true, "": false, "x": false,
		"{00000000-0000-0000-0000-000000000001}": false, "0000000g-0000-0000-0000-000000000001": false,
	} {
		if got := api.ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %t, want %t", id, got, want)
		}
	}
}
