package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// stage is what some steps share, a cluster mostly: starting one takes as long as
// measuring a row.
type stage struct {
	name  string
	open  func(ctx context.Context) (shut func(), err error) // nil where there is nothing to share; shut is called also beside an error, if there is one
	steps []step
}

// step measures some rows at once.
type step struct {
	keys    []string
	when    when
	measure func(ctx context.Context) error
}

// when says in which runs a step is performed. One that is asked for by a key always is.
type when int

const (
	always    when = iota
	inFull         // in bench-full
	whenAsked      // in no other run
)

// errLeftOut says that a row cannot be measured here; that is no failure.
var errLeftOut = errors.New("left out")

// stepLimit is far beyond what any step takes, so that one that hangs does not keep the
// others from being measured.
const stepLimit, longLimit = 5 * time.Minute, 2 * time.Hour

// measure performs all that is wanted. A step that fails does not keep the others from
// being measured; the end of ctx does.
func (b *bench) measure(ctx context.Context, stages []stage) error {
	all := 0
	for i := range stages {
		stages[i].steps = slices.DeleteFunc(slices.Clone(stages[i].steps), func(s step) bool { return !b.wants(s) })
		all += len(stages[i].steps)
	}
	done := 0
	for _, s := range stages {
		for len(s.steps) > 0 && ctx.Err() == nil {
			n := b.perform(ctx, s, func() string { done++; return fmt.Sprintf("[%d/%d]", done, all) })
			s.steps = s.steps[n:]
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %d of %d steps were begun", done, all)
	}
	if len(b.failed) > 0 {
		return fmt.Errorf("%d rows failed", len(b.failed))
	}
	return nil
}

// wants reports whether a step is to be performed.
func (b *bench) wants(s step) bool {
	if len(b.only) == 0 {
		return s.when == always || s.when == inFull && b.full
	}
	return slices.ContainsFunc(s.keys, func(k string) bool { return slices.Contains(b.only, k) })
}

// perform opens a stage and performs its steps up to one that fails, and gives how many
// that are: who knows in which state that one has left the cluster. The stage is opened
// anew for those that are left.
func (b *bench) perform(ctx context.Context, s stage, next func() string) (performed int) {
	if s.open != nil {
		begin := time.Now()
		shut, err := s.open(ctx)
		b.opening += time.Since(begin)
		if shut != nil {
			defer func() {
				begin := time.Now()
				shut()
				b.opening += time.Since(begin)
			}()
		}
		if err != nil && ctx.Err() != nil { // no step has begun
			fmt.Fprintf(b.errOut, "%s: interrupted\n", s.name)
			return len(s.steps)
		}
		if err != nil {
			for _, step := range s.steps {
				fmt.Fprintf(b.errOut, "%s %s ", next(), strings.Join(step.keys, ", "))
				b.end(ctx, step, begin, fmt.Errorf("start %s: %w", s.name, err))
			}
			return len(s.steps)
		}
		fmt.Fprintf(b.errOut, "%s: started in %.1f s\n", s.name, time.Since(begin).Seconds())
	}
	for i, step := range s.steps {
		if ctx.Err() != nil {
			return i
		}
		fmt.Fprintf(b.errOut, "%s %s ", next(), strings.Join(step.keys, ", "))
		begin := time.Now()
		if !b.end(ctx, step, begin, b.limited(ctx, step)) {
			return i + 1
		}
	}
	return len(s.steps)
}

// end notes how a step has ended, and reports whether others can go on where it stopped.
// A row that an interrupt has cut short has not failed.
func (b *bench) end(ctx context.Context, s step, begin time.Time, err error) bool {
	took := time.Since(begin)
	for _, key := range s.keys {
		if f, ok := b.figures[key]; ok {
			f.Seconds = float64(took.Milliseconds()) / 1000
			b.figures[key] = f
		} else if errors.Is(err, errLeftOut) {
			b.leftOut[key] = err
		} else if err != nil && ctx.Err() == nil {
			b.failed[key] = err
		}
	}
	switch {
	case err == nil:
		fmt.Fprintf(b.errOut, "%.1f s\n", took.Seconds())
	case ctx.Err() != nil:
		fmt.Fprintln(b.errOut, "interrupted")
	case errors.Is(err, errLeftOut):
		fmt.Fprintln(b.errOut, err)
	default:
		fmt.Fprintf(b.errOut, "FAILED: %v\n", err)
	}
	return err == nil
}

func (b *bench) limited(ctx context.Context, s step) error {
	limit := stepLimit
	if s.when != always || b.full {
		limit = longLimit
	}
	within, stop := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %s", limit))
	defer stop()
	err := s.measure(within)
	if err != nil && within.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", context.Cause(within), err)
	}
	return err
}

// folder makes a folder of its own for a cluster, which may be one of several of a name.
func (b *bench) folder(name string) (string, error) { return os.MkdirTemp(b.dir, name+"-") }

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
