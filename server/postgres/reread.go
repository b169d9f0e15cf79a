package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/shared/api"
)

// The kinds of the change log. All but cluster_config name rows by id; kind user
// also stands for a user's roles and memberships.
const (
	kindPod           = "pod"
	kindNode          = "node"
	kindPack          = "pack"
	kindNamespace     = "namespace"
	kindPriorityClass = "priority_class"
	kindUser          = "user"
	kindConfig        = "cluster_config"
	kindMember        = "namespace_member" // not in the log: part of kindUser

	kindSession    = "session"    // of Supabase Auth, by id: it may have ended
	kindCredential = "credential" // of a node, by the node's id: it may have ended
)

const relistTimeout = time.Minute

// index remembers what the store calls rows that the log names otherwise, so
// that a deleted row can be found.
type index struct {
	names   map[string]string          // id -> name of namespaces and priority classes
	members map[string]map[string]bool // user -> namespaces
}

func (x *index) learn(b store.Batch) {
	if b.Reset || x.names == nil {
		x.names, x.members = map[string]string{}, map[string]map[string]bool{}
	}
	for _, s := range b.Namespaces.Put {
		x.names[s.ID] = s.Name
	}
	for _, c := range b.PriorityClasses.Put {
		x.names[c.ID] = c.Name
	}
	for _, m := range b.Members.Put {
		if x.members[m.UserID] == nil {
			x.members[m.UserID] = map[string]bool{}
		}
		x.members[m.UserID][m.Namespace] = true
	}
}

// relist reads everything in one snapshot, which becomes the cursor.
func (db *DB) relist(ctx context.Context) (store.Batch, position, error) {
	ctx, cancel := context.WithTimeout(ctx, relistTimeout)
	defer cancel()
	var out store.Batch
	var at position
	var bad unread
	err := db.retry(ctx, "read everything", relistTimeout, true, func(ctx context.Context, conn *pgx.Conn) error {
		out, bad = store.Batch{Reset: true}, unread{}
		t := &tx{conn: conn, batch: &pgx.Batch{}}
		t.Queue("begin isolation level repeatable read read only")
		t.Queue(db.settings(), service.settings()...)
		t.Queue("select set_config('statement_timeout', $1, true)", millis(relistTimeout))
		t.Queue("select pg_current_snapshot()::text, " + positionSQL).
			QueryRow(func(row pgx.Row) error { return row.Scan(&at.snap, &at.at, &at.born) })
		t.Queue("select " + configColumns + " from public.cluster_config g").Query(sound(bad, kindConfig, &out.Configs, scanConfig))
		t.Queue("select " + userColumns + " from public.users u").Query(sound(bad, kindUser, &out.Users, scanUser))
		t.Queue("select " + namespaceColumns + " from public.namespaces s").Query(sound(bad, kindNamespace, &out.Namespaces, scanNamespace))
		t.Queue("select " + memberColumns + " from public.namespace_members m").Query(sound(bad, kindMember, &out.Members, scanMember))
		t.Queue("select " + priorityClassColumns + " from public.priority_classes c").Query(sound(bad, kindPriorityClass, &out.PriorityClasses, scanPriorityClass))
		t.Queue("select " + packColumns + " from public.packs k").Query(sound(bad, kindPack, &out.Packs, scanPack))
		t.Queue("select " + nodeColumns + " from public.nodes n").Query(sound(bad, kindNode, &out.Nodes, scanNode))
		t.Queue("select " + podColumns + " from public.pods p").Query(sound(bad, kindPod, &out.Pods, scanPod))
		t.Queue("commit")
		err := t.flush(ctx)
		if err != nil {
			t.rollback(ctx)
		}
		return err
	})
	if err == nil {
		db.tell(ctx, bad)
		db.unread.begin(bad[kindPod])
	}
	out.Cursor = at.String()
	return out, at, err
}

// reread reads the named rows as they are now. Those that are no longer there
// have been deleted; a change after the log was read comes again with the next.
func (db *DB) reread(ctx context.Context, keys map[string]map[string]bool, x *index) (store.Batch, error) {
	var out store.Batch
	var bad unread
	ids := func(kind string) []string { return slices.Collect(maps.Keys(keys[kind])) }
	if db.onEnded != nil && len(keys[kindSession])+len(keys[kindCredential]) > 0 {
		db.onEnded(ids(kindSession), ids(kindCredential))
	}
	err := db.retry(ctx, "read changed rows", relistTimeout, true, db.implicit(service, func(b *pgx.Batch) {
		out, bad = store.Batch{}, unread{}
		queueNamed(b, bad, &out, ids)
	}))
	if err != nil {
		return out, err
	}
	db.tell(ctx, bad)
	db.unread.note(keys[kindPod], bad[kindPod])
	left := func(kind string) map[string]bool { // what is not decoded is still there
		rest := maps.Clone(keys[kind])
		maps.DeleteFunc(rest, func(key string, _ bool) bool { return bad[kind][key] != nil })
		return rest
	}
	out.Pods.Delete = missing(left(kindPod), out.Pods.Put, func(p api.Pod) string { return p.ID })
	out.Nodes.Delete = missing(left(kindNode), out.Nodes.Put, func(n api.Node) string { return n.ID })
	out.Packs.Delete = missing(left(kindPack), out.Packs.Put, func(k api.Pack) string { return k.ID })
	out.Users.Delete = missing(left(kindUser), out.Users.Put, func(u api.User) string { return u.ID })
	out.Configs.Delete = missing(left(kindConfig), out.Configs.Put, func(g api.ClusterConfig) string { return g.Name })
	out.Namespaces.Delete = x.forget(missing(left(kindNamespace), out.Namespaces.Put, func(s api.Namespace) string { return s.ID }))
	out.PriorityClasses.Delete = x.forget(missing(left(kindPriorityClass), out.PriorityClasses.Put, func(c api.PriorityClass) string { return c.ID }))
	out.Members.Delete = x.former(keys[kindUser], out.Members.Put)
	return out, nil
}

// queueNamed queues the statements that read rows by their keys, which are the ids of
// each kind.
func queueNamed(b *pgx.Batch, bad unread, out *store.Batch, ids func(kind string) []string) {
	b.Queue(indexedSQL)
	named(b, bad, kindPod, &out.Pods, scanPod, ids(kindPod), "select "+podColumns+" from public.pods p where p.id = any ($1::text[]::uuid[])")
	named(b, bad, kindNode, &out.Nodes, scanNode, ids(kindNode), "select "+nodeColumns+" from public.nodes n where n.id = any ($1::text[]::uuid[])")
	named(b, bad, kindPack, &out.Packs, scanPack, ids(kindPack), "select "+packColumns+" from public.packs k where k.id = any ($1::text[]::uuid[])")
	named(b, bad, kindUser, &out.Users, scanUser, ids(kindUser), "select "+userColumns+" from public.users u where u.id = any ($1::text[]::uuid[])")
	named(b, bad, kindMember, &out.Members, scanMember, ids(kindUser), "select "+memberColumns+" from public.namespace_members m where m.user_id = any ($1::text[]::uuid[])")
	named(b, bad, kindNamespace, &out.Namespaces, scanNamespace, ids(kindNamespace), "select "+namespaceColumns+" from public.namespaces s where s.id = any ($1::text[]::uuid[])")
	named(b, bad, kindPriorityClass, &out.PriorityClasses, scanPriorityClass, ids(kindPriorityClass), "select "+priorityClassColumns+" from public.priority_classes c where c.id = any ($1::text[]::uuid[])")
	named(b, bad, kindConfig, &out.Configs, scanConfig, ids(kindConfig), "select "+configColumns+" from public.cluster_config g where g.name = any ($1::text[])")
}

// named queues a statement for the rows with these keys, if there are any.
func named[T any](b *pgx.Batch, bad unread, kind string, into *store.Changes[T], scan pgx.RowToFunc[T], keys []string, sql string) {
	if len(keys) > 0 {
		b.Queue(sql, keys).Query(sound(bad, kind, into, scan))
	}
}

// missing lists the keys that no row has.
func missing[T any](keys map[string]bool, rows []T, key func(T) string) []string {
	left := maps.Clone(keys)
	for _, row := range rows {
		delete(left, key(row))
	}
	return slices.Collect(maps.Keys(left))
}

// forget turns ids of deleted rows into the names that the store knows them by.
func (x *index) forget(ids []string) []string {
	var names []string
	for _, id := range ids {
		if name, ok := x.names[id]; ok {
			names = append(names, name)
			delete(x.names, id)
		}
	}
	return names
}

// former lists memberships of these users that are no longer there.
func (x *index) former(users map[string]bool, now []api.NamespaceMember) []string {
	stay := make(map[string]bool, len(now))
	for _, m := range now {
		stay[store.MemberKey(m.Namespace, m.UserID)] = true
	}
	var gone []string
	for user := range users {
		for namespace := range x.members[user] {
			if key := store.MemberKey(namespace, user); !stay[key] {
				gone = append(gone, key)
			}
		}
		delete(x.members, user) // learn puts back those that stay
	}
	return gone
}
