package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	leaderName  = "leader"
	leaseTTL    = 15 * time.Second
	leaseRenew  = 5 * time.Second
	leaseMargin = 2 * time.Second      // given up this long before others may take it
	leaseRetry  = time.Second          // between tries to renew, and to take over
	leaseCall   = 3 * time.Second      // limit of one call
	leaseSlack  = 5 * time.Millisecond // after its end, so that it has ended by the database's clock
)

// errLeaseLost is the cause of the end of a leader's context.
var errLeaseLost = errors.New("the leader's lease is lost")

// term is one term of leadership; it travels in the context that Lead gives.
type term struct {
	epoch int64
	since time.Time // by the database's clock
}

type termKey struct{}

type termState struct{ current atomic.Int64 }

// Epoch is the number of the term that ctx belongs to, 0 outside of Lead.
func (db *DB) Epoch(ctx context.Context) int64 { return termOf(ctx).epoch }

// IsLeader reports whether this server holds the lease now, as far as it knows.
func (db *DB) IsLeader() bool { return db.term.current.Load() != 0 }

func termOf(ctx context.Context) term {
	t, _ := ctx.Value(termKey{}).(term)
	return t
}

// Lead waits for the leader's lease and runs fn while it is held; the context of
// fn ends with the lease. When fn returns or the lease is lost, Lead stands
// again, until ctx ends. Every statement that a leader's loop makes through DB
// locks the lease row at its epoch, so that a deposed leader cannot commit.
func (db *DB) Lead(ctx context.Context, fn func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		asked := time.Now()
		wait := leaseRetry
		t, left, err := db.campaign(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			db.log.Warn("the leader's lease could not be asked for", slog.Any("error", err))
		case t.epoch != 0:
			if err := db.serve(ctx, t, asked, fn); err != nil && ctx.Err() == nil {
				db.log.Error("the leader's work ended", slog.Int64("epoch", t.epoch), slog.Any("error", err))
			}
		case err == nil:
			wait = min(wait, left+leaseSlack) // a leader that was killed is followed when its lease ends, and not a try later
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-db.resigned:
		case <-timer.C:
		}
		timer.Stop()
	}
	return ctx.Err()
}

// campaignSQL takes a lease that has run out, and tells how long one that has not
// goes on, in seconds. It locks the row for update, so it waits for the statements of
// the old leader that hold it for key share; they have committed before the new epoch
// exists. The migrations make the row; if somebody removed it, it is made here and won
// at the next try.
const campaignSQL = `
	with made as (
		insert into stark.leader_lease (name, holder, epoch, expires_at)
		values (@name, '', 0, '-infinity') on conflict (name) do nothing),
	old as (
		select name from stark.leader_lease where name = @name and expires_at <= clock_timestamp() for update),
	won as (
		update stark.leader_lease l
		set holder = @holder, epoch = nextval('stark.leader_epoch'), expires_at = clock_timestamp() + @ttl::text::interval
		from old where l.name = old.name and l.expires_at <= clock_timestamp()
		returning l.epoch)
	select coalesce((select epoch from won), 0), clock_timestamp(),
		coalesce((select greatest(extract(epoch from expires_at - clock_timestamp()), 0)::float8
			from stark.leader_lease where name = @name and isfinite(expires_at)), 0)`

// campaign tries to take the lease. The term has no epoch where somebody else holds
// it; left is for how long yet, unless they renew it.
func (db *DB) campaign(ctx context.Context) (won term, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseCall)
	defer cancel()
	var seconds float64
	err = db.read(ctx, "ask for the lease", service, func(b *pgx.Batch) { // repeating it is harmless
		b.Queue(campaignSQL, pgx.StrictNamedArgs{"name": leaderName, "holder": db.serverID, "ttl": leaseTTL.String()}).
			QueryRow(func(row pgx.Row) error { return row.Scan(&won.epoch, &won.since, &seconds) })
	})
	if err != nil {
		return term{}, 0, err
	}
	return won, time.Duration(seconds * float64(time.Second)), nil
}

// serve runs fn for one term. asked is when the lease was asked for: it counts
// from there by our own monotonic clock, whatever the clocks of others say.
func (db *DB) serve(ctx context.Context, t term, asked time.Time, fn func(context.Context) error) error {
	leader, cancel := context.WithCancelCause(context.WithValue(ctx, termKey{}, t))
	defer cancel(nil)
	db.term.current.Store(t.epoch)
	defer db.term.current.Store(0)
	db.log.Info("leading", slog.Int64("epoch", t.epoch))
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		db.keep(leader, t, asked)
		cancel(errLeaseLost)
	}()
	err := fn(leader)
	cancel(nil)
	<-kept
	db.resign(ctx, t)
	if errors.Is(context.Cause(leader), errLeaseLost) {
		return errLeaseLost
	}
	return err
}

// keep renews the lease until ctx ends or it is lost.
func (db *DB) keep(ctx context.Context, t term, asked time.Time) {
	expires := asked.Add(leaseTTL - leaseMargin)
	wait := leaseRenew
	for {
		timer := time.NewTimer(min(wait, time.Until(expires)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if !time.Now().Before(expires) {
			return
		}
		started := time.Now()
		held, err := db.renew(ctx, t, time.Until(expires))
		switch {
		case err != nil:
			wait = leaseRetry
		case !held:
			return
		default:
			expires, wait = started.Add(leaseTTL-leaseMargin), leaseRenew
		}
	}
}

func (db *DB) renew(ctx context.Context, t term, left time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, min(leaseCall, left))
	defer cancel()
	var held int
	err := db.read(ctx, "renew the lease", service, func(b *pgx.Batch) {
		b.Queue(`with l as (
				update stark.leader_lease set expires_at = clock_timestamp() + @ttl::text::interval
				where name = @name and epoch = @epoch and holder = @holder returning 1)
			select count(*) from l`,
			pgx.StrictNamedArgs{"name": leaderName, "holder": db.serverID, "epoch": t.epoch, "ttl": leaseTTL.String()}).
			Query(one(&held, scanInt))
	})
	return held == 1, err
}

// resign lets the lease run out now and wakes the other candidates. Its failure
// costs them no more than the rest of the lease.
func (db *DB) resign(ctx context.Context, t term) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseCall)
	defer cancel()
	err := db.read(ctx, "give up the lease", service, func(b *pgx.Batch) {
		b.Queue(`update stark.leader_lease set expires_at = '-infinity' where name = $1 and epoch = $2`, leaderName, t.epoch)
		b.Queue("select pg_notify($1, $2)", channel, payloadResigned)
	})
	if err != nil {
		db.log.Warn("the leader's lease could not be given up", slog.Any("error", err))
	}
}

// leaseSQL is the common table expression that every write of a leader joins: no
// row means that the term is over. A renewal does not wait for this lock, a
// takeover does.
const leaseSQL = `lease as materialized (
	select l.epoch from stark.leader_lease l where l.name = 'leader' and l.epoch = @epoch for key share)`

// hold locks the lease row at the term's epoch for the rest of a transaction of
// several statements, or says that the term is over.
func hold(ctx context.Context, tx Tx, t term) error {
	var held int
	if err := tx.Query(ctx, one(&held, scanInt), "with "+leaseSQL+" select count(*) from lease",
		pgx.StrictNamedArgs{"epoch": t.epoch}); err != nil {
		return err
	}
	if held == 0 {
		return deposed(t)
	}
	return nil
}

// leading gives the term of ctx or a Stale fault.
func leading(ctx context.Context) (term, error) {
	t := termOf(ctx)
	if t.epoch == 0 {
		return t, fault.New(fault.Stale, "this server does not lead")
	}
	return t, nil
}

// deposed is the answer to a leader whose lease row has moved on.
func deposed(t term) error {
	return fault.New(fault.Stale, "the term with epoch %d is over", t.epoch)
}
