package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// row is one measurement: its key and what it should reach.
type row struct {
	key    string
	target string // some of "p50 <= 20 ms", "p99 <= 60 ms" or ">= 8000/s", separated by ", "
}

const none = "-" // no target

// rows are in the order in which they are printed.
var rows = []row{
	{"deploy.running", "p50 <= 20 ms, p99 <= 60 ms"},
	{"deploy.running.nopool", "p50 <= 90 ms, p99 <= 180 ms"},
	{"deploy.running.cold", "p50 <= 50 ms"},
	{"deploy.burst50", "<= 1800 ms"},
	{"deploy.burst50.shared", "<= 1100 ms"},
	{"machine.node50", none},
	{"rollback", "p50 <= 150 ms"},
	{"stop", "p50 <= 30 ms"},
	{"node.lost", "p99 <= 250 ms"},
	{"failover.term", "<= 500 ms"},
	{"failover.kill", "<= 16000 ms"},
	{"watch.lag", "p50 <= 5 ms, p99 <= 25 ms"},
	{"watch.memory", none},
	{"watch.cpu", none},
	{"logs", ">= 20000/s"},
	{"logs.agent.cpu", none},
	{"logs.server.cpu", none},
	{"logs.crowd", none},
	{"logs.crowd.rss", "<= 300 MiB"},
	{"dev.ready.first", "<= 8000 ms"},
	{"dev.ready", "<= 3000 ms"},
	{"server.ready", "<= 1000 ms"},
	{"schedule.bound.1k", ">= 12000 pods/s"},
	{"schedule.bound.1k.cpu", "<= 0.4 ms"},
	{"schedule.bound.5k", ">= 10000 pods/s"},
	{"schedule.bound.5k.cpu", "<= 0.4 ms"},
	{"schedule.latency", "p50 <= 4 ms, p99 <= 10 ms"},
	{"plan.pod.100", none},
	{"plan.pod.1000", "<= 25 us"},
	{"plan.pod.10000", "<= 250 us"},
	{"explain", "<= 20 ms"},
	{"binary.size", none},
	{"binary.size.server", none},
	{"tab.size", "<= 0.80 MB"},
	{"tab.registered", "p50 <= 500 ms"},
	{"tab.running", "p50 <= 80 ms"},
	{"server.rss.empty", "<= 50 MiB"},
	{"server.rss", "<= 300 MiB"},
	{"rest.read", ">= 8000/s, p99 <= 15 ms"},
	{"rest.read.users", none},
	{"rest.list", "p99 <= 20 ms"},
	{"rest.create", ">= 5000/s, p99 <= 60 ms"},
	{"rest.create.users", none},
	{"rest.create.bulk", ">= 20000 pods/s"},
	{"agents.1k", none},
	{"agents.1k.memory", none},
	{"agents.1k.sockets", none},
	{"agents.1k.statements", none},
	{"agents.1k.wal", none},
	{"agents.connect.1k", none},
	{"agents.join.1k", none},
	{"agents.1k.running", none},
	{"agents.1k.pod", none},
	{"agents.10k", "<= 25 %"},
	{"agents.10k.memory", "<= 32 KiB"},
	{"agents.10k.sockets", none},
	{"agents.10k.statements", "<= 2/s"},
	{"agents.10k.wal", "<= 150 bytes"},
	{"agents.connect", "<= 20 s"},
	{"agents.join", none},
	{"scale.1k", none},
	{"scale.1k.ready", none},
	{"scale.1k.rss", none},
	{"scale.1k.list", none},
	{"scale.10k", none},
	{"scale.10k.ready", none},
	{"scale.10k.rss", none},
	{"scale.10k.list", none},
	{"scale.100k", none},
	{"scale.100k.ready", none},
	{"scale.100k.rss", none},
	{"scale.100k.list", none},
}

var goalForm = regexp.MustCompile(`^(?:(p50|p99) )?(<=|>=) ([0-9.]+) ?(\S.*)$`)

// goal is one part of a target.
type goal struct {
	quantile string // "p50", "p99", or "" for the figure itself
	atLeast  bool   // or at most
	limit    float64
	unit     string
}

func goals(target string) ([]goal, error) {
	if target == none {
		return nil, nil
	}
	var all []goal
	for part := range strings.SplitSeq(target, ", ") {
		m := goalForm.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("%q is no target", part)
		}
		limit, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, err
		}
		all = append(all, goal{m[1], m[2] == ">=", limit, m[4]})
	}
	return all, nil
}

// missed says by how much a figure misses a target; nothing if it meets it.
func missed(f figure, target string) (string, error) {
	all, err := goals(target)
	if err != nil {
		return "", err
	}
	var by []string
	for _, g := range all {
		value, unit := f.Value, f.Unit
		switch g.quantile {
		case "p50":
			value, unit = f.P50, cmp.Or(f.Latency, f.Unit)
		case "p99":
			value, unit = f.P99, cmp.Or(f.Latency, f.Unit)
		}
		if unit != g.unit {
			return "", fmt.Errorf("a figure in %s has a target in %s", unit, g.unit)
		}
		over := value/g.limit - 1
		if g.atLeast {
			over = 1 - value/g.limit
		}
		if over > 0 {
			digits := 0
			if over < 0.1 {
				digits = 1
			}
			by = append(by, strings.TrimSpace(fmt.Sprintf("%s by %.*f %%", g.quantile, digits, 100*over)))
		}
	}
	return strings.Join(by, ", "), nil
}
