package watch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
)

// log is at a position; cursors are ordered as texts.
type log struct {
	at  string
	err error
}

func (l log) Position(context.Context) (string, error) { return l.at, l.err }
func (log) Covers(have, want string) bool              { return have >= want }

func (log) ChangedSince(context.Context, access.Identity, string, string) (map[string]bool, []string, error) {
	return nil, nil, errors.New("nobody asks")
}

func user(cursor string, roles ...api.Role) store.Batch {
	return store.Batch{Cursor: cursor, Users: store.Changes[api.User]{Put: []api.User{{ID: "u", Roles: roles}}}}
}

func TestAwaitRoles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		model   []store.Batch // before the call
		log     watch.Log
		said    []api.Role    // by the database
		stale   bool          // the database is away
		later   []store.Batch // one a time, 100 ms apart
		waitFor time.Duration
	}{
		"the same roles":              {model: []store.Batch{user("1", "viewer", "admin")}, log: log{at: "9"}, said: []api.Role{"admin", "viewer"}},
		"the first role comes":        {model: []store.Batch{user("1")}, log: log{at: "9"}, said: []api.Role{"admin"}, later: []store.Batch{{Cursor: "2"}, user("3", "admin")}, waitFor: 200 * time.Millisecond},
		"the account comes, and then": {log: log{at: "9"}, said: []api.Role{"admin"}, later: []store.Batch{user("2"), user("3", "admin")}, waitFor: 200 * time.Millisecond},
		"taken away since":            {model: []store.Batch{user("1")}, log: log{at: "2"}, said: []api.Role{"admin"}, later: []store.Batch{user("2")}, waitFor: 100 * time.Millisecond},
		"covered already":             {model: []store.Batch{user("5")}, log: log{at: "2"}, said: []api.Role{"admin"}},
		"it never comes":              {model: []store.Batch{user("1")}, log: log{at: "9"}, said: []api.Role{"admin"}, waitFor: 2 * time.Second},
		"no position":                 {model: []store.Batch{user("1")}, log: log{err: errors.New("away")}, said: []api.Role{"admin"}},
		"nobody knows":                {model: []store.Batch{user("1")}, said: []api.Role{"admin"}},
		"the database is away":        {model: []store.Batch{user("1")}, log: log{at: "9"}, said: []api.Role{"admin"}, stale: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := store.New()
				s.Apply(store.Batch{Reset: true, Cursor: "0"})
				for _, b := range tc.model {
					s.Apply(b)
				}
				s.SetStale(tc.stale)
				begun, done := time.Now(), make(chan struct{})
				go func() {
					defer close(done)
					watch.Source{Store: s, Log: tc.log}.AwaitRoles(t.Context(), "u", tc.said)
				}()
				for _, b := range tc.later {
					time.Sleep(100 * time.Millisecond) // of the test's own clock
					select {
					case <-done:
						t.Errorf("returned before %s", b.Cursor)
					default:
					}
					s.Apply(b)
				}
				<-done
				if waited := time.Since(begun); waited != tc.waitFor {
					t.Errorf("waited %s, want %s", waited, tc.waitFor)
				}
			})
		})
	}
}
