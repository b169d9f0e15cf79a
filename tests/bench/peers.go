package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// pair is a row of Stark beside the one of a peer that does the same work.
type pair struct{ what, stark, peer string }

var pairs = []pair{
	{"start of one program until it says that it is there, by PM2's command", "deploy.running", "pm2.start"},
	{"the same by PM2's API", "deploy.running", "pm2.start.api"},
	{"stop of one program until it is gone, by PM2's command", "stop", "pm2.stop"},
	{"the same by PM2's API", "stop", "pm2.stop.api"},
	{"50 programs at once until all are there", "deploy.burst50", "pm2.burst50"},
	{"10,000 pods of mixed shapes bound to 1,000 nodes", "schedule.bound.1k", "kube.bound.1k"},
	{"CPU for each of them, with the database", "schedule.bound.1k.cpu", "kube.bound.1k.cpu"},
	{"the same on 5,000 nodes", "schedule.bound.5k", "kube.bound.5k"},
	{"CPU for each of them, with the database", "schedule.bound.5k.cpu", "kube.bound.5k.cpu"},
	{"from the answer to a create until the pod is bound, 100 a second", "schedule.latency", "kube.latency"},
	{"creates of one pod each", "rest.create", "kube.create"},
	{"reads of one pod", "rest.read", "kube.read"},
	{"lists of 100 of 10,000 pods by a label", "rest.list", "kube.list"},
	{"start of the server with 1,000 nodes and 10,000 pods", "server.ready", "kube.ready"},
	{"memory without nodes and pods, database left out", "server.rss.empty", "kube.rss.empty"},
	{"memory with 5,000 nodes and 10,000 pods, database left out", "server.rss", "kube.rss"},
}

// pairKeys are all rows that are compared.
func pairKeys() []string {
	var all []string
	for _, p := range pairs {
		all = append(all, p.stark, p.peer)
	}
	return all
}

// pairsUp reports whether some pair is measured on both sides.
func (b *bench) pairsUp() bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return slices.Contains(b.only, p.stark) && slices.Contains(b.only, p.peer) })
}

// pairNames are the pairs as -only takes them.
func pairNames() string {
	names := make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = p.stark + "," + p.peer
	}
	return strings.Join(names, " ")
}

// peerStages has each peer right behind the rows of Stark that it stands beside.
func (b *bench) peerStages() []stage {
	return []stage{
		b.oneNode(), b.pm2(), b.oneServer(), b.kubeAlone(),
		b.thousandNodes(), b.kubeThousand(), b.fiveThousandNodes(), b.kubeFiveThousand(),
	}
}

// ahead is by how much Stark is better: so many times as fast, or with so many times less.
func ahead(stark, peer figure) float64 {
	if strings.HasSuffix(stark.Unit, "/s") {
		return stark.Value / peer.Value
	}
	return peer.Value / stark.Value
}

// printPairs shows Stark beside its peers.
func (b *bench) printPairs(out io.Writer, took time.Duration) error {
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tStark\tpeer\tStark is ahead\tpeer's row and setup")
	shown := func(key string) (figure, string) {
		f, ok := b.figures[key]
		switch {
		case !ok && b.failed[key] != nil:
			return f, "failed"
		case !ok:
			return f, none
		case f.P99 > 0 && f.Samples != 1:
			return f, fmt.Sprintf("%.1f %s, p99 %.1f %s", f.Value, f.Unit, f.P99, cmp.Or(f.Latency, f.Unit))
		default:
			return f, fmt.Sprintf("%.1f %s", f.Value, f.Unit)
		}
	}
	for _, p := range pairs {
		stark, starkText := shown(p.stark)
		peer, peerText := shown(p.peer)
		if starkText == none && peerText == none {
			continue // not asked for
		}
		ratio := none
		if stark.Value > 0 && peer.Value > 0 {
			ratio = fmt.Sprintf("%.1f times", ahead(stark, peer))
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s: %s\n", p.what, starkText, peerText, ratio, p.peer, peer.Setup)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return b.printEnd(out, took)
}

// pm2 measures PM2 at the work of deploy.running, stop and deploy.burst50.
func (b *bench) pm2() stage {
	var p *pm2
	way := func(key string, ask func(ctx context.Context, what, name string) error) step {
		name := strings.ReplaceAll(key, ".", "")
		return step{keys: []string{"pm2.start" + key, "pm2.stop" + key}, measure: func(ctx context.Context) error {
			var starts, stops []time.Duration
			for i := range b.times(10, 30) + 1 {
				settle(ctx)
				started, stopped, err := p.once(ctx, fmt.Sprintf("one%s%d", name, i), ask)
				if err != nil {
					return err
				}
				if i > 0 { // the first one warms caches up
					starts, stops = append(starts, started), append(stops, stopped)
				}
			}
			setup := map[bool]string{true: "its command", false: "its API, connected before"}[key == ""]
			b.latencies("pm2.start"+key, "PM2 "+pm2Version+", one script asked for by "+setup+" until its first line", starts)
			b.latencies("pm2.stop"+key, "PM2 "+pm2Version+", by "+setup+" until the process is gone", stops)
			return nil
		}}
	}
	return stage{
		name: "PM2",
		open: func(ctx context.Context) (shut func(), err error) {
			p, err = b.openPM2(ctx)
			opened := p
			return func() {
				if err := opened.close(ctx); err != nil {
					fmt.Fprintln(b.errOut, "PM2 has not ended:", err)
				}
			}, err
		},
		steps: []step{
			way("", func(ctx context.Context, what, name string) error {
				if what == "stop" {
					return p.command(ctx, "stop", name)
				}
				return p.command(ctx, "start", p.file("app.js"), "--name", name)
			}),
			way(".api", func(ctx context.Context, what, name string) error {
				return p.driver.ask(ctx, what, name, p.file("app.js"))
			}),
			{keys: []string{"pm2.burst50"}, measure: func(ctx context.Context) error { return b.pm2Burst(ctx, p) }},
		},
	}
}

// pm2Burst starts fifty scripts of one ecosystem file.
func (b *bench) pm2Burst(ctx context.Context, p *pm2) error {
	var samples []time.Duration
	for round := range 3 {
		var apps strings.Builder
		name := func(i int) string { return fmt.Sprintf("burst%dn%d", round, i) }
		for i := range burstPods {
			fmt.Fprintf(&apps, "{ name: %q, script: %q },\n", name(i), p.file("app.js"))
		}
		file := p.file(fmt.Sprintf("burst%d.config.js", round))
		if err := os.WriteFile(file, []byte("module.exports = { apps: [\n"+apps.String()+"] };\n"), 0o600); err != nil {
			return err
		}
		settle(ctx)
		begin := time.Now()
		asked := make(chan error, 1)
		go func() { asked <- p.command(ctx, "start", file) }()
		var err error
		for i := range burstPods {
			if err == nil {
				err = p.printed(ctx, name(i))
			}
		}
		samples = append(samples, time.Since(begin))
		if askErr := <-asked; askErr != nil {
			return askErr
		}
		if err != nil {
			return err
		}
		if err := p.command(ctx, "delete", "all"); err != nil {
			return err
		}
	}
	b.median("pm2.burst50", fmt.Sprintf("PM2 %s, %d scripts of one ecosystem file by its command, until each has written its first line", pm2Version, burstPods), samples)
	return nil
}
