package pg

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// owner is the account that Postgres runs as. The zero value means our own.
type owner struct {
	uid, gid int
	switched bool
}

// give hands path to the account.
func (w owner) give(path string) error {
	if !w.switched {
		return nil
	}
	return os.Chown(path, w.uid, w.gid)
}

// account picks who runs Postgres: ourselves, or, as Postgres refuses root, the account that already owns
// the data, else postgres, else nobody.
func account(data string) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	if uid, gid, ok := ownerOf(data); ok && uid != 0 {
		return owner{uid: uid, gid: gid, switched: true}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(found.Uid)
		gid, err2 := strconv.Atoi(found.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return owner{}, fmt.Errorf("account %s: %w", name, err)
		}
		return owner{uid: uid, gid: gid, switched: true}, nil
	}
	return owner{}, errors.New("running as root, which Postgres refuses, and neither account postgres nor nobody exists")
}

const (
	// elsewhere holds the data of state folders that Postgres' account cannot reach.
	elsewhere = "/var/lib/stark"
	pointer   = "pgdata.path" // in the state folder: where its data is
	origin    = "origin"      // beside the data: whose it is
)

// place returns the folder that holds the data directory of state folder dir: dir itself where Postgres'
// account can pass to it, else one that is recorded in dir.
func place(dir string) (string, error) {
	if recorded, err := os.ReadFile(filepath.Join(dir, pointer)); err == nil {
		home := strings.TrimSpace(string(recorded))
		return home, os.MkdirAll(home, 0o711)
	}
	who, err := account(filepath.Join(dir, "pgdata"))
	if err != nil {
		return "", err
	}
	if !who.switched || reachable(dir, who) {
		return dir, nil
	}
	if err := os.MkdirAll(elsewhere, 0o711); err != nil {
		return "", err
	}
	removeOrphans(elsewhere)
	home := filepath.Join(elsewhere, rand.Text()[:16])
	// Recorded first: a folder that its origin does not point to may be removed by another start.
	if err := os.WriteFile(filepath.Join(dir, pointer), []byte(home+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := os.Mkdir(home, 0o711); err != nil {
		return "", err
	}
	return home, os.WriteFile(filepath.Join(home, origin), []byte(dir+"\n"), 0o600)
}

// reachable tells whether the account may pass through every folder on the way to dir.
func reachable(dir string, who owner) bool {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return false
		}
		uid, gid, ok := ownerOf(at)
		mode := info.Mode().Perm()
		switch {
		case !ok:
			return false
		case uid == who.uid:
			mode >>= 6
		case gid == who.gid:
			mode >>= 3
		}
		if mode&1 == 0 {
			return false
		}
		if at == filepath.Dir(at) {
			return true
		}
	}
}

// removeOrphans clears away data whose state folder was deleted, as far as that is certain: a folder of the
// system's temporary folder, as tests use them, is gone for good, while any other may just have been moved.
// Best effort: a failure costs disk space.
func removeOrphans(root string) {
	homes, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		return
	}
	for _, home := range homes {
		from, err := os.ReadFile(filepath.Join(home, origin))
		dir := strings.TrimSpace(string(from))
		if err != nil || !strings.HasPrefix(dir, os.TempDir()+string(filepath.Separator)) {
			continue // also one that another start is just making
		}
		back, err := os.ReadFile(filepath.Join(dir, pointer))
		if errors.Is(err, os.ErrNotExist) || err == nil && strings.TrimSpace(string(back)) != home {
			_ = os.RemoveAll(home)
		}
	}
}

// socketDir makes the folder of the Unix socket, beside the data unless the path would be too long for a
// socket address (104 bytes on macOS).
func socketDir(home string, who owner) (dir string, remove func() error, err error) {
	dir = filepath.Join(home, "run")
	if len(dir)+len("/.s.PGSQL.65535.lock") > 100 {
		dir, err = os.MkdirTemp("/tmp", "stark-run-")
		if err != nil {
			return "", nil, err
		}
	} else {
		// Whatever lies there is left from a killed server: the state folder is locked by us.
		if err := os.RemoveAll(dir); err != nil {
			return "", nil, err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", nil, err
		}
	}
	remove = func() error { return os.RemoveAll(dir) }
	if err := who.give(dir); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return dir, remove, nil
}
