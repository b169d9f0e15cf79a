package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/tests/harness"
)

const (
	agentsTime   = 30 * time.Second // of the measurement: three heartbeats of each; one in a short run
	agentsSettle = 12 * time.Second // after the last has come: one heartbeat of each, which confirms its credential
)

// thousandAgents and tenThousandAgents are what connected nodes cost a server that has
// nothing else to do, and how soon all are back when it was killed. The agents are those
// of `stark sim agents`, in a process of their own.
func (b *bench) thousandAgents() stage {
	return b.agents([7]string{"agents.1k", "agents.1k.memory", "agents.1k.statements", "agents.1k.wal", "agents.connect.1k", "agents.1k.sockets", "agents.join.1k"}, 1000, always)
}

func (b *bench) tenThousandAgents() stage {
	return b.agents([7]string{"agents.10k", "agents.10k.memory", "agents.10k.statements", "agents.10k.wal", "agents.connect", "agents.10k.sockets", "agents.join"}, 10_000, inFull)
}

func (b *bench) agents(keys [7]string, n int, when when) stage {
	var c *harness.Cluster
	measured := keys[:]
	if n == livesOn {
		measured = append(measured, lives[:]...)
	}
	return stage{
		name: "a server for agents",
		open: func(ctx context.Context) (shut func(), err error) {
			// The server and the agents have a file each for each of them.
			var limit syscall.Rlimit
			if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < uint64(n)*6/5 { //nolint:gosec // n is not negative
				return nil, fmt.Errorf("%w: %d agents need more open files than %d: ulimit -n %d", errLeftOut, n, limit.Cur, n*6/5)
			}
			c, err = b.cluster(ctx, harness.Options{})
			return func() { closeCluster(ctx, c) }, err
		},
		steps: []step{{keys: measured, when: when, measure: func(ctx context.Context) error { return b.agentsOf(ctx, keys, n, c) }}},
	}
}

// burdenOf is what the cluster has done up to a moment.
type burdenOf struct {
	at               time.Time
	server, postgres time.Duration // of the CPU
	transactions     float64
	wal              float64 // bytes
	heartbeats       float64
}

func (b *bench) agentsOf(ctx context.Context, keys [7]string, n int, c *harness.Cluster) error {
	conn, err := pgx.Connect(ctx, c.Stack.DBURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "update public.cluster_config set max_total_nodes = 100000, heartbeat_interval_ms = 10000"); err != nil {
		return err
	}
	db, err := postmaster(ctx, conn)
	if err != nil {
		return err
	}
	return b.measureAgents(ctx, keys, n, c, conn, db)
}

// measureAgents compares a server without agents to the same one with them.
func (b *bench) measureAgents(ctx context.Context, keys [7]string, n int, c *harness.Cluster, conn *pgx.Conn, db int) error {
	pause(ctx, 3*time.Second)
	empty, err := residentMemory(c.Server.PID())
	if err != nil {
		return err
	}
	long := agentsTime
	if !b.full {
		long /= 3
	}
	before, err := openFiles(c.Server.PID())
	if err != nil {
		return err
	}
	idle, err := b.over(ctx, c, conn, db, long/2)
	if err != nil {
		return err
	}
	fleet, end, err := b.join(ctx, keys[6], c, n)
	if err != nil {
		return err
	}
	defer end()
	pause(ctx, agentsSettle)
	busy, err := b.over(ctx, c, conn, db, long)
	if err != nil {
		return err
	}
	full, err := residentMemory(c.Server.PID())
	if err != nil {
		return err
	}
	after, err := openFiles(c.Server.PID())
	if err != nil {
		return err
	}
	b.cost(keys, n, idle, busy, (full-empty)*1024/float64(n), float64(after-before)/float64(n))
	if err := b.comeBack(ctx, keys[4], c, fleet, db, n); err != nil || n != livesOn {
		return err
	}
	return b.measureLives(ctx, c, conn, db)
}

// over gives what the cluster does in a time, per second.
func (b *bench) over(ctx context.Context, c *harness.Cluster, conn *pgx.Conn, db int, d time.Duration) (burdenOf, error) {
	before, err := burdenNow(ctx, c, conn, db)
	if err != nil {
		return before, err
	}
	pause(ctx, d)
	after, err := burdenNow(ctx, c, conn, db)
	if err != nil {
		return after, err
	}
	s := after.at.Sub(before.at).Seconds()
	return burdenOf{
		server: time.Duration(float64(after.server-before.server) / s), postgres: time.Duration(float64(after.postgres-before.postgres) / s),
		transactions: (after.transactions - before.transactions) / s, wal: (after.wal - before.wal) / s,
		heartbeats: (after.heartbeats - before.heartbeats) / s,
	}, ctx.Err()
}

func burdenNow(ctx context.Context, c *harness.Cluster, conn *pgx.Conn, db int) (burdenOf, error) {
	now := burdenOf{at: time.Now()}
	var err error
	if now.server, err = cpuOfProcess(c.Server.PID()); err != nil {
		return now, err
	}
	if now.postgres, err = cpuOfFamily(db); err != nil {
		return now, err
	}
	// What a backend has done shows here a second after it, for all of them alike.
	err = conn.QueryRow(ctx, `select (select sum(xact_commit + xact_rollback) from pg_stat_database where datname = current_database())::float8,
		pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8`).Scan(&now.transactions, &now.wal)
	if err != nil {
		return now, err
	}
	now.heartbeats, err = counter(ctx, c, `stark_ws_messages_received_total{type="node:heartbeat"}`)
	return now, err
}

// cost records what n connected agents cost, beyond what the server costs without any.
func (b *bench) cost(keys [7]string, n int, idle, busy burdenOf, memory, sockets float64) {
	setup := fmt.Sprintf("%d agents without pods, heartbeats every 10 s (%.0f/s), load average %s", n, busy.heartbeats, load())
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() }
	b.figures[keys[0]] = figure{
		Value: percent(busy.server), Unit: "%",
		Setup: fmt.Sprintf("of one core, the server; Postgres %.1f %%; without agents %.1f and %.1f %%; %s", percent(busy.postgres), percent(idle.server), percent(idle.postgres), setup),
	}
	b.figures[keys[1]] = figure{Value: memory, Unit: "KiB", Setup: "resident memory of the server for each agent; " + setup}
	b.figures[keys[5]] = figure{Value: sockets, Unit: "files", Setup: "open files of the server for each agent, which are its sockets; " + setup}
	b.figures[keys[2]] = figure{
		Value: max(busy.transactions-idle.transactions, 0), Unit: "/s", // fewer with them is noise
		Setup: fmt.Sprintf("transactions of one statement beyond those of the server alone: %.1f/s with agents, %.1f/s without; %s", busy.transactions, idle.transactions, setup),
	}
	b.figures[keys[3]] = figure{
		Value: (busy.wal - idle.wal) / max(busy.heartbeats, 1), Unit: "bytes",
		Setup: fmt.Sprintf("WAL for each heartbeat, beyond the %.0f bytes/s without agents; %s", idle.wal, setup),
	}
}

// comeBack kills the server, starts it again and waits until every agent is back.
func (b *bench) comeBack(ctx context.Context, key string, c *harness.Cluster, fleet *harness.Process, db, n int) error {
	postgres, err := cpuOfFamily(db)
	if err != nil {
		return err
	}
	agents, err := cpuOfProcess(fleet.PID())
	if err != nil {
		return err
	}
	c.Server.Kill()
	begin := time.Now()
	if err := c.StartServer(ctx); err != nil {
		return err
	}
	ready := time.Since(begin)
	if err := connected(ctx, c, fleet, n); err != nil {
		return err
	}
	took := time.Since(begin)
	server, err := cpuOfProcess(c.Server.PID()) // a new process: from its start
	if err != nil {
		return err
	}
	postgresNow, err := cpuOfFamily(db)
	if err != nil {
		return err
	}
	agentsNow, err := cpuOfProcess(fleet.PID())
	if err != nil {
		return err
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(n) }
	b.figures[key] = figure{
		Value: took.Seconds(), Unit: "s",
		Setup: fmt.Sprintf("server killed and started at once, until all %d agents have registered again; it was ready after %.1f s; CPU for each: server %.2f ms, Postgres %.2f ms, the agent itself %.2f ms; load average %s",
			n, ready.Seconds(), each(server), each(postgresNow-postgres), each(agentsNow-agents), load()),
	}
	return nil
}

// join starts agents whose nodes are new, and waits until all are in. They join by tokens
// of 1,000 uses. A user reads meanwhile, whom they must not keep waiting.
func (b *bench) join(ctx context.Context, key string, c *harness.Cluster, n int) (fleet *harness.Process, end func(), err error) {
	begin := time.Now()
	if fleet, end, err = b.fleet(c, n); err != nil {
		return nil, nil, err
	}
	reading, stop := context.WithCancel(ctx)
	slowest := make(chan time.Duration, 1)
	go func() { slowest <- slowestRead(reading, c) }()
	err = connected(ctx, c, fleet, n)
	took := time.Since(begin)
	stop()
	read := <-slowest
	if err != nil {
		end()
		return nil, nil, err
	}
	b.figures[key] = figure{
		Value: took.Seconds(), Unit: "s",
		Setup: fmt.Sprintf("agents started until all %d new nodes have registered by join tokens of 1,000 uses; the slowest list of nodes of a user meanwhile took %d ms; load average %s",
			n, read.Milliseconds(), load()),
	}
	return fleet, end, nil
}

// slowestRead reads as a user until ctx ends, and gives how long the slowest answer took.
// One that fails takes until the next that does not.
func slowestRead(ctx context.Context, c *harness.Cluster) (slowest time.Duration) {
	const every = 20 * time.Millisecond
	begin := time.Now()
	for ctx.Err() == nil {
		_, err := c.Client.ListNodes(ctx, api.NodeQuery{PageQuery: api.PageQuery{PageSize: 1}})
		if ctx.Err() != nil {
			break
		}
		slowest = max(slowest, time.Since(begin))
		pause(ctx, every)
		if err == nil {
			begin = time.Now()
		}
	}
	return slowest
}

// fleet starts simulated agents; end takes them away without a goodbye.
func (b *bench) fleet(c *harness.Cluster, n int, flags ...string) (p *harness.Process, end func(), err error) {
	p, err = harness.Launch(harness.Spec{
		Name: "agents", Path: b.stark, Dir: c.Dir, Args: append([]string{"sim", "agents", "-n", strconv.Itoa(n), "--open", "-o", "json"}, flags...),
		Env: []string{"STARK_HOME=" + filepath.Join(c.Dir, "home"), "STARK_API_URL=" + c.URL, "STARK_TOKEN=" + c.Session.AccessToken},
	})
	return p, func() { p.Kill() }, err
}

// connected waits until so many nodes are connected to the server.
func connected(ctx context.Context, c *harness.Cluster, fleet *harness.Process, n int) error {
	ctx, stop := context.WithTimeout(ctx, 10*waitLimit)
	defer stop()
	for {
		now, err := counter(ctx, c, "stark_ws_nodes")
		if err == nil && int(now) >= n {
			return nil
		}
		select {
		case <-fleet.Done():
			return fmt.Errorf("the agents have ended:\n%s", fleet.Output())
		case <-ctx.Done():
			return fmt.Errorf("%.0f of %d agents are connected: %w\n%s", now, n, ctx.Err(), fleet.Output())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// counter reads a figure of the server's metrics; what has not been counted yet is 0.
func counter(ctx context.Context, c *harness.Cluster, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("/metrics: %s", resp.Status)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, nil
}
