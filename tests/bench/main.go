// Command bench measures Stark as a user would meet it: the real binary, its
// server and agents as processes, real Node.js workers, and a real Postgres with
// durable commits, all on this machine's loopback. It prints a table and writes
// tests/bench/out/latest.json, or only.json of some rows, also when a row fails or an
// interrupt ends it early.
//
// usage: bench [-n samples] [-only key,...] [-full] [-peers] [-out file]
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/tests/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt does not wait for clusters to end
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	samples int // of a latency
	exact   bool
	full    bool // also what takes long, and more samples
	only    []string
	stark   string
	dir     string
	errOut  io.Writer // gets the progress

	figures map[string]figure
	failed  map[string]error
	leftOut map[string]error // what cannot be measured here
	opening time.Duration    // that clusters took to start and to end
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errOut)
	b := &bench{errOut: errOut, figures: map[string]figure{}, failed: map[string]error{}, leftOut: map[string]error{}}
	flags.IntVar(&b.samples, "n", 0, "samples of each latency; 30 if 0, or 100 with -full")
	only := flags.String("only", "", "keys to measure, separated by commas; all if empty")
	flags.BoolVar(&b.full, "full", false, "measure also what takes long, with more samples")
	peers := flags.Bool("peers", false, "measure peers of Stark, and what they stand beside, instead")
	file := flags.String("out", "", "where the figures are written; tests/bench/out/latest.json if empty, only.json with -only, peers.json with -peers")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag: rows are named by -only", flags.Arg(0))
	case b.samples < 0:
		return fmt.Errorf("-n %d: want 1 or more, or 0", b.samples)
	}
	b.exact = b.samples > 0
	if !b.exact {
		b.samples = b.times(30, 100)
	}
	stages, show, name := b.stages(), b.print, "latest.json" //nolint:contextcheck // the context that a browser is kept in comes later
	if *only != "" {
		b.only, name = strings.Split(*only, ","), "only.json"
	}
	if *peers {
		stages, show, name = b.peerStages(), b.printPairs, "peers.json"
		if b.only == nil {
			b.only = pairKeys()
		}
	}
	if err := b.sift(stages); err != nil {
		return err
	}
	if *peers && !b.pairsUp() {
		return fmt.Errorf("nothing to compare: -only must name both of a pair; the pairs are %s", pairNames())
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "stark-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.stark, err = harness.Build(ctx, b.dir); err != nil {
		return err
	}
	begin := time.Now()
	err = b.measure(ctx, stages)
	return errors.Join(err, b.judge(), show(out, time.Since(begin)), b.write(cmp.Or(*file, filepath.Join("tests/bench/out", name))))
}

// sift tells of names that are no row of this run, and refuses a run without any. One that
// is not there need not be a mistake: another revision may have it.
func (b *bench) sift(stages []stage) error {
	there := map[string]bool{}
	for _, s := range stages {
		for _, step := range s.steps {
			for _, key := range step.keys {
				there[key] = true
			}
		}
	}
	some := len(b.only) == 0
	for _, key := range b.only {
		switch {
		case there[key]:
			some = true
		case slices.Contains(pairKeys(), key):
			fmt.Fprintf(b.errOut, "%s is measured by `make bench-peers` alone\n", key)
		default:
			fmt.Fprintf(b.errOut, "there is no row %s\n", key)
		}
	}
	if !some {
		return fmt.Errorf("nothing to measure; the rows are %s", strings.Join(slices.Sorted(maps.Keys(there)), ", "))
	}
	return nil
}

// stages are all there is to measure, in the order in which it is measured.
func (b *bench) stages() []stage {
	return []stage{
		b.plans(), b.oneNode(), b.twoServers(), b.oneServer(), b.dev(),
		b.thousandNodes(), b.fiveThousandNodes(), b.thousandAgents(), b.tenThousandAgents(), b.tabs(),
		b.scale("1k", 1000, inFull), b.scale("10k", 10_000, inFull), b.scale("100k", 100_000, whenAsked),
	}
}

// times is how often something is measured whose samples are dear: short in a short
// run, most in a full one, and as often as -n says up to that.
func (b *bench) times(short, most int) int {
	switch {
	case b.exact:
		return min(b.samples, most)
	case b.full:
		return most
	default:
		return short
	}
}
