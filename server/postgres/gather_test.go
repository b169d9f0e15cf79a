package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// readers is how many statements for the reads of one identity run at a time.
const readers = 2

// readsWorld is a world whose statements are kept, with two developers who have pods.
type readsWorld struct {
	*world
	db       *postgres.DB
	ann, bob access.Identity
	anns     []api.Pod
	bobs     api.Pod
}

func newReadsWorld(t *testing.T) *readsWorld {
	t.Helper()
	w := newWorld(t)
	s := &readsWorld{
		world: w, ann: w.user(t, api.RoleDeveloper), bob: w.user(t, api.RoleDeveloper),
		db: open(t, postgres.Config{URL: w.at.URL, Tracer: postgrestest.Tracer{}}),
	}
	k := w.pack(t, s.ann, "hello", "1.0.0")
	for range 6 {
		s.anns = append(s.anns, w.pod(t, s.ann, k.ID))
	}
	s.bobs = w.pod(t, s.bob, w.pack(t, s.bob, "bobs", "1.0.0").ID)
	return s
}

// got is what a read gave.
type got struct {
	pod api.Pod
	err error
}

// read begins a read.
func (s *readsWorld) read(ctx context.Context, id access.Identity, podID string) <-chan got {
	c := make(chan got, 1)
	go func() {
		p, err := s.db.GetPod(ctx, id, podID)
		c <- got{p, err}
	}()
	return c
}

// stopped keeps all statements on pods waiting until the caller lets them go. So many
// of ann's reads wait for the lock then; every further one waits for these.
func (s *readsWorld) stopped(ctx context.Context, t *testing.T) (first []<-chan got, letGo func()) {
	t.Helper()
	s.exec(t, "begin")
	s.exec(t, "lock table public.pods in access exclusive mode")
	for range readers {
		first = append(first, s.read(ctx, s.ann, s.anns[0].ID))
	}
	s.blocked(t, readers)
	return first, func() { s.exec(t, "commit") }
}

// blocked waits until so many statements wait for the lock.
func (s *readsWorld) blocked(t *testing.T, n int) {
	t.Helper()
	s.until(t, func() bool {
		return value[int](t, s.world, "select count(*) from pg_locks where not granted and relation = 'public.pods'::regclass and database = (select oid from pg_database where datname = current_database())") == n
	})
}

// gathered waits until so many of ann's reads wait for others.
func (s *readsWorld) gathered(t *testing.T, n int) {
	t.Helper()
	s.until(t, func() bool {
		s.exec(t, "select 1") // a moment
		return s.db.ReadsWaiting(s.ann) == n
	})
}

func (s *readsWorld) until(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for !holds() {
		if ctx.Err() != nil {
			t.Fatal("waited in vain")
		}
	}
}

func TestReadsThatWaitShareAStatement(t *testing.T) {
	t.Parallel()
	s := newReadsWorld(t)
	ctx, statements := postgrestest.Record(t.Context())
	first, letGo := s.stopped(ctx, t)
	var mine []<-chan got
	for _, p := range s.anns {
		mine = append(mine, s.read(ctx, s.ann, p.ID))
	}
	again := s.read(ctx, s.ann, strings.ToUpper(s.anns[0].ID))
	stranger, nobody := s.read(ctx, s.ann, s.bobs.ID), s.read(ctx, s.ann, api.NewID())
	leaves, leave := context.WithCancel(ctx)
	left := s.read(leaves, s.ann, s.anns[1].ID)
	s.gathered(t, len(mine)+4)
	leave()
	wantCode(t, (<-left).err, fault.Timeout)
	bobs := s.read(ctx, s.bob, s.bobs.ID) // waits for nobody else
	s.blocked(t, readers+1)
	letGo()

	for _, c := range first {
		if g := <-c; g.err != nil || g.pod.ID != s.anns[0].ID {
			t.Errorf("got %s, %v", g.pod.ID, g.err)
		}
	}
	for i, c := range mine {
		if g := <-c; g.err != nil || g.pod.ID != s.anns[i].ID || g.pod.CreatedBy != s.ann.UserID {
			t.Errorf("read %d got %s, %v; want %s", i, g.pod.ID, g.err, s.anns[i].ID)
		}
	}
	if g := <-again; g.err != nil || g.pod.ID != s.anns[0].ID {
		t.Errorf("got %s, %v", g.pod.ID, g.err)
	}
	if g := <-bobs; g.err != nil || g.pod.ID != s.bobs.ID {
		t.Errorf("got %s, %v", g.pod.ID, g.err)
	}
	wantCode(t, (<-stranger).err, fault.NotFound)
	wantCode(t, (<-nobody).err, fault.NotFound)

	reads := 0
	for _, sql := range statements.Sent() {
		if strings.Contains(sql, "from public.pods p") {
			reads++
		}
	}
	if want := readers + 1 + 1; reads != want { // the first ones, all that waited, bob's
		t.Errorf("%d statements read pods, want %d", reads, want)
	}
	if n := s.db.ReadsWaiting(s.ann); n != 0 {
		t.Errorf("%d reads still wait", n)
	}
}

func TestARowThatCannotBeReadFailsNoOtherRead(t *testing.T) {
	t.Parallel()
	s := newReadsWorld(t)
	s.exec(t, "alter table public.pods disable trigger user")
	s.exec(t, `update public.pods set annotations = '["no object"]' where id = $1`, s.anns[3].ID)
	s.exec(t, "alter table public.pods enable trigger user")
	first, letGo := s.stopped(t.Context(), t)
	var mine []<-chan got
	for _, p := range s.anns {
		mine = append(mine, s.read(t.Context(), s.ann, p.ID))
	}
	s.gathered(t, len(mine))
	letGo()
	for _, c := range first {
		if g := <-c; g.err != nil {
			t.Error(g.err)
		}
	}
	for i, c := range mine {
		g := <-c
		switch {
		case i == 3 && fault.CodeOf(g.err) != fault.Internal && g.err != nil:
			t.Errorf("the row that cannot be read: got %v", g.err)
		case i == 3 && g.err == nil:
			t.Error("what cannot be read was read")
		case i != 3 && (g.err != nil || g.pod.ID != s.anns[i].ID):
			t.Errorf("read %d got %s, %v", i, g.pod.ID, g.err)
		}
	}
}
