package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// looselySQL lets the commit of what follows be written with the next one that is
// waited for. Postgres writes commits in order: so no object can be on disk without
// the claim that it was made under, and a lost answer leaves a claim that is taken over.
const looselySQL = "select set_config('synchronous_commit', 'off', true)"

const claimSQL = `insert into stark.idempotent_writes as w (owner, key_hash, fingerprint, claim, held_until)
	values (@owner, @hash, @fingerprint, @claim, now() + @hold::text::interval)
	on conflict (owner, key_hash) do update set claim = excluded.claim, held_until = excluded.held_until
		where w.answer is null and w.fingerprint = excluded.fingerprint and (w.held_until <= now() or w.claim = excluded.claim)
	returning xmax <> 0`

// ClaimWrite asks to make a write that must happen once. Of those who ask with one
// key, one at a time is told that it is theirs; the others see the answer when there
// is one. Who asks again for what is theirs holds it for longer. It acts as the service
// on rows of w.Owner alone.
func (db *DB) ClaimWrite(ctx context.Context, w idempotency.Write) (idempotency.Claim, error) {
	var found []idempotency.Claim
	var again []bool
	err := db.loosely(ctx, "claim a write", func(b *pgx.Batch) {
		b.Queue("delete from stark.idempotent_writes where owner = $1 and key_hash = $2 and created_at < now() - $3::text::interval",
			w.Owner, w.Hash, idempotency.Retention.String())
		b.Queue(claimSQL, pgx.StrictNamedArgs{
			"owner": w.Owner, "hash": w.Hash, "fingerprint": w.Fingerprint, "claim": w.Claim, "hold": w.Hold.String(),
		}).Query(all(&again, scanBool))
		b.Queue(`select w.claim = $3 and w.answer is null, w.fingerprint <> $4, w.object_id::text, w.answer
			from stark.idempotent_writes w where w.owner = $1 and w.key_hash = $2`, w.Owner, w.Hash, w.Claim, w.Fingerprint).
			Query(all(&found, func(row pgx.CollectableRow) (idempotency.Claim, error) {
				var c idempotency.Claim
				err := row.Scan(&c.Mine, &c.Other, &c.ObjectID, &c.Sealed)
				return c, err
			}))
	})
	if err != nil || len(found) == 0 { // given up by its first request in between
		return idempotency.Claim{}, err
	}
	c := found[0]
	c.Again = len(again) > 0 && again[0]
	return c, nil
}

// AnswerWrite keeps the answer of a write that this request has claimed; without an
// answer nobody takes the write over until it is forgotten.
func (db *DB) AnswerWrite(ctx context.Context, w idempotency.Write, sealed []byte) error {
	return db.loosely(ctx, "answer a write", func(b *pgx.Batch) {
		b.Queue(`update stark.idempotent_writes set answer = $4, held_until = now()
			where owner = $1 and key_hash = $2 and claim = $3 and answer is null`, w.Owner, w.Hash, w.Claim, sealed)
	})
}

// ReleaseWrite gives a claim up. What surely changed nothing is forgotten; else the
// next try goes on with the same object.
func (db *DB) ReleaseWrite(ctx context.Context, w idempotency.Write, forget bool) error {
	sql := "update stark.idempotent_writes set held_until = now() where owner = $1 and key_hash = $2 and claim = $3 and answer is null"
	if forget {
		sql = "delete from stark.idempotent_writes where owner = $1 and key_hash = $2 and claim = $3 and answer is null"
	}
	return db.loosely(ctx, "release a write", func(b *pgx.Batch) { b.Queue(sql, w.Owner, w.Hash, w.Claim) })
}

// loosely runs statements that may be repeated, that nobody watches, and whose commit
// nobody waits for.
func (db *DB) loosely(ctx context.Context, op string, build func(*pgx.Batch)) error {
	limit := db.patience(door{role: roleAuthenticated}, writeTimeout)
	return db.retry(ctx, op, limit, true, db.implicit(service, func(b *pgx.Batch) {
		b.Queue(looselySQL)
		build(b)
	}))
}

// orNewID is the id that a request brings, or a new one.
func orNewID(id string) string {
	if id == "" {
		return api.NewID()
	}
	return id
}

// madeBefore gives what an earlier try of the same write has left under its id, where
// the write is refused because there is something. Anything else is as it was.
func madeBefore[T any](made T, err error, id string, get func() (T, error)) (T, error) {
	if id == "" || fault.CodeOf(err) != fault.Conflict {
		return made, err
	}
	if found, getErr := get(); getErr == nil {
		return found, nil
	}
	return made, err
}
