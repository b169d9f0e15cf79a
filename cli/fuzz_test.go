package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stark-orchestrator/stark/cli/bundle"
)

// FuzzFlags reads the flags that have a form of their own: a refusal names the flag or
// the value, and nothing is taken that has no key.
func FuzzFlags(f *testing.F) {
	for _, seed := range []string{
		"a=b", "a=", "=b", "a", "", "a=b:NoSchedule", "a:NoExecute", ":x", "*", "*:NoSchedule", "a=b=c", "500m", "1Gi", "-1", "1e999", "NaN", "10m", "2026-01-31T12:00:00Z", "9999999h", "\x00", "\xff", "a\u202eb",
		"app=web,tier=front@zone", "@zone", "a=b@", "zone:2:soft", "zone:0", "zone:2:3", "zone:soft:soft", "zone-", "cpu=4,memory=8Gi,zone=west,count=2", "cpu=1,memory=1Gi,pods=-1",
		"cpu=1,memory=1Gi,count=10001", "{.status}=running", "{.a[?(@.b=='c')]}", "{.", "=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		check := func(err error) {
			if _, ok := errors.AsType[usageError](err); err != nil && (!ok || err.Error() == "") {
				t.Errorf("%q: got %v, want a fault of usage", text, err)
			}
		}
		pairs, err := parsePairs("--label", []string{text})
		check(err)
		if _, empty := pairs[""]; empty {
			t.Errorf("%q gives an empty key", text)
		}
		_, err = parseTaints([]string{text})
		check(err)
		_, err = parseTolerations([]string{text})
		check(err)
		r, err := parseResources("--cpu", text, "--memory", text)
		check(err)
		if r != nil && (r.CPU != nil && *r.CPU < 0 || r.Memory != nil && *r.Memory < 0) {
			t.Errorf("%q gives %+v", text, r)
		}
		_, err = parseSince(text)
		check(err)
		e, err := parseEdits("label", []string{text})
		check(err)
		if _, empty := e.set[""]; empty || len(e.set)+len(e.remove) != 1 && err == nil {
			t.Errorf("%q is read as %+v", text, e)
		}
		term, err := parsePodTerm("--near", text)
		check(err)
		if err == nil && (term.TopologyKey == "" || len(term.LabelSelector.MatchLabels) == 0) {
			t.Errorf("%q is read as %+v", text, term)
		}
		spread, err := parseSpread(text, map[string]string{"app": "web"})
		check(err)
		if err == nil && (spread.TopologyKey == "" || spread.MaxSkew < 1) {
			t.Errorf("%q is read as %+v", text, spread)
		}
		nodes, err := parseSimNode(text, 0)
		check(err)
		for _, n := range nodes {
			if a := n.Allocatable; n.Name == "" || a.CPU <= 0 || a.Memory <= 0 || a.Storage < 0 || a.Pods < 0 {
				t.Errorf("%q is read as %+v", text, n)
			}
		}
		_, _ = parseJSONPath(text) // whatever it says, it does not panic
	})
}

// FuzzFiles reads the files that people edit: the manifest of a pack, the credentials
// and the settings. A refusal names the file.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null", "[]", "{", `{"name":"a","version":"1.0.0"}`, `{"name":1}`, `{"unknown":1}`, `{"name":"../x","entry":"/etc/passwd"}`, "\xff\xfe", "\ufeff{}",
		`{"env":{"A":1}}`, `{"metadata":{"a":null}}`, `{"version":1,"servers":{}}`, `{"apiUrl":"javascript:alert(1)"}`, `{"output":7}`, strings.Repeat("[", 20000), `{"name":"a\u0000"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		put := func(name string) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "index.js"), []byte("export default () => {}"), 0o600); err != nil {
			t.Fatal(err)
		}
		put(bundle.ManifestName)
		if _, _, err := bundle.Load(dir); err != nil && (!utf8.ValidString(err.Error()) || !strings.Contains(err.Error(), bundle.ManifestName) && !strings.Contains(err.Error(), dir)) {
			t.Errorf("%.100q: the manifest gives %q, which names no file", content, err)
		}
		h := home(dir)
		loaders := map[string]func() error{
			credentialsFile: func() error { _, err := h.credentials().load(); return err },
			settingsFile:    func() error { _, err := h.loadSettings(); return err },
		}
		for name, load := range loaders {
			put(name)
			if err := load(); err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%.100q: %s gives %q, which does not name it", content, name, err)
			}
		}
	})
}
