package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/stark-orchestrator/stark/core/store"
)

// The limits of every connection. No statement of a request takes long; what
// takes longer is stuck and must not hold its locks.
const (
	statementTimeout = 15 * time.Second
	lockTimeout      = 5 * time.Second
	idleTxTimeout    = 10 * time.Second
	connectTimeout   = 5 * time.Second
	keepAlive        = 15 * time.Second

	// Of one call, including waiting for a connection.
	callTimeout  = 20 * time.Second
	writeTimeout = 8 * time.Second // of a user
	readTimeout  = 4 * time.Second // the read model can answer instead
	awayTimeout  = time.Second     // of a user while the database is known to be away

	transactionPoolerPort = 6543 // Supavisor's and the dedicated pooler's transaction mode
	defaultPoolSize       = 8

	statementsEach = 2 // for calls of one kind that share statements
)

// limits are those of every connection by the names that Postgres has for them.
var limits = map[string]time.Duration{
	"statement_timeout": statementTimeout, "lock_timeout": lockTimeout, "idle_in_transaction_session_timeout": idleTxTimeout,
}

// Config says how to reach the database.
type Config struct {
	URL       string // of the pool: direct, session or transaction pooler
	ListenURL string // of LISTEN: direct or session mode; default URL
	PoolSize  int32  // default 8
	ServerID  string // names this server in leases and notifications; default: random
	Logger    *slog.Logger
	// QueryExecMode overrides how statements are sent. The zero value prepares and
	// caches them; behind a transaction pooler (port 6543) it is pgx.QueryExecModeExec.
	QueryExecMode pgx.QueryExecMode
	// OnStale is told when the feed loses the database and when it is back.
	OnStale func(stale bool)
	// OnEnded is told by a running Feed which sessions of users may have ended, and
	// the credentials of which nodes may have. It must not block.
	OnEnded func(sessions, nodes []string)
	// Store is what a running Feed fills; nil for none. With it lists of pods need less
	// of the database.
	Store   *store.Store
	Metrics prometheus.Registerer // nil for none
	// Tracer is told of every statement of the pool; nil for none. It sees arguments,
	// which hold what users have sent, so it must write none of them down.
	Tracer pgx.QueryTracer
}

// DB is the server's database. It is safe for concurrent use.
type DB struct {
	pool           *pgxpool.Pool
	listen         *pgx.ConnConfig
	log            *slog.Logger
	serverID       string
	role           string
	pooled         atomic.Bool // through a pooler in transaction mode
	onStale        func(bool)
	onEnded        func(sessions, nodes []string)
	skipped        *prometheus.CounterVec // rows that the feed left out
	model          *store.Store           // what the feed fills; nil for none
	own            ownWrites
	unread         unreadPods
	listening      sync.Map // not a cache: *feed of each running Feed, woken by own commits
	announce       chan struct{}
	resigned       chan struct{} // wakes a candidate when some leader has resigned
	creates        createQueue
	reads          readQueue
	shown          together[shownCredential]
	joins          together[joining]
	joinsHeld      together[joining] // those whose names or proposals somebody else holds
	returns        together[returning]
	wanted         together[wantedOf]
	reports        together[reporting]
	reportsCounted together[reporting] // those that wait for namespaces
	reportsHeld    together[reporting] // those that wait for pods
	refused        together[refusedCreates]
	term           termState
	away           atomic.Bool // the feed has lost the database
	clock          clock
	suspect        atomic.Int64
	probes         singleflight.Group
	stop           context.CancelFunc
	done           chan struct{}
}

// Open prepares the pool; it connects only when needed, so that a server can
// start before its database does. ctx ends what Open starts in the background.
func Open(ctx context.Context, c Config) (*DB, error) {
	cfg, err := poolConfig(c)
	if err != nil {
		return nil, err
	}
	listen := cfg.ConnConfig.Copy()
	if c.ListenURL != "" {
		if listen, err = pgx.ParseConfig(c.ListenURL); err != nil {
			return nil, fmt.Errorf("parse the URL for LISTEN: %w", err)
		}
	}
	for name := range limits {
		delete(listen.RuntimeParams, name) // a pooler would refuse them, and LISTEN needs none
	}
	if listen.RuntimeParams["application_name"] == "" || c.ListenURL == "" {
		listen.RuntimeParams["application_name"] = "stark-feed"
	}
	tune(listen)
	db := &DB{
		listen: listen, log: c.Logger, serverID: c.ServerID,
		role: cfg.ConnConfig.User, onStale: c.OnStale, onEnded: c.OnEnded,
		skipped:  newSkipped(c.Metrics),
		model:    c.Store,
		own:      ownWrites{unasked: c.Store == nil},
		announce: make(chan struct{}, 1), resigned: make(chan struct{}, 1), done: make(chan struct{}),
	}
	db.shown = together[shownCredential]{most: maxShown, each: statementsEach, serve: db.lookUp}
	db.returns = together[returning]{most: maxReturning, each: statementsEach, serve: db.takeBack}
	// Whoever joins may wait for a token, and leaves most connections to others.
	db.joins = together[joining]{most: maxJoining, each: max(1, min(statementsEach, int(cfg.MaxConns)/4)), serve: db.joinAll}
	db.joinsHeld = together[joining]{most: 1, each: 1, serve: db.joinHeld}
	db.wanted = together[wantedOf]{most: maxWanted, each: statementsEach, serve: db.readWanted}
	db.reports = together[reporting]{most: maxReporting, each: statementsEach, serve: db.reportAll}
	db.reportsCounted = together[reporting]{most: maxReporting, each: 1, serve: db.reportCounted}
	db.reportsHeld = together[reporting]{most: 1, each: statementsEach, serve: db.reportHeld}
	db.refused = together[refusedCreates]{most: 1, each: statementsEach, serve: db.createRefused}
	db.pooled.Store(cfg.ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement)
	cfg.BeforeConnect, cfg.AfterConnect = db.beforeConnect, connected
	if db.pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.serverID == "" {
		db.serverID = randomID()
	}
	bg, cancel := context.WithCancel(context.WithoutCancel(ctx))
	db.stop = cancel
	go db.announcer(bg)
	return db, nil
}

// connectedAt is under what a connection of the pool tells since when it is there.
const connectedAt = "connectedAt"

// connected prepares a new connection of the pool.
func connected(_ context.Context, conn *pgx.Conn) error {
	conn.PgConn().CustomData()[connectedAt] = time.Now()
	documents(conn)
	return nil
}

// poolConfig turns Config into pgxpool's.
func poolConfig(c Config) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the database URL: %w", err)
	}
	cfg.MaxConns = defaultPoolSize
	if c.PoolSize > 0 {
		cfg.MaxConns = c.PoolSize
	}
	conn := cfg.ConnConfig
	switch {
	case c.QueryExecMode != 0:
		conn.DefaultQueryExecMode = c.QueryExecMode
	case conn.Port == transactionPoolerPort && conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement:
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if conn.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		return nil, errors.New("parse the database URL: the simple protocol is not supported")
	}
	tune(conn)
	conn.Tracer = c.Tracer
	if conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		// A transaction pooler refuses these as start-up parameters; there the
		// settings statement of each transaction sets them.
		for name, limit := range limits {
			conn.RuntimeParams[name] = millis(limit)
		}
	}
	return cfg, nil
}

// tune sets what every connection of ours has in common.
func tune(c *pgx.ConnConfig) {
	c.ConnectTimeout = connectTimeout
	c.DialFunc = (&net.Dialer{KeepAlive: keepAlive, Timeout: connectTimeout}).DialContext
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "stark-server"
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Close waits for creates and reads that are under way and for connections in use, and
// ends the announcer and the pool. Nothing may be called on DB any more.
func (db *DB) Close() {
	db.creates.wg.Wait()
	db.reads.wg.Wait()
	db.shown.wg.Wait()
	db.joins.wg.Wait()
	db.joinsHeld.wg.Wait()
	db.returns.wg.Wait()
	db.wanted.wg.Wait()
	db.reports.wg.Wait()
	db.reportsCounted.wg.Wait()
	db.reportsHeld.wg.Wait()
	db.refused.wg.Wait()
	db.stop()
	<-db.done
	db.pool.Close()
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := db.once(ctx, func(ctx context.Context, conn *pgx.Conn) error { return conn.Ping(ctx) }); err != nil {
		return toFault("ping", err)
	}
	return nil
}

// ServerRole is the role that the server logs in as.
func (db *DB) ServerRole() string { return db.role }

// ServerID names this server in leases and notifications.
func (db *DB) ServerID() string { return db.serverID }
