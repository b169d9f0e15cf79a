package postgrestest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

// A batch is one trip, also where its statements are new to the connection; statements that
// are waited for one by one are a trip each; and contexts count their own alone.
func TestTrips(t *testing.T) {
	t.Parallel()
	config, err := pgx.ParseConfig(postgrestest.New(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	config.Tracer = postgrestest.Tracer{}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	batch := func(ctx context.Context) {
		b := &pgx.Batch{}
		for _, sql := range []string{"select 1", "select 2", "select repeat('x', 100000)"} {
			b.Queue(sql)
		}
		if err := conn.SendBatch(ctx, b).Close(); err != nil {
			t.Fatal(err)
		}
	}
	one := func(ctx context.Context) {
		var n int
		if err := conn.QueryRow(ctx, "select $1::integer", 7).Scan(&n); err != nil || n != 7 {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	for name, c := range map[string]struct {
		ask               func(context.Context)
		statements, trips int
	}{
		"nothing":     {func(context.Context) {}, 0, 0},
		"a batch":     {batch, 3, 1},
		"a statement": {one, 1, 1},
		"all of it":   {func(ctx context.Context) { one(ctx); batch(ctx); one(ctx) }, 5, 3},
		"of others":   {func(context.Context) { one(t.Context()); batch(t.Context()) }, 0, 0},
		"by itself":   {func(ctx context.Context) { _, _ = conn.Exec(ctx, "begin"); _, _ = conn.Exec(ctx, "commit") }, 2, 2},
	} {
		ctx, statements := postgrestest.Record(t.Context())
		c.ask(ctx)
		if n := len(statements.Sent()); n != c.statements || statements.Trips() != c.trips {
			t.Errorf("%s: %d statements in %d trips, want %d in %d", name, n, statements.Trips(), c.statements, c.trips)
		}
	}
}
