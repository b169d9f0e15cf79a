package postgres

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging"
)

const (
	channel = "stark_changes"

	pollListening = 5 * time.Second        // backstop while LISTEN works
	pollDeaf      = 500 * time.Millisecond // while it does not
	announceEvery = 2 * time.Millisecond
	relistDeaf    = time.Minute // a relist while no LISTEN connection tells of a crash
	// relistAfter is well below the age at which Compact drops changes, so that a
	// cursor that is still used never misses any.
	relistAfter = compactAfter / 2
)

// payloadResigned wakes candidates for the lead; any other payload is the id of
// the server that announces, or nothing where a trigger does.
const payloadResigned = "resigned"

// feed is one running Feed.
type feed struct {
	db       *DB
	apply    func(store.Batch)
	wake     chan struct{}
	cursor   position    // of the previous read, zero for a relist
	readAt   time.Time   // of the previous read
	shownAt  time.Time   // of the previous batch that was complete, zero if it was of no time
	listedAt time.Time   // of the previous relist
	cut      atomic.Bool // the listener lost its connection: the cursor may be worth nothing
	deaf     bool
	stale    bool
	index    index
	listened chan bool // whether LISTEN works, from the listener
}

// Feed keeps a read model up to date until ctx ends: first a batch with
// everything, then what changed since. It survives the loss of the database and
// tells Config.OnStale. apply is called by one goroutine.
func (db *DB) Feed(ctx context.Context, apply func(store.Batch)) error {
	f := &feed{db: db, apply: apply, wake: make(chan struct{}, 1), listened: make(chan bool, 1)}
	db.listening.Store(f, f.wake)
	defer db.listening.Delete(f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.listen(ctx)
	}()
	defer func() { <-done }()
	f.run(ctx)
	return ctx.Err()
}

// run reads whenever it is woken, and now and then without.
func (f *feed) run(ctx context.Context) {
	poll := pollDeaf
	for {
		pause := poll
		if err := f.read(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			f.setStale(true, err)
			f.cut.Store(true)
			pause = pollDeaf
		} else {
			f.setStale(false, nil)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-f.wake:
		case <-timer.C:
		case ok := <-f.listened: // a change of state is also a reason to read
			poll, f.deaf = pollDeaf, !ok
			if ok {
				poll = pollListening
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (f *feed) setStale(stale bool, err error) {
	if stale == f.stale {
		return
	}
	f.stale = stale
	f.db.away.Store(stale)
	if stale {
		f.db.log.Warn("change feed lost the database", slog.Any("error", err))
	} else {
		f.db.log.Info("the database is back: change feed is up to date again", slog.Bool(logging.KeyRecovered, true))
	}
	if f.db.onStale != nil {
		f.db.onStale(stale)
	}
}

// read applies what changed since the cursor, or everything where the cursor may
// be worth nothing. It is after a crash: Postgres then gives out again the ids of
// transactions that had ended but were not on disk, as those are that only notify,
// and a row of such an id lies behind the cursor. Every backend dies in a crash,
// so a lost connection is reason enough to start over.
func (f *feed) read(ctx context.Context) error {
	started := time.Now()
	crashed := f.cut.Swap(false)
	if f.cursor.snap == "" || crashed || started.Sub(f.readAt) > relistAfter || f.deaf && started.Sub(f.listedAt) > relistDeaf {
		f.cursor = position{}
		b, at, err := f.db.relist(ctx)
		if err != nil {
			return err
		}
		f.db.own.clear()
		f.db.clock.heard(time.UnixMilli(at.at), started, time.Now())
		f.cursor, f.readAt, f.listedAt = at, started, started
		f.index.learn(b)
		f.apply(f.timed(b, started))
		return nil
	}
	found, err := f.db.changesSince(ctx, f.cursor.snap)
	if err != nil {
		return err
	}
	if found.rewound || f.cursor.born != found.at.born { // a restart, a restore, or another database
		f.cursor = position{}
		return f.read(ctx)
	}
	f.db.clock.heard(time.UnixMilli(found.at.at), started, time.Now())
	if err := f.take(ctx, found, started); err != nil {
		return err
	}
	f.cursor, f.readAt = found.at, started
	return nil
}

// take applies what has changed, part by part. The cursor and the time move with the last
// of them: whoever goes on from the one before it is told of the others again.
func (f *feed) take(ctx context.Context, found changes, started time.Time) error {
	var own map[string]*api.Pod
	if f.db.model != nil {
		f.db.own.await(ctx, found.by)
		own = f.db.own.take(found.by, f.db.model.Pods.Snapshot())
	}
	if len(found.keys) == 0 {
		f.apply(f.timed(store.Batch{Cursor: found.at.String()}, started))
		return nil
	}
	maps.DeleteFunc(found.keys[kindPod], func(id string, _ bool) bool { return own[id] != nil })
	parts, err := f.db.parts(ctx, found.keys, own)
	if err != nil {
		return err
	}
	for i, part := range parts {
		var b store.Batch
		if part.keys != nil {
			if b, err = f.db.reread(ctx, part.keys, &f.index); err != nil {
				return err
			}
			f.index.learn(b)
		}
		b.Pods.Put = slices.Grow(b.Pods.Put, len(part.own))
		for _, p := range part.own {
			b.Pods.Put = append(b.Pods.Put, *p)
		}
		if i == len(parts)-1 {
			b.Cursor = found.at.String()
			b = f.timed(b, started)
		} else {
			b.Cursor = f.cursor.String()
			b = f.sure(b, f.shownAt)
		}
		f.apply(b)
	}
	return nil
}

// timed says when a complete batch was read.
func (f *feed) timed(b store.Batch, started time.Time) store.Batch {
	b = f.sure(b, started)
	f.shownAt = b.At
	return b
}

// sure gives a batch a time, if the feed would know by now of a crash before that.
func (f *feed) sure(b store.Batch, at time.Time) store.Batch {
	if !f.deaf && !f.cut.Load() {
		b.At = at
	}
	return b
}

// changes is what one read of the log found.
type changes struct {
	at      position
	rewound bool
	keys    map[string]map[string]bool // kind -> ids
	by      map[string]string          // pod -> the version that a transaction gave it, "" where more than one did
}

// changesSQL takes the snapshot and the rows in one statement, hence in one
// snapshot: a row is either visible in it or will not be visible in the cursor
// of the next read. Its snapshot is behind the old one only in another database.
// What a statement has changed is one row.
const changesSQL = `
	with at as materialized (select pg_current_snapshot() as snap)
	select at.snap::text, ` + positionSQL + `, pg_snapshot_xmax(at.snap) < pg_snapshot_xmax($1::text::pg_snapshot),
		coalesce(c.kind, ''), coalesce(c.xid::text, ''), coalesce(c.ids, '{}')
	from at left join (
		select kind, xid, ids from stark.change_log
		where xid >= pg_snapshot_xmin($1::text::pg_snapshot)
		  and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)) c on true`

func (db *DB) changesSince(ctx context.Context, cursor string) (changes, error) {
	var found changes
	err := db.read(ctx, "read changes", service, func(b *pgx.Batch) {
		found = changes{keys: map[string]map[string]bool{}, by: map[string]string{}}
		b.Queue(changesSQL, cursor).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var kind, transaction string
				var ids []string
				if err := rows.Scan(&found.at.snap, &found.at.at, &found.at.born, &found.rewound, &kind, &transaction, &ids); err != nil {
					return err
				}
				found.add(kind, versionOf(transaction), ids)
			}
			return rows.Err()
		})
	})
	return found, err
}

// add takes in what a statement of one transaction has changed of a kind.
func (c *changes) add(kind, version string, ids []string) {
	if len(ids) == 0 {
		return
	}
	known := c.keys[kind]
	if known == nil {
		known = make(map[string]bool, len(ids))
		c.keys[kind] = known
	}
	for _, id := range ids {
		if kind == kindPod {
			switch by, ok := c.by[id]; {
			case !ok:
				c.by[id] = version
			case by != version:
				c.by[id] = "" // not the only one
			}
		}
		known[id] = true
	}
}

// committed tells every Feed of this process at once, and other servers soon.
func (db *DB) committed() {
	db.refresh()
	poke(db.announce)
}

// refresh has every Feed of this process read, so that what it shows is of this moment.
func (db *DB) refresh() {
	for _, wake := range db.listening.Range {
		if c, ok := wake.(chan struct{}); ok {
			poke(c)
		}
	}
}

// poke wakes the reader of a channel of size one, unless it is woken already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// announcer tells other servers of commits: of the first at once, of those that
// follow in one notification every announceEvery.
func (db *DB) announcer(ctx context.Context) {
	defer close(db.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-db.announce:
		}
		if err := db.notify(ctx, db.serverID); err != nil && ctx.Err() == nil {
			db.log.Warn("commits could not be announced to other servers", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(announceEvery):
		}
	}
}

// notify does not wait for its own commit to be flushed: it stores nothing.
func (db *DB) notify(ctx context.Context, payload string) error {
	return db.read(ctx, "notify", service, func(b *pgx.Batch) {
		b.Queue("select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)", channel, payload)
	})
}
