//go:build unix

package nodejs_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/nodejs"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A pack that writes more than it may loses lines, and every mark stands where they are
// missing and counts them: with the marks, each line has the number that it was written
// with, to the last.
func TestMarksStandWhereLinesAreMissing(t *testing.T) {
	t.Parallel()
	const written = 40_000 // kilobytes: more than twice what a pack may write at once
	var mu sync.Mutex
	var next, gaps int
	r := newRig(t, nodejs.Options{})
	c, _, err := r.launch(t, fmt.Sprintf(`module.exports = async () => { for (let n = 0; n < %d; n++) console.log(n + ' ' + 'x'.repeat(1000)); }`, written),
		func(task *executor.Task) {
			task.Output = func(l api.LogLine) {
				mu.Lock()
				defer mu.Unlock()
				if l.Dropped > 0 {
					next += l.Dropped
					gaps++
					return
				}
				var n int
				if _, err := fmt.Sscanf(l.Line, "%d ", &n); err != nil || n != next {
					t.Errorf("line %d comes where %d is due: %v", n, next, err)
					next = n
				}
				next++
			}
		})
	if err != nil && !errors.Is(err, executor.ErrEnded) {
		t.Fatal(err)
	}
	if got := end(t, c); got.Reason != api.ReasonCompleted {
		t.Fatalf("ended with %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if next != written || gaps == 0 {
		t.Errorf("%d lines are accounted for, with %d marks", next, gaps)
	}
}
