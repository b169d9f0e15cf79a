package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stark-orchestrator/stark/core/store"
)

// unread are the rows of one read that could not be decoded: kind -> key -> why. A
// server of another version, or a hand in the database, may have written them; they
// must not keep the feed from all others.
type unread map[string]map[string]error

// sound takes the rows that can be decoded. The key of a row is its first column, as
// text.
func sound[T any](bad unread, kind string, into *store.Changes[T], scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		into.Put = []T{}
		each := &apart{Rows: rows}
		for rows.Next() {
			row, err := scan(each)
			if err != nil {
				if bad[kind] == nil {
					bad[kind] = map[string]error{}
				}
				bad[kind][string(rows.RawValues()[0])] = err
				continue
			}
			into.Put = append(into.Put, row)
		}
		return rows.Err()
	}
}

// apart decodes a row by itself: the Scan of pgx.Rows closes them all at the first
// value that it cannot decode. As that one does, it finds out once for all rows how the
// values of a column are decoded.
type apart struct {
	pgx.Rows
	plans []pgtype.ScanPlan
	types []reflect.Type // that the plans are for
}

// Scan implements pgx.CollectableRow.
func (a *apart) Scan(dest ...any) error {
	fields, values := a.FieldDescriptions(), a.RawValues()
	if len(fields) != len(dest) {
		return fmt.Errorf("%d values for %d destinations", len(fields), len(dest))
	}
	if a.plans == nil {
		a.plans, a.types = make([]pgtype.ScanPlan, len(dest)), make([]reflect.Type, len(dest))
	}
	for i, to := range dest {
		if t := reflect.TypeOf(to); a.types[i] != t {
			a.plans[i], a.types[i] = a.Conn().TypeMap().PlanScan(fields[i].DataTypeOID, fields[i].Format, to), t
		}
		if err := a.plans[i].Scan(values[i], to); err != nil {
			return pgx.ScanArgError{ColumnIndex: i, FieldName: fields[i].Name, Err: err}
		}
	}
	return nil
}

// tell logs and counts what was left out.
func (db *DB) tell(ctx context.Context, bad unread) {
	for kind, rows := range bad {
		for key, err := range rows {
			db.skipped.WithLabelValues(kind).Inc()
			db.log.ErrorContext(ctx, "a row cannot be decoded and is left out of the read model: mend it in the database",
				slog.String("kind", kind), slog.String("key", key), slog.Any("error", err))
		}
	}
}

// unreadPods knows which pods the read model holds in an old version, or not at all,
// because their rows could not be decoded. It is written by the feed, before it shows
// what it has read.
type unreadPods struct {
	mu    sync.Mutex
	ids   map[string]struct{} // guarded by mu
	there atomic.Bool
}

// begin takes in what a read of all pods left out.
func (u *unreadPods) begin(bad map[string]error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ids = map[string]struct{}{}
	u.add(bad)
}

// note takes in what a read of some pods left out.
func (u *unreadPods) note(read map[string]bool, bad map[string]error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range read {
		delete(u.ids, id)
	}
	u.add(bad)
}

func (u *unreadPods) add(bad map[string]error) {
	for id := range bad {
		u.ids[id] = struct{}{}
	}
	u.there.Store(len(u.ids) > 0)
}

// any reports whether there is such a pod.
func (u *unreadPods) any() bool { return u.there.Load() }

func newSkipped(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stark_feed_rows_skipped_total", Help: "Rows that the change feed could not decode, by kind.",
	}, []string{"kind"})
	if r != nil {
		r.MustRegister(c)
	}
	return c
}
