package postgres_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

// TestARoundThatFindsNothingIsNotCommitted holds what a leader does every second in a
// cluster where nothing happens to looking: a commit would wait for the disk, and be
// told to every server, which then asks what has changed.
func TestARoundThatFindsNothingIsNotCommitted(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	db := open(t, postgres.Config{URL: b.at.URL, Tracer: postgrestest.Tracer{}})
	committed := func(ctx context.Context, round func(context.Context) error) bool {
		ctx, sent := postgrestest.Record(ctx)
		if err := round(ctx); err != nil {
			t.Error(err)
		}
		done, undone := slices.Contains(sent.Sent(), "commit"), slices.Contains(sent.Sent(), "rollback")
		if done == undone {
			t.Errorf("the round was committed: %t, and rolled back: %t", done, undone)
		}
		return done
	}
	sweep := func(ctx context.Context) error { _, err := db.SweepNodes(ctx); return err }
	evict := func(ctx context.Context) error { _, err := db.EvictIntolerant(ctx); return err }
	end := func(ctx context.Context) error { _, err := db.EndNamespaces(ctx); return err }
	(&world{DB: db}).lead(t, func(ctx context.Context) {
		for name, round := range map[string]func(context.Context) error{"sweep": sweep, "evict": evict, "end": end} {
			if committed(ctx, round) {
				t.Errorf("%s: committed, with nothing to do", name)
			}
		}
		b.exec(t, "insert into public.namespaces (name, phase) values ('shop', 'terminating')")
		if !committed(ctx, end) {
			t.Error("the end of a namespace was not committed")
		}
	})
	if value[bool](t, b.world, "select exists (select from public.namespaces where name = 'shop')") {
		t.Error("the namespace is still there")
	}
}
