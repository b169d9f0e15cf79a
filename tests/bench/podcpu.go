package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// podCPU is the time of the CPU that each side of running pods has taken; hosts are the
// Node.js processes that the agent has started.
type podCPU struct{ server, postgres, agent, hosts time.Duration }

func (c podCPU) add(o podCPU, times time.Duration) podCPU {
	return podCPU{c.server + times*o.server, c.postgres + times*o.postgres, c.agent + times*o.agent, c.hosts + times*o.hosts}
}

// each says what one of n pods has cost.
func (c podCPU) each(n int) string {
	ms := func(d time.Duration) float64 { return 1000 * d.Seconds() / float64(n) }
	return fmt.Sprintf("server %.1f, Postgres %.1f, agent %.1f, its processes %.1f ms", ms(c.server), ms(c.postgres), ms(c.agent), ms(c.hosts))
}

// cpu gives what the cluster has spent so far.
func (d *bed) cpu(ctx context.Context) (sum podCPU, err error) {
	conn, err := pgx.Connect(ctx, d.Stack.DBURL)
	if err != nil {
		return sum, err
	}
	defer func() { _ = conn.Close(ctx) }()
	db, err := postmaster(ctx, conn)
	if err != nil {
		return sum, err
	}
	if sum.postgres, err = cpuOfFamily(db); err != nil {
		return sum, err
	}
	if sum.server, err = cpuOfProcess(d.Server.PID()); err != nil {
		return sum, err
	}
	if sum.agent, err = cpuOfProcess(d.agent.PID()); err != nil {
		return sum, err
	}
	family, err := cpuOfFamily(d.agent.PID())
	sum.hosts = family - sum.agent
	return sum, err
}
