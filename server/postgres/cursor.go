package postgres

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// resumeWithin is the age of the oldest cursor that a watch may go on from: what has
// happened since must still be in the log, also what a transaction wrote that began
// some time before.
const resumeWithin = compactAfter - time.Minute

// maxCursor bounds a cursor, in bytes: a snapshot names every transaction that was
// under way.
const maxCursor = 8 << 10

// position is a place in the change log of one life of one Postgres. Its text is what
// the world knows as a cursor.
type position struct {
	at   int64  // by the database's clock, in milliseconds
	born int64  // when this Postgres was started, in microseconds
	snap string // pg_snapshot: what is visible in it has been read
}

// positionSQL reads a position's three parts.
const positionSQL = `(extract(epoch from statement_timestamp()) * 1000)::bigint,
	(extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint`

var snapshotText = regexp.MustCompile(`^[0-9]{1,20}:[0-9]{1,20}:([0-9]{1,20}(,[0-9]{1,20})*)?$`)

// String gives the cursor.
func (p position) String() string {
	return strconv.FormatInt(p.at, 10) + "." + strconv.FormatInt(p.born, 10) + "." + p.snap
}

// parsePosition reads a cursor, which may come from anybody.
func parsePosition(cursor string) (position, error) {
	var p position
	parts := strings.SplitN(cursor, ".", 3)
	if len(parts) == 3 && len(cursor) <= maxCursor && snapshotText.MatchString(parts[2]) {
		var errAt, errBorn error
		p.at, errAt = strconv.ParseInt(parts[0], 10, 64)
		p.born, errBorn = strconv.ParseInt(parts[1], 10, 64)
		p.snap = parts[2]
		if errAt == nil && errBorn == nil {
			return p, nil
		}
	}
	return p, noCursor()
}

func noCursor() error {
	return api.InvalidField("since", fault.FieldInvalidFormat, "must be the cursor of a list, an event or a bookmark")
}

// next is the first transaction that the snapshot knows nothing of.
func (p position) next() uint64 {
	_, rest, _ := strings.Cut(p.snap, ":")
	xmax, _, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(xmax, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Covers reports whether a reader at have knows of every transaction that a reader at
// want could know of.
func (db *DB) Covers(have, want string) bool {
	h, err := parsePosition(have)
	if err != nil {
		return false
	}
	w, err := parsePosition(want)
	return err == nil && (h.born != w.born || h.covers(w))
}

// covers reports whether every transaction that w sees is seen by p of the same life. One
// that was under way at p may have ended before w although no other began between them.
func (p position) covers(w position) bool {
	if p.next() < w.next() {
		return false
	}
	open := w.underWay()
	for _, x := range p.underWay() {
		n, err := strconv.ParseUint(x, 10, 64)
		if !slices.Contains(open, x) && (err != nil || n < w.next()) {
			return false
		}
	}
	return true
}

// underWay are the transactions that had begun and not ended.
func (p position) underWay() []string {
	parts := strings.SplitN(p.snap, ":", 3)
	if len(parts) < 3 || parts[2] == "" {
		return nil
	}
	return strings.Split(parts[2], ",")
}

// Position is the cursor of this moment: a reader that covers it knows of everything
// that was committed before.
func (db *DB) Position(ctx context.Context) (string, error) {
	var at position
	err := db.readFor(ctx, "position", func(b *pgx.Batch) {
		b.Queue("select pg_current_snapshot()::text, " + positionSQL).
			QueryRow(func(row pgx.Row) error { return row.Scan(&at.snap, &at.at, &at.born) })
	})
	if err != nil {
		return "", err
	}
	return at.String(), nil
}

// What ChangedSince asks of the log itself, not of the view of it: how many ids a row of the
// log has Postgres does not know, and it would guess that to find one takes less than to look
// it up in the index.
const (
	rightsSinceSQL = `select ` + positionSQL + `, pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($1::text::pg_snapshot),
		exists (select from stark.change_log where kind = $2 and $3 = any (ids) and xid >= pg_snapshot_xmin($1::text::pg_snapshot)
			and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot))`
	kindSinceSQL = `select ids, op = 'D' from stark.change_log
		where kind = $2 and xid >= pg_snapshot_xmin($1::text::pg_snapshot)
		  and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)`
)

// ChangedSince tells what a watch must send that goes on from a cursor: the ids that
// have changed, and those that are gone and that the caller could see. A cursor that
// is too old, or from another life of the database, is Gone; so is one from before the
// caller's own rights have changed, for then other objects are to be seen. Kind is
// "pods" or "nodes".
func (db *DB) ChangedSince(ctx context.Context, id access.Identity, kind, cursor string) (changed map[string]bool, gone []string, err error) {
	p, err := parsePosition(cursor)
	if err != nil {
		return nil, nil, err
	}
	var at, born int64
	var rewound, rights bool
	var deleted map[string]bool
	err = db.read(ctx, "changes since a cursor", service, func(b *pgx.Batch) {
		b.Queue(rightsSinceSQL, p.snap, kindUser, id.UserID).
			QueryRow(func(row pgx.Row) error { return row.Scan(&at, &born, &rewound, &rights) })
		b.Queue(kindSinceSQL, p.snap, strings.TrimSuffix(kind, "s")).
			Query(func(rows pgx.Rows) error {
				changed, deleted = map[string]bool{}, map[string]bool{}
				for rows.Next() {
					var ids []string
					var over bool
					if err := rows.Scan(&ids, &over); err != nil {
						return err
					}
					for _, key := range ids {
						changed[key] = true
						if over {
							deleted[key] = true
						}
					}
				}
				return rows.Err()
			})
	})
	switch {
	case fault.CodeOf(err) == fault.Validation: // Postgres knows what snapshots cannot be
		return nil, nil, noCursor()
	case err != nil:
		return nil, nil, err
	case born != p.born, rewound, rights, at-p.at > resumeWithin.Milliseconds():
		return nil, nil, fault.New(fault.Gone, "since: what has happened after this cursor is not known any more: list again, and watch from the new cursor")
	}
	gone, err = db.seenBefore(ctx, id, kind, slices.Collect(maps.Keys(deleted)))
	return changed, gone, err
}

// seenBefore gives those of the deleted objects that the caller could see. The history
// of a pod outlives it and has the same rights; nodes are seen by all who see any.
func (db *DB) seenBefore(ctx context.Context, id access.Identity, kind string, deleted []string) ([]string, error) {
	if len(deleted) == 0 || kind != "pods" {
		return deleted, nil
	}
	var seen []string
	err := db.readAs(ctx, "deleted pods", id, func(b *pgx.Batch) {
		b.Queue("select distinct h.pod_id::text from public.pod_history h where h.pod_id = any ($1::text[]::uuid[])", deleted).
			Query(all(&seen, scanText))
	})
	return seen, err
}
