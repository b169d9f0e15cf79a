package dispatch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// What a session lives on can end before it does: the session of its user, the
// credential of its node, a role, a membership. The database announces most of
// that; what it does not, the next review finds.

// doubts are sessions of users and nodes that shall be looked at soon.
type doubts struct {
	mu    sync.Mutex
	users map[string]bool // by session of Supabase Auth
	nodes map[string]bool // by node id
	wake  chan struct{}   // holds one
}

func newDoubts() doubts {
	return doubts{users: map[string]bool{}, nodes: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Doubt has the connections of these sessions of users and of these nodes looked
// at. It does not wait.
func (d *Dispatcher) Doubt(sessions, nodes []string) {
	d.doubts.mu.Lock()
	for _, id := range sessions {
		d.doubts.users[id] = true
	}
	for _, id := range nodes {
		d.doubts.nodes[id] = true
	}
	d.doubts.mu.Unlock()
	select {
	case d.doubts.wake <- struct{}{}:
	default:
	}
}

func (d *doubts) take() (users, nodes map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	users, nodes = d.users, d.nodes
	d.users, d.nodes = map[string]bool{}, map[string]bool{}
	return users, nodes
}

// review ends connections whose session or credential has ended, until ctx ends.
func (d *Dispatcher) review(ctx context.Context) {
	ticker := time.NewTicker(d.config.ReviewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.doubts.wake:
			users, nodes := d.doubts.take()
			d.reviewUsers(ctx, func(session string) bool { return users[session] })
			d.reviewNodes(ctx, func(node string) bool { return nodes[node] })
		case <-ticker.C:
			if !d.Store.Stale() { // nobody can say now
				all := func(string) bool { return true }
				d.reviewUsers(ctx, all)
				d.reviewNodes(ctx, all)
			}
		}
	}
}

// chosen groups connections by what key gives for them, "" being nothing.
func (d *Dispatcher) chosen(key func(*session) string) (map[string][]*session, []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	by := map[string][]*session{}
	for s := range d.sessions {
		if k := key(s); k != "" {
			by[k] = append(by[k], s)
		}
	}
	keys := make([]string, 0, len(by))
	for k := range by {
		keys = append(keys, k)
	}
	return by, keys
}

func (d *Dispatcher) reviewUsers(ctx context.Context, doubted func(session string) bool) {
	by, ids := d.chosen(func(s *session) string {
		if id, _ := s.who(); id.UserID != "" && doubted(id.SessionID) {
			return id.SessionID
		}
		return ""
	})
	if len(ids) == 0 {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ended, err := d.Verifier.Ended(call, ids)
	if err != nil {
		d.log.WarnContext(ctx, "the sessions of open connections could not be checked", slog.Any("error", err))
		return
	}
	for _, id := range ended {
		for _, s := range by[id] {
			s.end(closeRefused, "the session has ended")
		}
	}
}

func (d *Dispatcher) reviewNodes(ctx context.Context, doubted func(node string) bool) {
	by, ids := d.chosen(func(s *session) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.identity.NodeID != "" && doubted(s.identity.NodeID) {
			return s.credential
		}
		return ""
	})
	if len(ids) == 0 {
		return
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	usable, err := d.DB.UsableCredentials(call, ids)
	if err != nil {
		d.log.WarnContext(ctx, "the credentials of connected nodes could not be checked", slog.Any("error", err))
		return
	}
	for _, id := range usable {
		delete(by, id)
	}
	for id, list := range by {
		for _, s := range list {
			if s.lives(id) { // it may have come with that one to get another
				s.end(closeDisplaced, "the node's credential has been revoked or is to be replaced")
			}
		}
	}
}

// lives reports whether a session stands on a credential, by its id.
func (s *session) lives(credential string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credential == credential
}

// takeUnconfirmed gives the credential that the node was given on this session,
// once.
func (s *session) takeUnconfirmed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unconfirmed {
		return ""
	}
	s.unconfirmed = false
	return s.credential
}

// confirm tells the database that the node has its new credential; after a
// failure the next heartbeat tries again.
func (s *session) confirm(ctx context.Context, credential string) error {
	err := s.d.DB.ConfirmCredential(ctx, credential)
	if err != nil {
		s.mu.Lock()
		s.unconfirmed = true
		s.mu.Unlock()
		s.log.WarnContext(ctx, "the node's new credential could not be confirmed", slog.Any("error", err))
	}
	return nil
}

// followRights ends connections that lived on a role or a membership which is
// gone, or whose user or node is, until ctx ends.
func (d *Dispatcher) followRights(ctx context.Context) {
	users, members, nodes := d.Store.Users.Watch(ctx), d.Store.Members.Watch(ctx), d.Store.Nodes.Watch(ctx)
	for {
		select {
		case e, ok := <-users:
			if !ok {
				return
			}
			d.onRights(e.Type, e.ID)
		case e, ok := <-members:
			if !ok {
				return
			}
			whose := ""
			if e.Value != nil { // else the event is of all
				whose = e.Value.UserID
			}
			d.onRights(e.Type, whose)
		case e, ok := <-nodes:
			if !ok {
				return
			}
			d.onNode(e)
		}
	}
}

// onNode ends the connection of a node that was removed, and has the credential of
// one looked at that is said to be offline though it is here: its owner may have
// lost the right to it.
func (d *Dispatcher) onNode(e store.Event[api.Node]) {
	s := d.nodeSession(e.ID)
	switch {
	case s == nil:
	case e.Type == store.Delete:
		s.end(closeDisplaced, "the node has been removed")
	case e.Type == store.Put && e.Value.Status == api.NodeOffline:
		d.Doubt(nil, []string{e.ID})
	}
}

func (d *Dispatcher) onRights(kind store.EventType, userID string) {
	if kind == store.Resync {
		return // what was missed is in the complete set that follows
	}
	all := kind == store.Synced
	d.mu.Lock()
	var lost []*session
	for s := range d.sessions {
		if id, _ := s.who(); id.UserID != "" && (all || id.UserID == userID) && !s.keepRights() {
			lost = append(lost, s)
		}
	}
	d.mu.Unlock()
	for _, s := range lost {
		s.end(closeRefused, "your rights have changed")
	}
}

// keepRights reports whether the user of this session still has every role and
// membership that they had here, and takes in those that were added.
func (s *session) keepRights() bool {
	now := s.viewer()
	namespaces := s.d.memberships(now.UserID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.identity.Roles {
		if !slices.Contains(now.Roles, r) {
			return false
		}
	}
	for _, ns := range s.namespaces {
		if !slices.Contains(namespaces, ns) {
			return false
		}
	}
	s.identity.Roles, s.namespaces = now.Roles, namespaces
	return true
}

// memberships lists the namespaces that a user is a member of.
func (d *Dispatcher) memberships(userID string) []string {
	var list []string
	if userID == "" {
		return list
	}
	for _, m := range d.Store.Members.Snapshot().All() {
		if m.UserID == userID {
			list = append(list, m.Namespace)
		}
	}
	return list
}
