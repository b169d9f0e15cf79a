package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Store is the read model: one Table per kind, all fed by Apply. There is one
// writer, the change feed; readers are many and never wait for it.
type Store struct {
	Pods            *Table[api.Pod]             // by id
	Nodes           *Table[api.Node]            // by id
	Packs           *Table[api.Pack]            // by id
	Namespaces      *Table[api.Namespace]       // by name
	PriorityClasses *Table[api.PriorityClass]   // by name
	Users           *Table[api.User]            // by id
	Configs         *Table[api.ClusterConfig]   // by name
	Members         *Table[api.NamespaceMember] // by MemberKey

	mu     sync.Mutex // orders Apply
	cursor atomic.Pointer[string]
	moved  chan struct{} // closed at every step, then replaced
	stale  atomic.Bool
	synced chan struct{}
	once   sync.Once
}

// Changes is what happened to one kind: objects as they are now, and keys of
// those that are gone.
type Changes[T any] struct {
	Put    []T
	Delete []string
}

// Batch is one step of the change feed. Reset says that it holds everything that
// exists: what it does not name is gone. One without changes moves the cursor on.
type Batch struct {
	Reset  bool
	Cursor string    // after this batch
	At     time.Time // when the feed began to read it; zero when the database may have crashed since a former one

	Pods            Changes[api.Pod]
	Nodes           Changes[api.Node]
	Packs           Changes[api.Pack]
	Namespaces      Changes[api.Namespace]
	PriorityClasses Changes[api.PriorityClass]
	Users           Changes[api.User]
	Configs         Changes[api.ClusterConfig]
	Members         Changes[api.NamespaceMember]

	// MembersOf names namespaces whose members are exactly those of Members.Put:
	// for a feed that re-reads a namespace's members as a whole.
	MembersOf []string
}

// MemberKey is the key of a namespace member.
func MemberKey(namespace, userID string) string { return namespace + "/" + userID }

// New makes an empty Store.
func New() *Store {
	s := &Store{
		Pods:            newLabelledTable(func(p api.Pod) string { return p.ID }, func(p api.Pod) map[string]string { return p.Labels }),
		Nodes:           NewTable(func(n api.Node) string { return n.ID }),
		Packs:           NewTable(func(p api.Pack) string { return p.ID }),
		Namespaces:      NewTable(func(n api.Namespace) string { return n.Name }),
		PriorityClasses: NewTable(func(p api.PriorityClass) string { return p.Name }),
		Users:           NewTable(func(u api.User) string { return u.ID }),
		Configs:         NewTable(func(c api.ClusterConfig) string { return c.Name }),
		Members:         NewTable(func(m api.NamespaceMember) string { return MemberKey(m.Namespace, m.UserID) }),
		synced:          make(chan struct{}),
		moved:           make(chan struct{}),
	}
	empty := ""
	s.cursor.Store(&empty)
	return s
}

// Apply takes in one step of the change feed. Kinds that others refer to come
// first, so that who sees a pod also finds its node and pack.
func (s *Store) Apply(b Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropFormerMembers(&b)
	s.Configs.apply(b.Configs, &b)
	s.Users.apply(b.Users, &b)
	s.Namespaces.apply(b.Namespaces, &b)
	s.Members.apply(b.Members, &b)
	s.PriorityClasses.apply(b.PriorityClasses, &b)
	s.Packs.apply(b.Packs, &b)
	s.Nodes.apply(b.Nodes, &b)
	s.Pods.apply(b.Pods, &b)
	s.cursor.Store(&b.Cursor)
	close(s.moved)
	s.moved = make(chan struct{})
	if b.Reset {
		s.once.Do(func() { close(s.synced) })
	}
}

// dropFormerMembers turns MembersOf into deletions.
func (s *Store) dropFormerMembers(b *Batch) {
	if len(b.MembersOf) == 0 || b.Reset {
		return
	}
	whole := make(map[string]bool, len(b.MembersOf))
	for _, ns := range b.MembersOf {
		whole[ns] = true
	}
	stay := make(map[string]bool, len(b.Members.Put))
	for _, m := range b.Members.Put {
		stay[MemberKey(m.Namespace, m.UserID)] = true
	}
	for key, m := range s.Members.Snapshot().All() {
		if whole[m.Namespace] && !stay[key] {
			b.Members.Delete = append(b.Members.Delete, key)
		}
	}
}

// Cursor is the position of the newest batch, "" before the first.
func (s *Store) Cursor() string { return *s.cursor.Load() }

// Await waits until the cursor is as wanted, and fails with the end of ctx.
func (s *Store) Await(ctx context.Context, wanted func(cursor string) bool) error {
	for {
		s.mu.Lock()
		cursor, moved := s.Cursor(), s.moved
		s.mu.Unlock()
		if wanted(cursor) {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Synced is closed when the first complete batch has been applied.
func (s *Store) Synced() <-chan struct{} { return s.synced }

// Stale reports whether the feed is cut off, so that what is here may be old.
func (s *Store) Stale() bool { return s.stale.Load() }

// SetStale is for the feed to say so.
func (s *Store) SetStale(stale bool) { s.stale.Store(stale) }

// MemberOf reports whether a user is a member of a namespace.
func (s *Store) MemberOf(namespace, userID string) bool {
	_, ok := s.Members.Snapshot().Get(MemberKey(namespace, userID))
	return ok
}

// Config is the cluster's configuration; the zero value before the first batch.
func (s *Store) Config() api.ClusterConfig {
	c, _ := s.Configs.Snapshot().Get("default")
	return c
}
