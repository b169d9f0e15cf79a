package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestTheRuntimeOfAFileThatGoesAsItIs(t *testing.T) {
	t.Parallel()
	const plain, needsNode = "exports.default = () => 1", "require('fs'); exports.default = () => 1"
	cases := map[string]struct {
		code        string
		given, want api.RuntimeTag
	}{
		"found out: both":         {plain, "", api.TagUniversal},
		"found out: Node.js":      {needsNode, "", api.TagNode},
		"given: node":             {needsNode, api.TagNode, api.TagNode},
		"given: universal":        {plain, api.TagUniversal, api.TagUniversal},
		"given: browser":          {plain, api.TagBrowser, api.TagBrowser},
		"node, and no JavaScript": {"const = 1", api.TagNode, api.TagNode},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "raw.js")
			if err := os.WriteFile(path, []byte(c.code), 0o600); err != nil {
				t.Fatal(err)
			}
			reg, err := loadRegistration(path, sidecar{Name: "raw", Version: "1.0.0", RuntimeTag: c.given})
			if err != nil {
				t.Fatal(err)
			}
			if reg.RuntimeTag != c.want || reg.request().RuntimeTag != c.want {
				t.Errorf("tag %s, want %s", reg.RuntimeTag, c.want)
			}
		})
	}
}
