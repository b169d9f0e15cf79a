package executortest_test

import (
	"testing"

	"github.com/stark-orchestrator/stark/agent/executor"
	"github.com/stark-orchestrator/stark/agent/executor/executortest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func TestFakeConforms(t *testing.T) {
	t.Parallel()
	executortest.Run(t, executortest.Harness{
		Executor: &executortest.Fake{},
		Task: func(_ *testing.T, b executortest.Behaviour, lines *executortest.Lines) executor.Task {
			return executor.Task{
				Key:  api.RunKey{PodID: string(b), Incarnation: 1, Attempt: 1},
				Spec: wire.PodSpec{Name: string(b)}, Output: lines.Add,
			}
		},
	})
}
