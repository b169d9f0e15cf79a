package pod_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/pod"
	"github.com/stark-orchestrator/stark/shared/api"
)

func TestStopDue(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	evicted := api.Eviction{Since: at, GraceSeconds: new(5)}
	for name, c := range map[string]struct {
		pod  api.Pod
		want time.Duration // from at; 0 for none
	}{
		"runs":                      {api.Pod{Status: api.PodRunning}, 0},
		"stops":                     {api.Pod{Status: api.PodStopping, StopRequestedAt: &at}, 30 * time.Second},
		"is evicted":                {api.Pod{Status: api.PodStopping, Eviction: &api.Eviction{Since: at}}, 30 * time.Second},
		"is evicted in a hurry":     {api.Pod{Status: api.PodStopping, Eviction: &evicted}, 5 * time.Second},
		"is evicted and stopped":    {api.Pod{Status: api.PodStopping, Eviction: &evicted, StopRequestedAt: new(at.Add(time.Second))}, 31 * time.Second},
		"its node is silent":        {api.Pod{Status: api.PodUnknown, StopRequestedAt: &at}, 0},
		"has stopped":               {api.Pod{Status: api.PodStopped, StopRequestedAt: &at}, 0},
		"nobody knows why it stops": {api.Pod{Status: api.PodStopping}, 0},
	} {
		c.pod.TerminationGracePeriodSeconds = 30
		due, stops := pod.StopDue(c.pod)
		if stops != (c.want > 0) || stops && due.Sub(at) != c.want+pod.StopMargin {
			t.Errorf("%s: due %s after, %t; want %s and the margin", name, due.Sub(at), stops, c.want)
		}
	}
}

func TestOverdueMessageNamesTheNode(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]api.Pod{
		"node worker-1 ": {NodeID: new("n1"), NodeName: "worker-1"},
		"node n1 ":       {NodeID: new("n1")},
	} {
		if got := pod.OverdueMessage(p); !strings.Contains(got, want) || !strings.Contains(got, "force") {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}
