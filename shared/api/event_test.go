package api_test

import (
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestEventsThatDeserveALook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   api.Event
		want api.EventType
	}{
		"a pod that fails":            {api.Event{PreviousStatus: "running", NewStatus: "failed"}, api.EventWarning},
		"a pod that is evicted":       {api.Event{PreviousStatus: "stopping", NewStatus: "evicted"}, api.EventWarning},
		"a pod that was stopped":      {api.Event{PreviousStatus: "stopping", NewStatus: "stopped"}, api.EventNormal},
		"a pod that starts again":     {api.Event{NewStatus: "starting", Reason: api.ReasonCrashLoopBackOff}, api.EventWarning},
		"a stop that is overdue":      {api.Event{PreviousStatus: "stopping", NewStatus: "stopping", Reason: api.ReasonStopOverdue}, api.EventWarning},
		"a stop by force":             {api.Event{PreviousStatus: "stopping", NewStatus: "stopped", Reason: api.ReasonStopForced}, api.EventWarning},
		"a pod that fits nowhere":     {api.Event{Action: api.ActionWaiting, Reason: api.ReasonNeverFits}, api.EventWarning},
		"what changes no status":      {api.Event{PreviousStatus: "failed", NewStatus: "failed"}, api.EventNormal},
		"a node that fell silent":     {api.Event{PreviousStatus: "suspect", NewStatus: "unhealthy"}, api.EventWarning},
		"a node that left":            {api.Event{PreviousStatus: "online", NewStatus: "offline", Reason: "NodeLeft"}, api.EventNormal},
		"a node that was given up":    {api.Event{PreviousStatus: "unhealthy", NewStatus: "offline", Reason: api.ReasonNodeLost}, api.EventWarning},
		"a disk that is nearly full":  {api.Event{Action: "condition", Message: "DiskPressure holds: 3 % free"}, api.EventWarning},
		"a disk that has room again":  {api.Event{Action: "condition", Message: "DiskPressure holds no longer"}, api.EventNormal},
		"a tab that is in background": {api.Event{Action: "condition", Message: "Hidden holds"}, api.EventNormal},
	} {
		if got := c.in.Judge(); got != c.want {
			t.Errorf("%s is %s, want %s", name, got, c.want)
		}
	}
}

func TestEventQuery(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	id := api.NewID()
	for name, c := range map[string]struct {
		in     api.EventQuery
		faults map[string]string
		want   api.EventQuery
	}{
		"nothing": {want: api.EventQuery{Since: now.Add(-time.Hour), Limit: 200}},
		"a namespace asks for pods": {
			in:   api.EventQuery{Namespace: "team-a", ObjectID: id, Since: now, Limit: 1000},
			want: api.EventQuery{Kind: api.EventPod, Namespace: "team-a", ObjectID: id, Since: now, Limit: 1000},
		},
		"nodes of a namespace": {in: api.EventQuery{Kind: api.EventNode, Namespace: "team-a"}, faults: map[string]string{"namespace": "INVALID_VALUE"}},
		"everything wrong": {
			in:     api.EventQuery{Kind: "pack", ObjectID: "x", Namespace: "../", Limit: 1001},
			faults: map[string]string{"kind": "INVALID_VALUE", "objectId": "INVALID_FORMAT", "namespace": "INVALID_FORMAT", "limit": "OUT_OF_RANGE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.in.Validate(now)
			wantFields(t, err, c.faults)
			if err == nil && c.in != c.want {
				t.Errorf("got %+v, want %+v", c.in, c.want)
			}
		})
	}
}
