package bundle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestAFileThatGoesAsItIsIsReadForImports(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		code string
		want string
	}{
		"none":              {`exports.default = async ({ log }) => log.info("require('fs') is not called")`, `[]`},
		"require":           {"'use strict';\nconst fs = require(\"fs\");\nexports.default = () => fs", `[browser ruled out by fs, raw.js:2]`},
		"within a function": {"exports.default = () => require('node:os')", `[browser ruled out by node:os, raw.js:1]`},
		"import":            {"import { join } from 'path/posix';\nexport default () => join", `[browser ruled out by path/posix, raw.js:1]`},
		"unused import":     {"import fs from 'fs';\nexport default () => 1", `[browser ruled out by fs, raw.js:1]`},
		"dynamic import":    {"export default () => import('node:fs')", `[browser ruled out by node:fs, raw.js:1]`},
		"top-level await":   {"const fs = await import('fs');\nexport default () => fs", `[browser ruled out by fs, raw.js:1]`},
		"each once":         {"require('fs'); require('fs'); require('os')", `[browser ruled out by fs, raw.js:1 browser ruled out by os, raw.js:1]`},
		// As for a folder: what cannot be reached is not looked at, what may be is.
		"dead code":         {"if (false) require('fs')", `[]`},
		"development only":  {"if (process.env.NODE_ENV !== 'production') require('fs')", `[]`},
		"guarded":           {"try { require('fs') } catch {}", `[browser ruled out by fs, raw.js:1]`},
		"computed":          {"exports.default = (name) => require(name)", `[]`},
		"shadowed":          {"exports.default = (require) => require('fs')", `[]`},
		"other packages":    {"require('zod'); require('./b.js'); require('fsx')", `[]`},
		"sloppy mode":       {"with (Math) { exports.default = () => floor(1) }", `[]`},
		"return at the top": {"if (globalThis.x) return; require('fs')", `[browser ruled out by fs, raw.js:1]`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := RuledOutOf("some/folder/raw.js", []byte(c.code))
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprint(got); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
		})
	}
}

func TestAFileThatIsNoJavaScript(t *testing.T) {
	t.Parallel()
	_, err := RuledOutOf("raw.js", []byte("\nconst = 1"))
	if err == nil || !strings.Contains(err.Error(), "raw.js:2:7: ") {
		t.Errorf("error %v, want one with the place", err)
	}
}

func TestAFlagIsRefusedInTheWordsOfAManifest(t *testing.T) {
	t.Parallel()
	ruledOut, err := RuledOutOf("raw.js", []byte(`require("fs")`))
	if err != nil {
		t.Fatal(err)
	}
	want := "browser ruled out by fs, raw.js:1\n--runtime says \"universal\": remove the import, or give --runtime node"
	if got := FlagContradiction(ruledOut, api.TagUniversal).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
