package dispatch

import (
	"context"
	"errors"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// errNewer ends a registration for one by a newer connection of the same node.
var errNewer = errors.New("a newer connection registers the node")

// claim is one connection's registration of a node. Of several connections of one node the
// newest that is open is to have it, in whatever order their registrations are answered:
// an agent whose connection breaks while it registers comes again at once, and the answer
// to the old connection must not end the new one, which is the only one that there is. So
// a newer connection ends the registration of an older one before it asks the database,
// by which the lease is the newer one's too; the older one waits for what becomes of it.
type claim struct {
	s    *session
	key  string
	over chan struct{} // closed when the registration has ended

	// Guarded by the dispatcher's lock.
	end    context.CancelCauseFunc // nil when it is over
	joined bool                    // the node is, or was, the session's
}

// claimKey tells which registrations are of one node, before its id is known.
func claimKey(by Registrar, name string) string {
	switch {
	case by.NodeID != "":
		return "node " + by.NodeID
	case by.Proposed != "":
		return "proposal " + by.Proposed
	default:
		return "name " + by.UserID + by.JoinToken + " " + name
	}
}

// register has the database register a node and makes the session the node's. It reports
// whether a set of the node is begun, and gives no registration when a newer connection
// has the node: the session is ended then.
func (d *Dispatcher) register(ctx context.Context, s *session, by Registrar, req api.RegisterNodeRequest) (reg *Registration, first bool, err error) {
	key := claimKey(by, req.Name)
	for s.alive() {
		call, end := context.WithCancelCause(ctx)
		c := &claim{s: s, key: key, over: make(chan struct{}), end: end}
		if newer := d.claim(c); newer != nil {
			end(nil)
			displaced, err := d.await(ctx, newer)
			if displaced {
				s.displace()
			}
			if displaced || err != nil {
				return nil, false, err
			}
			continue
		}
		got, err := d.DB.RegisterNode(call, by, req, s.meta)
		if err == nil {
			s.becomeNode(got)
			first, reg = s.wanted.begin(got.Node.ID), &got
			if !d.join(s, got.Node.ID) {
				s.displace()
				reg = nil
			}
		}
		d.settle(c, reg != nil)
		ended := errors.Is(context.Cause(call), errNewer)
		end(nil)
		if err == nil || !ended {
			return reg, first, err
		}
	}
	return nil, false, errEnded
}

// displace ends a session whose node has a newer one.
func (s *session) displace() { s.end(closeDisplaced, "the node has connected again") }

// claim enters a registration, or gives that of a newer connection.
func (d *Dispatcher) claim(c *claim) (newer *claim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.claims[c.key]; now != nil {
		if now.s != c.s && now.s.order > c.s.order && now.stands() {
			return now
		}
		if now.end != nil {
			now.end(errNewer)
		}
	}
	d.unclaim(c.s)
	d.claims[c.key], c.s.claim = c, c
	return nil
}

// stands reports whether the node is the session's, or may become so. It needs the lock.
func (c *claim) stands() bool {
	return c.s.alive() && (c.end != nil || c.joined && !c.s.left.Load())
}

// settle ends a registration. While the session has the node the claim stays, for older
// connections that come later.
func (d *Dispatcher) settle(c *claim, joined bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.end, c.joined = nil, joined
	if !joined {
		d.unclaim(c.s)
	}
	close(c.over)
}

// unclaim needs the lock.
func (d *Dispatcher) unclaim(s *session) {
	if c := s.claim; c != nil && d.claims[c.key] == c {
		delete(d.claims, c.key)
	}
	s.claim = nil
}

// await waits for a newer connection's registration, and reports whether the node is that
// connection's now.
func (d *Dispatcher) await(ctx context.Context, newer *claim) (displaced bool, err error) {
	select {
	case <-newer.over:
	case <-ctx.Done():
		return false, fault.Wrap(ctx.Err(), fault.Timeout, "a newer connection registers the node, and is not done")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return newer.stands(), nil
}
