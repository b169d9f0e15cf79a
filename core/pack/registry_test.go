package pack_test

import (
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestLatest(t *testing.T) {
	t.Parallel()
	for want, versions := range map[string][]string{
		"":           nil,
		"1.10.0":     {"1.9.0", "1.10.0", "1.2.0"},
		"1.0.0":      {"2.0.0-rc.1", "1.0.0", "latest"},
		"2.0.0-rc.2": {"2.0.0-rc.1", "2.0.0-rc.2"},
	} {
		if got := pack.Latest(versions); got != want {
			t.Errorf("Latest(%v) = %q, want %q", versions, got, want)
		}
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	versions := []string{"1.0.0-rc.1", "1.10.0", "1.0.0", "1.2.0"}
	pack.SortVersions(versions)
	if want := []string{"1.10.0", "1.2.0", "1.0.0", "1.0.0-rc.1"}; !slices.Equal(versions, want) {
		t.Errorf("got %v, want %v", versions, want)
	}
	if pack.Compare("1.0.0+a", "1.0.0+b") != 0 {
		t.Error("build metadata counts")
	}
	list := []api.PackVersion{{Version: "1.0.0", Latest: true}, {Version: "2.0.0-beta"}, {Version: "1.1.0"}}
	pack.Arrange(list)
	if list[0].Version != "2.0.0-beta" || list[0].Latest || !list[1].Latest || list[2].Latest {
		t.Errorf("got %+v, want 1.1.0 alone as the latest", list)
	}
}

func TestRuntimes(t *testing.T) {
	t.Parallel()
	if got := pack.Runtimes(api.TagUniversal); len(got) != 2 {
		t.Errorf("got %v, want both", got)
	}
	if got := pack.Runtimes(api.TagBrowser); !slices.Equal(got, []api.RuntimeType{api.RuntimeBrowser}) {
		t.Errorf("got %v, want browser", got)
	}
}
