package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	quiet        = 5 * time.Second // without notification before the connection is tested
	pingTimeout  = 3 * time.Second
	selfTestTime = 3 * time.Second
	backOffMin   = 100 * time.Millisecond
	backOffMax   = 5 * time.Second
	deafRetry    = time.Minute // before LISTEN is tried again where the self-test failed
)

// ErrDeaf says that notifications do not arrive on a connection that listens: it
// goes through a transaction pooler.
var ErrDeaf = errors.New("notifications do not arrive: LISTEN needs a direct or session connection")

// listen holds the LISTEN connection, for ever. It only wakes the reader: what
// changed is in the log.
func (f *feed) listen(ctx context.Context) {
	wait := backOffMin
	told := false // once is enough while the connection fails for the same reason
	for first := true; ctx.Err() == nil; first = false {
		heard, err := f.listenOnce(ctx, func() {
			if !first { // nobody would have heard of a crash since the last try
				f.cut.Store(true)
			}
			f.heard(true)
		})
		if heard {
			f.cut.Store(true)
		}
		f.heard(false)
		switch {
		case ctx.Err() != nil:
			return
		case heard:
			wait, told = backOffMin, false
			f.db.log.Warn("LISTEN connection lost, polling until it is back", slog.Any("error", err))
		case errors.Is(err, ErrDeaf):
			wait = deafRetry
			f.db.log.Warn("polling for changes", slog.Any("error", err))
		case !told:
			told = true
			f.db.log.Warn("LISTEN connection cannot be made, polling until it can", slog.Any("error", err))
		}
		timer := time.NewTimer(wait + rand.N(wait))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(wait*2, backOffMax)
	}
}

// heard tells the reader whether LISTEN works; only the newest word counts.
func (f *feed) heard(ok bool) {
	for {
		select {
		case f.listened <- ok:
			return
		default:
		}
		select {
		case <-f.listened:
		default:
		}
	}
}

// listenOnce listens on one connection until it fails, and calls works once it is known
// to work. heard says that it did.
func (f *feed) listenOnce(ctx context.Context, works func()) (heard bool, err error) {
	conn, err := f.tested(ctx)
	if err != nil {
		return false, err
	}
	defer hangUp(ctx, conn)
	works() // listening first, then the reader catches up
	for {
		n, err := waitNotification(ctx, conn, quiet)
		switch {
		case err == nil:
			f.dispatch(n)
		case ctx.Err() != nil:
			return true, ctx.Err()
		case pgconn.Timeout(err):
			if err := checkListening(ctx, conn); err != nil {
				return true, err
			}
		default:
			return true, fmt.Errorf("wait for notification: %w", err)
		}
	}
}

// tested gives a connection that listens, and that has been found to hear.
func (f *feed) tested(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, f.db.listen.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect for LISTEN: %w", err)
	}
	if _, err = conn.Exec(ctx, "listen "+channel); err != nil {
		err = fmt.Errorf("listen: %w", err)
	} else {
		err = f.selfTest(ctx, conn)
	}
	if err != nil {
		hangUp(ctx, conn)
		return nil, err
	}
	return conn, nil
}

func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// TestListen reports whether notifications arrive: ErrDeaf where they do not.
func (db *DB) TestListen(ctx context.Context) error {
	f := &feed{db: db, wake: make(chan struct{}, 1)}
	conn, err := f.tested(ctx)
	if err != nil {
		return err
	}
	hangUp(ctx, conn)
	return nil
}

// dispatch wakes whom a notification concerns. Our own announcements are old
// news: committed has woken the reader already.
func (f *feed) dispatch(n *pgconn.Notification) {
	switch n.Payload {
	case f.db.serverID:
	case payloadResigned:
		poke(f.db.resigned)
	default:
		poke(f.wake)
	}
}

// selfTest sends a notification through the pool and waits for it here.
func (f *feed) selfTest(ctx context.Context, conn *pgx.Conn) error {
	word := "test " + randomID()
	if err := f.db.notify(ctx, word); err != nil {
		return fmt.Errorf("test LISTEN: %w", err)
	}
	deadline := time.Now().Add(selfTestTime)
	for {
		n, err := waitNotification(ctx, conn, time.Until(deadline))
		switch {
		case err == nil && n.Payload == word:
			return nil
		case err == nil:
			f.dispatch(n)
		case ctx.Err() == nil && pgconn.Timeout(err):
			unlisten(ctx, conn)
			return ErrDeaf
		default:
			return fmt.Errorf("test LISTEN: %w", err)
		}
	}
}

// unlisten takes back what a transaction pooler may have kept: the connection of
// its own that took our LISTEN would go on listening for whoever uses it next. It
// may meet another of them, and then a hint too many does no harm.
func unlisten(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, _ = conn.Exec(ctx, "unlisten *")
}

func waitNotification(ctx context.Context, conn *pgx.Conn, limit time.Duration) (*pgconn.Notification, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return conn.WaitForNotification(ctx)
}

// checkListening finds a connection that is dead, or alive without its LISTEN.
func checkListening(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var listening bool
	err := conn.QueryRow(ctx, "select exists (select from pg_listening_channels() c where c = $1)", channel).Scan(&listening)
	if err != nil {
		return fmt.Errorf("test the LISTEN connection: %w", err)
	}
	if !listening {
		return ErrDeaf
	}
	return nil
}
