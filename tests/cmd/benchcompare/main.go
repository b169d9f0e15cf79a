// Command benchcompare measures two revisions on this machine, one right after the
// other, and prints how they compare. Figures of different days do not: a core of a
// virtual machine is shared with others.
//
// usage: benchcompare -base <rev> [-rounds n] [-only key,...] [-n samples]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "benchcompare:", err)
		os.Exit(1)
	}
}

// figure is what tests/bench writes for a key, as far as it is compared.
type figure struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	P99   float64 `json:"p99"`

	Failed  string `json:"failed"`
	LeftOut string `json:"leftOut"` // why there is none
}

func run(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	flags := flag.NewFlagSet("benchcompare", flag.ContinueOnError)
	flags.SetOutput(errOut)
	base := flags.String("base", "", "the revision to compare with, such as HEAD~1 or a tag")
	rounds := flags.Int("rounds", 1, "how often each is measured, in turn; the medians are compared")
	only := flags.String("only", "", "as tests/bench has it")
	samples := flags.Int("n", 0, "as tests/bench has it; as many as each side takes by itself if 0")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *base == "" || *rounds < 1 || flags.NArg() > 0 {
		return errors.New("say with what to compare: make bench-compare BASE=<rev>, and ARGS='-rounds 3 -only stop,rollback' for less than all")
	}
	bench := []string{"-only", *only}
	if *samples > 0 {
		bench = append(bench, "-n", strconv.Itoa(*samples))
	}
	dir, err := os.MkdirTemp("", "stark-bench-compare-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "base")
	if err := command(ctx, errOut, "", "git", "worktree", "add", "--detach", tree, *base); err != nil {
		return fmt.Errorf("check %s out: %w", *base, err)
	}
	defer func() {
		// Also after an interrupt: a left worktree would stay in the user's repository.
		err = errors.Join(err, command(context.WithoutCancel(ctx), errOut, "", "git", "worktree", "remove", "--force", tree))
	}()
	var before, now []map[string]figure
	var failed []error // of rows; the others are compared
	for i := range *rounds {
		for _, side := range []struct {
			name, dir string
			into      *[]map[string]figure
		}{{*base, tree, &before}, {"this tree", "", &now}} {
			fmt.Fprintf(errOut, "round %d of %d: %s\n", i+1, *rounds, side.name)
			figures, err := measure(ctx, errOut, side.dir, filepath.Join(dir, strconv.Itoa(len(before)+len(now))+".json"), bench)
			if err != nil && (figures == nil || ctx.Err() != nil) {
				return fmt.Errorf("measure %s: %w", side.name, err)
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("round %d of %d, %s: %w", i+1, *rounds, side.name, err))
			}
			*side.into = append(*side.into, figures)
		}
	}
	return errors.Join(append(failed, compare(out, *base, before, now))...)
}

// measure builds and runs the bench of the tree in dir. Where rows have failed it gives
// those that have not beside the error.
func measure(ctx context.Context, errOut io.Writer, dir, file string, args []string) (map[string]figure, error) {
	if err := command(ctx, errOut, dir, "make", "build"); err != nil {
		return nil, err
	}
	failed := command(ctx, errOut, dir, "go", append([]string{"run", "./tests/bench", "-out", file}, args...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	figures := map[string]figure{}
	if err := json.Unmarshal(text, &figures); err != nil {
		return nil, err
	}
	maps.DeleteFunc(figures, func(_ string, f figure) bool { return f.Failed != "" || f.LeftOut != "" })
	return figures, failed
}

func command(ctx context.Context, errOut io.Writer, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, errOut, errOut
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // the bench ends what it has started
	return cmd.Run()
}

// compare prints all keys: of those that both have a ratio, where 1.10 is a figure a tenth
// larger, and of the others which side has them.
func compare(out io.Writer, base string, before, now []map[string]figure) error {
	units := map[string]string{}
	for _, r := range slices.Concat(before, now) {
		for key, f := range r {
			units[key] = f.Unit
		}
	}
	tw := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "key\t%s\tnow\tratio\tp99 before\tp99 now\n", base)
	for _, key := range slices.Sorted(maps.Keys(units)) {
		was, is := median(before, key), median(now, key)
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", key, was.text(units[key]), is.text(units[key]), ratio(base, was, is), was.tail(), is.tail())
	}
	return tw.Flush()
}

// middle is the median of the rounds that have a figure.
type middle struct {
	value, p99 float64
	there      bool
}

// ratio compares, or says which side alone has the figure.
func ratio(base string, was, is middle) string {
	switch {
	case !was.there:
		return "only here"
	case !is.there:
		return "only in " + base
	case was.value == 0:
		return "-"
	}
	return strconv.FormatFloat(is.value/was.value, 'f', 2, 64)
}

func (m middle) text(unit string) string {
	if !m.there {
		return "-"
	}
	return strings.TrimSpace(number(m.value) + " " + unit)
}

func (m middle) tail() string {
	if m.p99 == 0 {
		return "-"
	}
	return strconv.FormatFloat(m.p99, 'f', 1, 64)
}

// number writes small figures, as milliseconds of CPU are, with more places.
func number(v float64) string {
	if math.Abs(v) < 1 {
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func median(rounds []map[string]figure, key string) middle {
	var values, tails []float64
	for _, r := range rounds {
		if f, ok := r[key]; ok {
			values, tails = append(values, f.Value), append(tails, f.P99)
		}
	}
	if len(values) == 0 {
		return middle{}
	}
	slices.Sort(values)
	slices.Sort(tails)
	return middle{values[len(values)/2], tails[len(tails)/2], true}
}
