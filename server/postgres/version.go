package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// The version of a row is the transaction that wrote it last: it changes with every
// write, also one by SQL or supabase-js that knows nothing of versions, and costs no
// column and no trigger. A user's roles are rows of their own, so a user has several.
// The row of a namespace is written for each of its pods, so its version is its
// content without the usage.
const (
	podVersion       = "p.xmin::text"
	nodeVersion      = "n.xmin::text"
	packVersion      = "k.xmin::text"
	classVersion     = "c.xmin::text"
	configVersion    = "g.xmin::text"
	tokenVersion     = "j.xmin::text"
	userVersion      = "u.xmin::text || coalesce((select '.' || string_agg(r.xmin::text, '.' order by r.role) from public.user_roles r where r.user_id = u.id), '')"
	namespaceVersion = "md5((to_jsonb(s) - 'resource_usage' - 'updated_at')::text)"
)

// versionSQL reads the version of one row.
var versionSQL = map[string]string{
	kindPod:           "select " + podVersion + " from public.pods p where p.id = $1",
	kindNode:          "select " + nodeVersion + " from public.nodes n where n.id = $1",
	kindPack:          "select " + packVersion + " from public.packs k where k.id = $1",
	kindUser:          "select " + userVersion + " from public.users u where u.id = $1",
	kindNamespace:     "select " + namespaceVersion + " from public.namespaces s where (s.id::text = $1 or s.name = $1)",
	kindPriorityClass: "select " + classVersion + " from public.priority_classes c where c.name = $1",
	kindConfig:        "select " + configVersion + " from public.cluster_config g where g.name = $1",
}

// changeAs is writeAs for a change of one object, named by its kind and key. When the
// request is about one version of it (access.Expect), it fails with Conflict unless
// the object is at that version; the check and the change are one transaction.
func (db *DB) changeAs(ctx context.Context, op string, id access.Identity, kind, key string, change func(*pgx.Batch)) error {
	expected := access.Expected(ctx)
	if len(expected) == 0 {
		return db.writeAs(ctx, op, id, change)
	}
	d, err := userDoor(id)
	if err != nil {
		return err
	}
	return db.transaction(ctx, op, d, func(t Tx) error {
		if err := checkVersion(ctx, t, kind, key, expected); err != nil {
			return err
		}
		b := &pgx.Batch{}
		change(b)
		for _, q := range b.QueuedQueries {
			*t.Queue(q.SQL, q.Arguments...) = *q
		}
		return nil
	})
}

// checkVersion locks a row, so that it stays as it is until the change, and refuses the
// change when the row is at another version, or not the caller's to lock.
func checkVersion(ctx context.Context, t Tx, kind, key string, expected []string) error {
	sql, ok := versionSQL[strings.ReplaceAll(kind, " ", "_")]
	if !ok {
		return errors.New("no version is known of a " + kind)
	}
	var locked, found []string
	// Read again behind the lock: what the lock waited for may be rows beside this one.
	t.Queue(sql+" for update", key).Query(all(&locked, scanText))
	if err := t.Query(ctx, all(&found, scanText), sql, key); err != nil {
		return err
	}
	switch {
	case len(found) == 0:
		return fault.New(fault.NotFound, "%s not found", kind)
	case len(locked) == 0:
		return fault.New(fault.Forbidden, "you may not change this %s", kind)
	case slices.Contains(expected, found[0]):
		return nil
	}
	return otherVersion(kind, found[0])
}

// otherVersion refuses a change of an object that is at a version that was not expected.
func otherVersion(kind, version string) error {
	e := fault.New(fault.Conflict, "the %s has changed since it was read: it is at version %s now; read it again, and decide anew", strings.ReplaceAll(kind, "_", " "), version)
	e.Details = map[string]any{"resourceVersion": version}
	return e
}
