package postgrestest

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Statements is what one context has asked the database, in the order in which it was
// sent. It is safe for concurrent use.
type Statements struct {
	mu  sync.Mutex
	sql []string
}

// Sent gives the statements so far.
func (s *Statements) Sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.sql...)
}

func (s *Statements) add(sql ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sql = append(s.sql, sql...)
}

type statementsKey struct{}

// Record gives a context whose statements are kept, also those that are sent by what
// is derived from it. The database must have been opened with a Tracer.
func Record(ctx context.Context) (context.Context, *Statements) {
	s := &Statements{}
	return context.WithValue(ctx, statementsKey{}, s), s
}

// Tracer keeps the statements of contexts that Record gave, one by one also where they
// travel as a batch.
type Tracer struct{}

var (
	_ pgx.QueryTracer = Tracer{}
	_ pgx.BatchTracer = Tracer{}
)

func keep(ctx context.Context, sql ...string) {
	if s, ok := ctx.Value(statementsKey{}).(*Statements); ok {
		s.add(sql...)
	}
}

// TraceQueryStart keeps a statement that is sent by itself.
func (Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	keep(ctx, data.SQL)
	return ctx
}

// TraceQueryEnd does nothing.
func (Tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart keeps the statements of a batch.
func (Tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		keep(ctx, q.SQL)
	}
	return ctx
}

// TraceBatchQuery does nothing.
func (Tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd does nothing.
func (Tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}
