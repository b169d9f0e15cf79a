// Command soak runs a cluster with simulated agents whose pods come and go all the time,
// watches what the server and the database hold, and fails when something of it grows.
//
// usage: soak [-duration 1h] [-agents n] [-pods n] [-stark path]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// samples is how many points each series gets.
const samples = 60

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

type soak struct {
	*harness.Cluster
	conn   *pgx.Conn
	agents int
	pods   int
	all    []*series
	low    map[string]float64 // the least of each gauge since the last point
	churn  churn
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	duration := flags.Duration("duration", time.Hour, "how long")
	s := &soak{low: map[string]float64{}}
	flags.IntVar(&s.agents, "agents", 1000, "simulated agents")
	flags.IntVar(&s.pods, "pods", 200, "pods that live at the same time")
	stark := flags.String("stark", "", "the binary; built if empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	case s.agents < 1 || s.pods < 1:
		return fmt.Errorf("-agents %d and -pods %d: want 1 or more of each", s.agents, s.pods)
	}
	if *duration < 2*time.Minute {
		return fmt.Errorf("-duration %s: want 2m or more, or nothing can be told", *duration)
	}
	dir, err := os.MkdirTemp("", "stark-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *stark == "" {
		if *stark, err = harness.Build(ctx, dir); err != nil {
			return err
		}
	}
	if s.Cluster, err = harness.Start(ctx, harness.Options{Stark: *stark, Dir: dir}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	if s.conn, err = pgx.Connect(ctx, s.Stack.DBURL); err != nil {
		return err
	}
	defer func() { _ = s.conn.Close(context.WithoutCancel(ctx)) }()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	fleet, err := s.fleet()
	if err != nil {
		return err
	}
	defer fleet.Kill()
	if err := s.work(ctx, fleet, *duration, out); err != nil {
		return err
	}
	return errors.Join(s.worked(ctx), s.judge(out))
}

// worked fails where it was quiet because hardly anything ran.
func (s *soak) worked(ctx context.Context) error {
	var ready int64
	var online int
	if err := s.conn.QueryRow(ctx, `select (select count(*) from public.pod_history where action = 'ready'),
		(select count(*) from public.nodes where status = 'online')`).Scan(&ready, &online); err != nil {
		return err
	}
	if made := s.churn.made.Load(); ready < made/2 || online < s.agents/2 {
		return fmt.Errorf("that was no load: of %d pods %d ever ran, and of %d agents %d are online", made, ready, s.agents, online)
	}
	return nil
}

// prepare makes room, has ended pods forgotten soon, and registers a pack.
func (s *soak) prepare(ctx context.Context) error {
	if _, err := s.conn.Exec(ctx, "update public.cluster_config set max_total_nodes = 100000, max_total_pods = 1000000, terminal_pod_retention_ms = 30000"); err != nil {
		return err
	}
	_, err := s.conn.Exec(ctx, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values ('soak', '1.0.0', 'node', $1, 'ready', repeat('a', 64), 1)`, s.Session.User.ID)
	return err
}

// fleet starts the agents, each of which loses its connection every five minutes.
func (s *soak) fleet() (*harness.Process, error) {
	return harness.Launch(harness.Spec{
		Name: "agents", Path: s.Stark, Dir: s.Dir,
		Args: []string{"sim", "agents", "-n", strconv.Itoa(s.agents), "--open", "--churn", "5m", "--start-latency", "50ms", "--log-every", "5s"},
		Env:  []string{"STARK_HOME=" + filepath.Join(s.Dir, "home"), "STARK_API_URL=" + s.URL, "STARK_TOKEN=" + s.Session.AccessToken},
	})
}

// work lets pods come and go and takes samples until the time is over.
func (s *soak) work(ctx context.Context, fleet *harness.Process, duration time.Duration, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.churn.run(ctx, s.Client, s.pods) }()
	begin := time.Now()
	look, point := time.NewTicker(time.Second), time.NewTicker(duration/samples)
	defer look.Stop()
	defer point.Stop()
	for {
		select {
		case <-look.C:
			if err := s.look(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		case <-point.C:
			if err := s.point(ctx, time.Since(begin)); err != nil && ctx.Err() == nil {
				return err
			}
			s.progress(out, time.Since(begin))
		case err := <-ended:
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				fmt.Fprintf(out, "%d pods were made and %d stopped by %d agents in %s; %d requests were refused because the server was not available and sent again\n",
					s.churn.made.Load(), s.churn.stopped.Load(), s.agents, duration, s.churn.refused.Load())
				return nil
			}
			return fmt.Errorf("the pods: %w", err)
		case <-fleet.Done():
			return fmt.Errorf("the agents have ended:\n%s", fleet.Output())
		}
	}
}

// progress says how it stands, since an hour without a word tells nobody whether it works.
func (s *soak) progress(out io.Writer, at time.Duration) {
	fmt.Fprintf(out, "%s: %d pods made, %d stopped, %d refusals", at.Round(time.Second), s.churn.made.Load(), s.churn.stopped.Load(), s.churn.refused.Load())
	for _, one := range s.all[:min(len(gauges), len(s.all))] {
		fmt.Fprintf(out, ", %s %.0f", one.name, one.values[len(one.values)-1])
		if one.unit != "" {
			fmt.Fprint(out, " ", one.unit)
		}
	}
	fmt.Fprintln(out)
}

// judge prints every series and fails where one grows.
func (s *soak) judge(out io.Writer) error {
	var all []verdict
	var grown []string
	for _, one := range s.all {
		v := one.verdict()
		all = append(all, v)
		if v.grows() {
			grown = append(grown, one.name)
		}
	}
	worst(all)
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tfirst\tlast\tmiddle\tgrowth\tbound\tunit\t")
	for _, v := range all {
		fmt.Fprintln(tw, v)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(grown) > 0 {
		return fmt.Errorf("these grow over the second half: %v", grown)
	}
	return nil
}
