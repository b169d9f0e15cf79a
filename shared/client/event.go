package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Events lists what happened, oldest first.
func (c *Client) Events(ctx context.Context, q api.EventQuery) ([]api.Event, error) {
	found, _, err := c.events(ctx, q)
	return found, err
}

func (c *Client) events(ctx context.Context, q api.EventQuery) ([]api.Event, time.Time, error) {
	v := url.Values{}
	set(v, "kind", string(q.Kind))
	set(v, "objectId", q.ObjectID)
	set(v, "namespace", q.Namespace)
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Oldest {
		v.Set("oldest", "true")
	}
	var out struct {
		Events []api.Event `json:"events"`
		Now    time.Time   `json:"now"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "events"}, query: v}, &out)
	return out.Events, out.Now, err
}

const (
	eventsEvery = time.Second
	// eventsOverlap is read again each time: an event becomes visible when its
	// transaction commits, which may be this much later than its time.
	eventsOverlap = 30 * time.Second
)

// WatchEvents gives the events of the query and then every further one, until ctx ends
// or an answer fails; each is told once.
func (c *Client) WatchEvents(ctx context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		seen := map[string]time.Time{}
		for first := true; ; first = false {
			found, now, err := c.events(ctx, q)
			if err != nil {
				yield(api.Event{}, err)
				return
			}
			for _, e := range found {
				if _, twice := seen[e.ID]; !twice && !yield(e, nil) {
					return
				}
				seen[e.ID] = e.Time
			}
			full, asked := !first && len(found) == api.MaxEvents, q.Since
			q.Since, q.Oldest, q.Limit = now.Add(-eventsOverlap), true, api.MaxEvents
			if full { // more than one answer holds: go on where it ends
				q.Since = found[len(found)-1].Time
				if !q.Since.After(asked) { // more of one time than an answer holds: go past it rather than ask for ever
					q.Since = asked.Add(time.Microsecond)
				}
				continue
			}
			for id, at := range seen {
				if at.Before(q.Since) {
					delete(seen, id)
				}
			}
			select {
			case <-time.After(eventsEvery):
			case <-ctx.Done():
				yield(api.Event{}, context.Cause(ctx))
				return
			}
		}
	}
}
