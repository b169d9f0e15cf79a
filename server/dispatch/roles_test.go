package dispatch_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/dispatch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// aheadLog is the log of a database that is ahead of the read model; it tells when it
// is asked where it stands.
type aheadLog struct{ asked chan struct{} }

func (l aheadLog) Position(context.Context) (string, error) {
	close(l.asked)
	return "3", nil
}

func (aheadLog) Covers(have, want string) bool { return have >= want }

func (aheadLog) ChangedSince(context.Context, access.Identity, string, string) (map[string]bool, []string, error) {
	return nil, nil, errors.New("nobody goes on from a cursor here")
}

// Right after the first admin was made the read model may show the account and not its
// role: who comes then with a token is an admin all the same, and stays connected.
func TestTheFirstAdminIsOneAtOnce(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]store.Changes[api.User]{
		"the account without its role": {Put: []api.User{{ID: "admin"}}},
		"nothing of the account":       {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ahead := aheadLog{asked: make(chan struct{})}
			r := newRigWith(t, newFakeDB(), dispatch.Config{}, ahead)
			r.store.Apply(store.Batch{Cursor: "1", Users: before})
			go func() {
				select {
				case <-ahead.asked:
				case <-t.Context().Done():
					return
				}
				r.store.Apply(store.Batch{Cursor: "2", Users: store.Changes[api.User]{Put: []api.User{{ID: "admin"}}}})
				r.store.Apply(store.Batch{Cursor: "3", Users: store.Changes[api.User]{Put: []api.User{{ID: "admin", Roles: []api.Role{api.RoleAdmin}}}}})
			}()
			p := r.dial(t, "token admin")
			p.expect(wire.TypeConnected, nil)
			p.send(wire.TypeWatch, "w", wire.Watch{WatchID: "1", Kind: "nodes"})
			p.expect(wire.TypeWatch+wire.AckSuffix, nil)
			p.send(wire.TypeRegister, "x", aRegister())
			for {
				e := receive(t, p.got, wire.TypeRegister+wire.AckSuffix)
				if e.Type == wire.TypeRegister+wire.AckSuffix {
					break
				}
				if e.CorrelationID == "x" {
					t.Fatalf("got %s %s", e.Type, e.Payload)
				}
			}
		})
	}
}
