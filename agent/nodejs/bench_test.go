//go:build unix

package nodejs_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/nodejs"
)

// serving is a pack of 10 KB that serves until it is stopped.
var serving = `module.exports = async ({ ready }) => { ready(); await new Promise(() => {}) }
//` + strings.Repeat("x", 10<<10)

func benchmarkStart(b *testing.B, pool int, change ...func(*executor.Task)) {
	b.Helper()
	r := newRig(b, nodejs.Options{WarmPool: pool})
	warmUp, _, err := r.launch(b, serving, change...)
	if err != nil {
		b.Fatal(err)
	}
	stop(b, warmUp)
	stopping := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		waitWarm(b, r, pool)
		b.StartTimer()
		c, _, err := r.launch(b, serving, change...)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		began := time.Now()
		stop(b, c)
		stopping += time.Since(began)
		b.StartTimer()
	}
	b.ReportMetric(float64(stopping.Microseconds())/float64(b.N)/1000, "stop-ms/op")
}

func waitWarm(b *testing.B, r *rig, pool int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := r.Warm(ctx, pool); err != nil {
		b.Fatal(err)
	}
}

func stop(b *testing.B, c executor.Controller) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := c.Shutdown(ctx); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStartWarm(b *testing.B)       { benchmarkStart(b, 2) }
func BenchmarkStartOtherLimit(b *testing.B) { benchmarkStart(b, 2, memory(300)) }
func BenchmarkStartWithoutPool(b *testing.B) {
	benchmarkStart(b, 0)
}

func benchmarkBurst(b *testing.B, change ...func(*executor.Task)) {
	b.Helper()
	r := newRig(b, nodejs.Options{WarmPool: 2})
	for b.Loop() {
		runs := make([]executor.Controller, 50)
		var wg sync.WaitGroup
		for i := range runs {
			wg.Go(func() {
				c, _, err := r.launch(b, serving, change...)
				if err != nil {
					b.Error(err)
				}
				runs[i] = c
			})
		}
		wg.Wait()
		b.StopTimer()
		for _, c := range runs {
			wg.Go(func() { stop(b, c) })
		}
		wg.Wait()
		b.StartTimer()
	}
}

func BenchmarkBurst50(b *testing.B)       { benchmarkBurst(b) }
func BenchmarkBurst50Shared(b *testing.B) { benchmarkBurst(b, shared) }
