// Package rights tries, in SQL and as the roles of the database, what users may
// see and do, and compares it with core/access, which answers the same questions
// in memory.
package rights

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func TestMain(m *testing.M) { os.Exit(migratetest.Main(context.Background(), m)) }

var errUndo = errors.New("undo")

// world is a database with two owners of everything, and users of every role.
type world struct {
	*migratetest.DB
	people []access.Identity
	names  map[string]string // user id -> what to call the user in messages
	owner  string
	member func(userID, namespace string) bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{DB: migratetest.New(t), names: map[string]string{}}
	add := func(name string, roles ...api.Role) string {
		words := make([]string, len(roles))
		for n, r := range roles {
			words[n] = string(r)
		}
		id := w.User(t, words...)
		if !slices.Contains(roles, api.RoleViewer) {
			w.Exec(t, `delete from public.user_roles where user_id = $1 and role = 'viewer'`, id)
		}
		w.names[id] = name
		w.people = append(w.people, access.Identity{UserID: id, Roles: roles})
		return id
	}
	add("admin", api.RoleAdmin)
	add("operator", api.RoleOperator)
	w.owner = add("owner", api.RoleDeveloper)
	add("stranger", api.RoleDeveloper)
	member := add("member", api.RoleDeveloper)
	add("viewer", api.RoleViewer)
	add("viewer and developer", api.RoleViewer, api.RoleDeveloper)
	add("nobody")
	w.Exec(t, `insert into public.namespaces (name) values ('team')`)
	w.Exec(t, `insert into public.namespace_members (namespace, user_id) values ('team', $1), ('team', $2)`, member, w.owner)
	w.member = func(id, namespace string) bool { return namespace == "team" && (id == member || id == w.owner) }
	return w
}

// may tries a statement as the user, undoes it and reports whether it did
// anything.
func (w *world) may(t *testing.T, userID, sql string, args ...any) bool {
	t.Helper()
	did := false
	err := w.As(t, userID, func(q migratetest.Querier) error {
		tag, err := q.Exec(t.Context(), sql, args...)
		if err != nil {
			return err
		}
		did = tag.RowsAffected() > 0
		return errUndo
	})
	switch migratetest.Code(err) {
	case "", "42501", "ST404": // what one may not see does not exist
	default:
		t.Errorf("%s: %s: %v", w.names[userID], sql, err)
	}
	return did
}

// sees returns the sorted ids that a query gives the user.
func (w *world) sees(t *testing.T, userID, sql string) []string {
	t.Helper()
	var out []string
	err := w.As(t, userID, func(q migratetest.Querier) error {
		out = migratetest.Values[string](t, q, sql)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestVisibilityIsTheSameInSQLAndInMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var packs []api.Pack
	for _, p := range w.people {
		if p.UserID != w.owner && w.names[p.UserID] != "stranger" {
			continue
		}
		for _, v := range []api.Visibility{api.VisibilityPrivate, api.VisibilityPublic} {
			id := w.Pack(t, p.UserID, fmt.Sprintf("%s-%s", w.names[p.UserID], v), "1.0.0")
			w.Exec(t, `update public.packs set visibility = $2 where id = $1`, id, string(v))
			packs = append(packs, api.Pack{ID: id, OwnerID: p.UserID, Visibility: v})
		}
	}
	var pods []api.Pod
	for _, pack := range packs {
		for _, ns := range []string{"default", "team"} {
			id := migratetest.Value[string](t, w.Conn, `insert into public.pods (pack_id, namespace, created_by) values ($1, $2, $3) returning id::text`, pack.ID, ns, pack.OwnerID)
			w.Exec(t, `insert into public.pod_runs (pod_id, incarnation, attempt, pack_id) values ($1, 1, 1, $2)`, id, pack.ID)
			pods = append(pods, api.Pod{ID: id, CreatedBy: pack.OwnerID, Namespace: ns, PackID: pack.ID})
		}
	}
	node := migratetest.Value[string](t, w.Conn, `insert into public.nodes (name, runtime_type, registered_by) values ('n', 'node', $1) returning id::text`, w.owner)
	all := migratetest.Values[string](t, w.Conn, `select id::text from public.namespaces`)
	classes := migratetest.Values[string](t, w.Conn, `select id::text from public.priority_classes`)

	for _, who := range w.people {
		compare := func(kind, sql string, want []string) {
			t.Helper()
			slices.Sort(want)
			if got := w.sees(t, who.UserID, sql); !slices.Equal(got, want) {
				t.Errorf("%s sees %d %s in SQL, %d in memory", w.names[who.UserID], len(got), kind, len(want))
			}
		}
		memberOf := func(ns string) bool { return w.member(who.UserID, ns) }
		visiblePods := pick(pods, func(p api.Pod) (string, bool) { return p.ID, access.VisiblePod(who, p, memberOf) })
		inMine := func(packID string) bool {
			return slices.ContainsFunc(pods, func(p api.Pod) bool { return p.PackID == packID && memberOf(p.Namespace) })
		}
		compare("packs", `select id::text from public.packs`, pick(packs, func(p api.Pack) (string, bool) { return p.ID, access.VisiblePack(who, p, inMine) }))
		compare("pods", `select id::text from public.pods`, visiblePods)
		compare("runs", `select pod_id::text from public.pod_runs`, visiblePods)
		compare("histories", `select pod_id::text from public.pod_history`, visiblePods)
		compare("nodes", `select id::text from public.nodes`, pick([]string{node}, func(id string) (string, bool) { return id, access.VisibleNode(who, api.Node{ID: id}) }))
		compare("namespaces", `select id::text from public.namespaces`, pick(all, func(id string) (string, bool) { return id, access.VisibleNamespace(who, api.Namespace{}) }))
		compare("classes", `select id::text from public.priority_classes`, pick(classes, func(id string) (string, bool) { return id, who.Can(access.Read, access.PriorityClass) }))
		compare("settings", `select name from public.cluster_config`, pick([]string{"default"}, func(n string) (string, bool) { return n, who.Can(access.Read, access.ClusterConfig) }))
		compare("users", `select id::text from public.users`, pick(w.people, func(p access.Identity) (string, bool) {
			return p.UserID, access.VisibleUser(who, api.User{ID: p.UserID})
		}))
	}
}

func pick[T any](all []T, visible func(T) (string, bool)) []string {
	var out []string
	for _, v := range all {
		if id, ok := visible(v); ok {
			out = append(out, id)
		}
	}
	return out
}
