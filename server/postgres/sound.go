package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"

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

func newSkipped(r prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stark_feed_rows_skipped_total", Help: "Rows that the change feed could not decode, by kind.",
	}, []string{"kind"})
	if r != nil {
		r.MustRegister(c)
	}
	return c
}
