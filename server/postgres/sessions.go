package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// EndedSessions gives those of the named sessions of Supabase Auth that are over.
// known is false where this project does not let us see.
func (db *DB) EndedSessions(ctx context.Context, ids []string) (ended []string, known bool, err error) {
	err = db.read(ctx, "check sessions", service, func(b *pgx.Batch) {
		b.Queue("select a is not null, coalesce(a, '{}')::text[] from stark.ended_sessions($1::text[]::uuid[]) a", ids).
			Query(func(rows pgx.Rows) error {
				for rows.Next() {
					if err := rows.Scan(&known, &ended); err != nil {
						return err
					}
				}
				return rows.Err()
			})
	})
	return ended, known, err
}

// ticketLife is how long a ticket for a socket may lie unused, and maxTickets how
// many of them a user may have at a time.
const (
	ticketLife = 30 * time.Second
	maxTickets = 32
)

// CreateTicket makes a ticket that opens one socket as the caller.
func (db *DB) CreateTicket(ctx context.Context, id access.Identity) (api.Ticket, error) {
	if id.NodeID != "" || id.Anonymous || !api.ValidID(id.UserID) {
		return api.Ticket{}, fault.New(fault.Forbidden, "tickets are for signed-in users")
	}
	secret := newSecret(api.TicketPrefix)
	var made []time.Time
	err := db.write(ctx, "create ticket", service, func(b *pgx.Batch) {
		b.Queue("delete from stark.ws_tickets where user_id = $1 and expires_at <= now()", id.UserID)
		b.Queue(`insert into stark.ws_tickets (secret_hash, user_id, session_id, token_expires_at, expires_at)
			select $1, $2, $3::text::uuid, $4, now() + $5::text::interval
			where (select count(*) from stark.ws_tickets t where t.user_id = $2) < $6 returning expires_at`,
			HashSecret(secret), id.UserID, orNull(id.SessionID), id.ExpiresAt, ticketLife.String(), maxTickets).
			Query(all(&made, func(row pgx.CollectableRow) (time.Time, error) {
				var at time.Time
				err := row.Scan(&at)
				return at, err
			}))
	})
	if err != nil {
		return api.Ticket{}, err
	}
	if len(made) == 0 {
		e := fault.New(fault.RateLimited, "you have %d unused tickets; each is good for %s", maxTickets, ticketLife)
		e.RetryAfter = ticketLife
		return api.Ticket{}, e
	}
	return api.Ticket{Ticket: secret, ExpiresAt: made[0]}, nil
}

// RedeemTicket uses a ticket up and gives whose it was, without roles.
func (db *DB) RedeemTicket(ctx context.Context, secret string) (access.Identity, error) {
	var id access.Identity
	var good bool
	err := db.write(ctx, "redeem ticket", service, func(b *pgx.Batch) {
		b.Queue(`delete from stark.ws_tickets where secret_hash = $1
			returning user_id::text, coalesce(session_id::text, ''), token_expires_at, expires_at > now() and token_expires_at > now()`,
			HashSecret(secret)).
			Query(one(&id, func(row pgx.CollectableRow) (access.Identity, error) {
				var id access.Identity
				err := row.Scan(&id.UserID, &id.SessionID, &id.ExpiresAt, &good)
				return id, err
			}))
	})
	if fault.CodeOf(err) == fault.NotFound || err == nil && !good {
		return access.Identity{}, fault.Wrap(err, fault.TokenInvalid, "the ticket is unknown, used or expired; ask for another")
	}
	return id, err
}
