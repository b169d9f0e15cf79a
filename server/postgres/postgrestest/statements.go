package postgrestest

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Statements is what one context has asked the database, in the order in which it was
// sent. It is safe for concurrent use.
type Statements struct {
	mu    sync.Mutex
	sql   []string
	trips int
}

// Sent gives the statements so far.
func (s *Statements) Sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.sql...)
}

// Trips is how often statements were sent and the database waited for so far: those that
// leave together take one trip.
func (s *Statements) Trips() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trips
}

func (s *Statements) add(sql ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sql = append(s.sql, sql...)
}

type statementsKey struct{}

// Record gives a context whose statements and trips are kept, also those of what is
// derived from it. The database must have been opened with a Tracer.
func Record(ctx context.Context) (context.Context, *Statements) {
	s := &Statements{}
	return context.WithValue(ctx, statementsKey{}, s), s
}

// Tracer keeps the statements of contexts that Record gave, one by one also where they
// travel as a batch, and counts on the connection itself how often they have waited.
type Tracer struct{}

var (
	_ pgx.QueryTracer   = Tracer{}
	_ pgx.BatchTracer   = Tracer{}
	_ pgx.ConnectTracer = Tracer{}
)

// TraceConnectStart has the connection that is about to be made count its turns.
func (Tracer) TraceConnectStart(ctx context.Context, data pgx.TraceConnectStartData) context.Context {
	data.ConnConfig.DialFunc = counting(data.ConnConfig.DialFunc)
	return ctx
}

// TraceConnectEnd does nothing.
func (Tracer) TraceConnectEnd(context.Context, pgx.TraceConnectEndData) {}

// TraceQueryStart keeps a statement that is sent by itself.
func (Tracer) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return begin(ctx, conn, data.SQL)
}

// TraceQueryEnd counts its trips.
func (Tracer) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	end(ctx, conn)
}

// TraceBatchStart keeps the statements of a batch.
func (Tracer) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	sql := make([]string, len(data.Batch.QueuedQueries))
	for i, q := range data.Batch.QueuedQueries {
		sql[i] = q.SQL
	}
	return begin(ctx, conn, sql...)
}

// TraceBatchQuery does nothing.
func (Tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd counts its trips.
func (Tracer) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchEndData) {
	end(ctx, conn)
}

type turnsKey struct{}

// begin keeps statements, and in the context how many turns their connection had taken
// before them.
func begin(ctx context.Context, conn *pgx.Conn, sql ...string) context.Context {
	s, ok := ctx.Value(statementsKey{}).(*Statements)
	if !ok {
		return ctx
	}
	s.add(sql...)
	return context.WithValue(ctx, turnsKey{}, turnsOf(conn))
}

func end(ctx context.Context, conn *pgx.Conn) {
	s, ok := ctx.Value(statementsKey{}).(*Statements)
	before, begun := ctx.Value(turnsKey{}).(int64)
	if !ok || !begun {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trips += int(turnsOf(conn) - before)
}
