package storage_test

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/stark-orchestrator/stark/supabase/devstack/storage"
)

func (r *rig) files(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestMoveAndCopy(t *testing.T) {
	t.Parallel()
	r, other := newRig(t), newRig(t)
	r.put(t, "a", "content", "X-Metadata: eyJtIjoxfQ==")
	r.put(t, "taken", "other")
	body := func(from, to, bucket string) string {
		return `{"bucketId":"` + r.bucket + `","sourceKey":"` + from + `","destinationKey":"` + to + `","destinationBucket":"` + bucket + `"}`
	}
	r.refused(t, r.json(t, "POST", "/object/move", service(), body("a", "taken", "")), "409", "Duplicate", "ResourceAlreadyExists")
	r.refused(t, r.json(t, "POST", "/object/copy", service(), body("a", "taken", "")), "409", "Duplicate", "KeyAlreadyExists")
	r.want(t, r.json(t, "POST", "/object/move", service(), body("a", "b/c", "")), 200, "")
	r.want(t, r.get(t, r.object("a"), service()), 400, "NoSuchKey")
	if got := r.get(t, r.object("b/c"), service()); got.body != "content" {
		t.Errorf("moved: got %d %q", got.status, got.body)
	}
	got := r.json(t, "POST", "/object/copy", service(), body("b/c", "d", other.bucket))
	var row map[string]any
	got.decode(t, &row)
	if got.status != 200 || row["Key"] != other.bucket+"/d" || row["Id"] != row["id"] || row["bucket_id"] != other.bucket ||
		row["user_metadata"].(map[string]any)["m"] != float64(1) {
		t.Errorf("copy: got %d %s", got.status, got.body)
	}
	r.want(t, r.json(t, "POST", "/object/copy", service(), body("b/c", "taken", ""), "X-Upsert: true"), 200, "")
	r.want(t, r.do(t, "DELETE", r.object("b/c"), service(), nil), 200, "")
	// A copy outlives its source although they shared their bytes.
	for _, path := range []string{"/object/" + other.bucket + "/d", r.object("taken")} {
		if got := r.get(t, path, service()); got.body != "content" {
			t.Errorf("GET %s: got %d %q", path, got.status, got.body)
		}
	}
	for _, bad := range []string{`{}`, `{"bucketId":"x"}`, `{"bucketId":"x","sourceKey":"y"}`} {
		r.want(t, r.json(t, "POST", "/object/move", service(), bad), 400, "InvalidRequest")
	}
	r.want(t, r.json(t, "POST", "/object/move", service(), body("taken", "a#", "")), 400, "InvalidKey")
	r.want(t, r.json(t, "POST", "/object/copy", service(), body("none", "x", "")), 400, "NoSuchKey")
	r.want(t, r.json(t, "POST", "/object/copy", service(), body("taken", "x", "none")), 400, "NoSuchBucket")
}

func TestDeleteMany(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "a", "1")
	r.put(t, "b", "2")
	var rows []map[string]any
	r.json(t, "DELETE", "/object/"+r.bucket, service(), `{"prefixes":["a","none"]}`).decode(t, &rows)
	if len(rows) != 1 || rows[0]["name"] != "a" || rows[0]["bucket_id"] != r.bucket {
		t.Errorf("got %v", rows)
	}
	if n := len(r.files(t)); n != 1 {
		t.Errorf("%d files left, want 1", n)
	}
	for _, body := range []string{`{}`, `{"prefixes":[]}`} {
		r.want(t, r.json(t, "DELETE", "/object/"+r.bucket, service(), body), 400, "InvalidRequest")
	}
}

func TestRefusedUploadsLeaveNoFile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.want(t, r.do(t, "POST", r.object("big"), service(), unsized(maxBytes+1)), 400, "EntityTooLarge")
	r.put(t, "k", "one")
	r.put(t, "k", "two")
	r.want(t, r.do(t, "POST", r.object("k"), service(), strings.NewReader("three")), 400, "KeyAlreadyExists")
	if n := len(r.files(t)); n != 1 {
		t.Errorf("%d files, want only the newest version", n)
	}
}

// TestBrokenUpload cuts the connection in the middle of a body.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "POST "+r.object("k")+" HTTP/1.1\r\nHost: x\r\nAuthorization: "+service()+
		"\r\nContent-Length: 100\r\n\r\nhalf")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	r.want(t, r.get(t, r.object("k"), service()), 400, "NoSuchKey")
	if files := r.files(t); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

// TestRestartCollectsLeftovers builds what a crash leaves: a half upload, and a
// whole file whose row never committed.
func TestRestartCollectsLeftovers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "kept")
	orphan := uuid.NewString()
	folder := filepath.Join(r.dir, "objects", orphan[len(orphan)-2:])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(folder, orphan), filepath.Join(r.dir, "tmp", "upload-1")} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.serve(t, pool)
	if n := len(r.files(t)); n != 1 {
		t.Errorf("%d files after a restart, want 1", n)
	}
	if got := r.get(t, r.object("k"), service()); got.body != "kept" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestRowsCannotNameOtherFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, version := range map[string]string{"a": "../../../etc/passwd", "b": uuid.NewString(), "c": "", "d": strings.ToUpper(uuid.NewString())} {
		execute(t, `insert into storage.objects (bucket_id, name, version) values ($1, $2, $3)`, r.bucket, name, version)
		r.want(t, r.get(t, r.object(name), service()), 400, "NoSuchKey")
	}
	r.want(t, r.get(t, "/object/info/"+r.bucket+"/a", service()), 200, "")
	r.want(t, r.json(t, "POST", "/object/copy", service(), `{"bucketId":"`+r.bucket+`","sourceKey":"a","destinationKey":"z"}`), 400, "NoSuchKey")
	r.want(t, r.do(t, "DELETE", r.object("a"), service(), nil), 200, "")
}

// TestConcurrentWritersAndReaders: exactly one of many plain uploads of a key
// wins, and readers always get one version whole.
func TestConcurrentWritersAndReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var wg sync.WaitGroup
	var won atomic.Int32
	for range 8 {
		wg.Go(func() {
			if r.do(t, "POST", r.object("once"), service(), strings.NewReader("x")).status == http.StatusOK {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d uploads won, want 1", won.Load())
	}
	r.put(t, "k", strings.Repeat("0", maxBytes))
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				r.put(t, "k", strings.Repeat(string(rune('a'+i)), maxBytes))
			}
		})
		wg.Go(func() {
			for range 20 {
				got := r.get(t, r.object("k"), service())
				if got.status != 200 || got.body != strings.Repeat(got.body[:1], maxBytes) {
					t.Errorf("torn read: %d %.20q", got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.files(t)); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := storage.New(storage.Config{MaxBytes: -1}); err == nil {
		t.Error("an empty config is refused")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.New(storage.Config{Pool: pool, Dir: file, Verify: verify, Sign: sign}); err == nil {
		t.Error("a folder that is a file is refused")
	}
}
