package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/api"
)

const (
	loadTime = 8 * time.Second // of each measurement of a throughput; half of it in a short run
	loadPods = 10_000          // in the table, of two users
	shards   = 50              // labels that tell them apart
	// loadUsers are the developers of the rows that have many: what waits at the same time
	// shares a statement where it is of one identity, so that many cost more than one.
	loadUsers = 32
)

// rest is what is measured by requests of a developer, whose token, rows and quota are
// checked like anybody's, on tables that hold others' rows too. Whoever asks runs in
// this process, on the same cores, and the scheduler binds what is asked for.
func (b *bench) rest(f **field) []step {
	var l *requests // made anew for each field
	var ids []string
	var furnished *field
	on := func(key string, measure func(ctx context.Context) error) step {
		return step{keys: []string{key}, measure: func(ctx context.Context) (err error) {
			if furnished != *f {
				if l, ids, err = b.furnish(ctx, *f); err != nil {
					return err
				}
				furnished = *f
			}
			return measure(ctx)
		}}
	}
	requests := func(key, setup string, clients, users int, pace rate.Limit, next func(i int) (method, path string, body []byte)) step {
		return on(key, func(ctx context.Context) error {
			if err := l.signIn(ctx, *f, users); err != nil {
				return err
			}
			l.clients, l.users, l.pace = clients, users, pace
			sum, err := l.run(ctx, next)
			if err == nil {
				b.burdened(key, setup, sum, pace == 0)
			}
			return err
		})
	}
	body := []byte(`{"packName":"pack0","packVersion":"1.0.0","namespace":"load","labels":{"app":"load"},"resourceRequests":{"cpu":10,"memory":16}}`)
	read := func(i int) (string, string, []byte) { return http.MethodGet, "/api/pods/" + ids[i%len(ids)], nil }
	create := func(int) (string, string, []byte) { return http.MethodPost, "/api/pods", body }
	many := fmt.Sprintf("%d developers", loadUsers)
	return []step{
		requests("rest.read", "GET of one of 5,000 pods of its owner, 32 clients, 10,000 pods in the table", 32, 1, 0, read),
		requests("rest.read.users", "the same pods read by "+many+" who are members of their namespace, 32 clients", 32, loadUsers, 0, read),
		requests("rest.list", "100 of 10,000 pods by a label, 200 requests a second", 32, 1, 200, func(i int) (string, string, []byte) {
			return http.MethodGet, fmt.Sprintf("/api/pods?pageSize=100&labelSelector=shard%%3Ds%d", i%shards), nil
		}),
		requests("rest.create", "POST /api/pods in a namespace with a quota, 128 clients, 1,000 nodes, scheduler binding", 128, 1, 0, create),
		requests("rest.create.users", "the same by "+many+" in one namespace, 128 clients", 128, loadUsers, 0, create),
		on("rest.create.bulk", func(ctx context.Context) error { return b.bulk(ctx, *f, l) }),
	}
}

// furnish signs a developer in and fills the field for them.
func (b *bench) furnish(ctx context.Context, f *field) (*requests, []string, error) {
	_, session, err := f.User(ctx, "load@example.com", api.RoleDeveloper)
	if err != nil {
		return nil, nil, err
	}
	if err := f.clear(ctx); err != nil {
		return nil, nil, err
	}
	ids, err := f.furnish(ctx, session.User.ID)
	if err != nil {
		return nil, nil, err
	}
	db, err := postmaster(ctx, f.conn)
	return &requests{
		url: f.URL, token: session.AccessToken, tokens: []string{session.AccessToken}, lasts: b.loadLasts(), store: "Postgres",
		server:   func() (time.Duration, error) { return cpuOfProcess(f.Server.PID()) },
		database: func() (time.Duration, error) { return cpuOfFamily(db) },
	}, ids, err
}

// signIn has at least so many developers signed in, who are members of the namespaces of
// the first.
func (l *requests) signIn(ctx context.Context, f *field, users int) error {
	for n := len(l.tokens); n < users; n++ {
		_, session, err := f.User(ctx, fmt.Sprintf("load%d@example.com", n), api.RoleDeveloper)
		if err != nil {
			return err
		}
		l.tokens = append(l.tokens, session.AccessToken)
		if _, err := f.conn.Exec(ctx, "insert into public.namespace_members (namespace, user_id, role) select n, $1::uuid, 'developer' from unnest(array['default', 'load']) n", session.User.ID); err != nil {
			return err
		}
	}
	return nil
}

// loadLasts is how long a throughput is measured.
func (b *bench) loadLasts() time.Duration {
	if b.full {
		return loadTime
	}
	return loadTime / 2
}

func (b *bench) holds(key, setup string, pid int) error {
	now, err := residentMemory(pid)
	if err != nil {
		return err
	}
	b.figures[key] = figure{Value: now, Unit: "MiB", Setup: "resident memory, " + setup}
	return nil
}

// furnish writes a namespace with a quota, and pods of the user and of the admin bound
// to nodes, and gives those of the user.
func (f *field) furnish(ctx context.Context, owner string) ([]string, error) {
	if _, err := f.conn.Exec(ctx, `insert into public.namespaces (name, resource_quota) values ('load', '{"hard": {"pods": 1000000}}')`); err != nil {
		return nil, err
	}
	if _, err := f.conn.Exec(ctx, "insert into public.namespace_members (namespace, user_id, role) values ('load', $1, 'developer')", owner); err != nil {
		return nil, err
	}
	if _, err := f.conn.Exec(ctx, "update public.packs set visibility = 'public'"); err != nil {
		return nil, err
	}
	for _, by := range []string{owner, f.Session.User.ID} {
		if _, err := f.conn.Exec(ctx, `insert into public.pods (pack_id, created_by, labels)
			select $1::uuid, $2::uuid, jsonb_build_object('shard', 's' || i % $4) from generate_series(1, $3) i`,
			f.packs[0], by, loadPods/2, shards); err != nil {
			return nil, err
		}
	}
	if err := f.allBound(ctx); err != nil {
		return nil, err
	}
	if _, err := f.conn.Exec(ctx, "vacuum (analyze) public.pods"); err != nil {
		return nil, err
	}
	rows, err := f.conn.Query(ctx, "select id::text from public.pods where created_by = $1", owner)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// requests sends requests with so many clients for a time, each after its last answer,
// or with a pace, as many a second as that in all.
type requests struct {
	url, token string
	tokens     []string    // of the developers, the first of whom has the one above
	users      int         // so many of them take turns
	tls        *tls.Config // nil where none is spoken

	server, database func() (time.Duration, error) // the CPU of either so far
	store            string                        // the name of the database

	lasts time.Duration

	clients int
	pace    rate.Limit
}

// as is the token of one client.
func (l *requests) as(client int) string {
	if l.users < 2 {
		return l.token
	}
	return l.tokens[client%l.users]
}

type burden struct {
	took  []time.Duration
	lasts time.Duration
	cpu   cpuShares
	store string
}

// run fails at the first answer that is not a success.
func (l *requests) run(ctx context.Context, next func(i int) (method, path string, body []byte)) (burden, error) {
	lines := make([]*line, l.clients)
	for n := range lines {
		var err error
		if lines[n], err = dial(ctx, l.url, l.as(n), l.tls); err != nil {
			return burden{}, err
		}
		defer lines[n].close()
	}
	wide, stop := context.WithTimeout(ctx, l.lasts)
	defer stop()
	var limit *rate.Limiter
	if l.pace > 0 {
		limit = rate.NewLimiter(l.pace, 1)
	}
	before, err := l.cpu()
	if err != nil {
		return burden{}, err
	}
	begin := time.Now()
	parts, errs := make([][]time.Duration, l.clients), make([]error, l.clients)
	var wg sync.WaitGroup
	for n := range l.clients {
		wg.Go(func() {
			for i := rand.IntN(1 << 20); wide.Err() == nil; i++ { //nolint:gosec // which pod comes first is no secret
				if limit != nil && limit.Wait(wide) != nil {
					return
				}
				method, path, body := next(i)
				sent := time.Now()
				if errs[n] = lines[n].send(method, path, body); errs[n] != nil {
					stop()
					return
				}
				parts[n] = append(parts[n], time.Since(sent))
			}
		})
	}
	wg.Wait()
	sum := burden{took: slices.Concat(parts...), lasts: time.Since(begin), store: l.store}
	for _, err := range errs {
		if err != nil {
			return sum, err
		}
	}
	after, err := l.cpu()
	if err != nil {
		return sum, err
	}
	sum.cpu = cpuShares{after.server - before.server, after.database - before.database, after.client - before.client}
	return sum, ctx.Err()
}

// cpuShares is the time of the CPU that each side of the requests has taken.
type cpuShares struct{ server, database, client time.Duration }

func (l *requests) cpu() (sum cpuShares, err error) {
	if sum.server, err = l.server(); err != nil {
		return sum, err
	}
	sum.database, err = l.database()
	sum.client = cpuTime()
	return sum, err
}

// burdened records requests per second, or the latency at a steady pace, with what each
// cost the processors beside it.
func (b *bench) burdened(key, setup string, sum burden, perSecond bool) {
	n := len(sum.took)
	if n == 0 {
		return
	}
	each := func(d time.Duration) int64 { return d.Microseconds() / int64(n) }
	b.latencies(key, fmt.Sprintf("%s; CPU of each: server %d us, %s %d us, whoever asks %d us; load average %s",
		setup, each(sum.cpu.server), sum.store, each(sum.cpu.database), each(sum.cpu.client), load()), sum.took)
	if perSecond {
		row := b.figures[key]
		row.Value, row.Unit, row.Latency = float64(n)/sum.lasts.Seconds(), "/s", row.Unit
		b.figures[key] = row
	}
}
