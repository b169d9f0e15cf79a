//go:build unix

package nodejs_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/agent/nodejs"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*executor.Task){"process": func(*executor.Task) {}, "shared": shared} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nodejs.Options{WarmPool: 2})
			executortest.Run(t, executortest.Harness{
				Executor: r,
				Task: func(_ *testing.T, b executortest.Behaviour, lines *executortest.Lines) executor.Task {
					return r.task(executortest.Sources[b], lines, change)
				},
			})
		})
	}
}
