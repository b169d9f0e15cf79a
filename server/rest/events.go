package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type eventsInput struct {
	Kind      string `query:"kind" doc:"pod or node; default both"`
	ObjectID  string `query:"objectId" doc:"of one pod or node"`
	Namespace string `query:"namespace" doc:"of pods; leaves nodes out"`
	Since     string `query:"since" doc:"a time such as 2026-01-02T15:04:05Z; default an hour ago"`
	Limit     int    `query:"limit" doc:"1 to 1000; default 200"`
	Oldest    bool   `query:"oldest" doc:"where there are more, the oldest and not the newest"`
}

type eventList struct {
	Events []api.Event `json:"events" doc:"oldest first"`
	Now    time.Time   `json:"now" doc:"of the server, when it had read them"`
}

func (s *server) eventRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/api/events", id: "listEvents", tag: "cluster", rule: may(access.Read, access.Node),
		summary: "What happened to the pods and nodes that the caller may see",
	}, s.listEvents)
}

func (s *server) listEvents(ctx context.Context, who caller, in *eventsInput) (eventList, error) {
	q := api.EventQuery{
		Kind: api.EventKind(in.Kind), ObjectID: in.ObjectID, Namespace: in.Namespace, Limit: in.Limit, Oldest: in.Oldest,
	}
	if in.Since != "" {
		t, err := time.Parse(time.RFC3339Nano, in.Since)
		if err != nil {
			return eventList{}, api.InvalidField("since", fault.FieldInvalidFormat, "must be a time such as 2026-01-02T15:04:05Z")
		}
		q.Since = t
	}
	// A watch goes on from this time, on any server, whatever the clock of that one says.
	now := s.DB.Time().UTC()
	if err := q.Validate(now); err != nil {
		return eventList{}, err
	}
	events, err := s.DB.Events(ctx, who.Identity, q)
	return eventList{Events: emptyIfNil(events), Now: now}, err
}
