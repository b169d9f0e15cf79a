package rights

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// attempt does one action. $1 is what names the object, or whose it shall be.
// Closed is why nobody gets through this door; it is tried all the same.
type attempt struct {
	sql       string
	relations []relation
	closed    string
}

type cell struct {
	kind   access.Kind
	action access.Action
}

var (
	owned  = []relation{own, other}
	shared = []relation{own, other, public, member, operated, led}
	teams  = []relation{own, other, member, operated, led}
	others = []relation{other}
)

const (
	ofAuth    = "accounts are made and removed by Supabase Auth, as its own role"
	ofServers = "join tokens lie out of reach of users; the server checks the right"
)

// attempts has one entry for every cell of the table, and for some that have none.
var attempts = map[cell]attempt{
	{access.Pack, access.Create}: {sql: `insert into public.packs (name, version, runtime_tag, owner_id) values ('fresh', '1.0.0', 'node', $1)`, relations: owned},
	{access.Pack, access.Read}:   {sql: `select from public.packs where id = $1`, relations: shared},
	{access.Pack, access.Update}: {sql: `update public.packs set description = 'x' where id = $1`, relations: shared},
	{access.Pack, access.Delete}: {sql: `delete from public.packs where id = $1`, relations: []relation{own, other, public}},

	{access.Bundle, access.Create}: {sql: `insert into storage.objects (bucket_id, name) values ('pack-bundles', $1 || '/fresh/1.0.0/' || repeat('b', 64) || '.js')`, relations: owned},
	{access.Bundle, access.Read}:   {sql: `select from storage.objects where name = $1`, relations: shared},
	{access.Bundle, access.Update}: {sql: `update storage.objects set name = name where name = $1`, relations: shared, closed: "a bundle is never overwritten"},
	{access.Bundle, access.Delete}: {sql: `delete from storage.objects where name = $1`, relations: []relation{own, other, public}},

	{access.Pod, access.Create}: {sql: `insert into public.pods (pack_name, created_by) values ('open', $1)`, relations: owned},
	{access.Pod, access.Read}:   {sql: `select from public.pods where id = $1`, relations: teams},
	{access.Pod, access.Update}: {sql: `update public.pods set labels = '{"a":"b"}' where id = $1`, relations: teams},
	{access.Pod, access.Delete}: {sql: `delete from public.pods where id = $1`, relations: teams},

	{access.Node, access.Create}: {sql: `insert into public.nodes (name, runtime_type, registered_by) values ('fresh', 'node', $1)`, relations: owned},
	{access.Node, access.Read}:   {sql: `select from public.nodes where id = $1`, relations: owned},
	{access.Node, access.Update}: {sql: `update public.nodes set unschedulable = true where id = $1`, relations: owned},
	{access.Node, access.Delete}: {sql: `delete from public.nodes where id = $1`, relations: owned},

	{access.JoinToken, access.Create}: {sql: `insert into stark.join_tokens (secret_hash, created_by, expires_at) values ('x', $1, now())`, relations: owned, closed: ofServers},
	{access.JoinToken, access.Read}:   {sql: `select from stark.join_tokens where id = $1`, relations: owned, closed: ofServers},
	{access.JoinToken, access.Update}: {sql: `update stark.join_tokens set uses = 9 where id = $1`, relations: owned, closed: ofServers},
	{access.JoinToken, access.Delete}: {sql: `delete from stark.join_tokens where id = $1`, relations: owned, closed: ofServers},

	{access.Namespace, access.Create}: {sql: `insert into public.namespaces (name, created_by) values ('fresh', $1)`, relations: owned},
	{access.Namespace, access.Read}:   {sql: `select from public.namespaces where id = $1`, relations: others},
	{access.Namespace, access.Update}: {sql: `update public.namespaces set labels = '{"a":"b"}' where id = $1`, relations: others},
	{access.Namespace, access.Delete}: {sql: `delete from public.namespaces where id = $1`, relations: others},

	{access.NamespaceMember, access.Create}: {sql: `insert into public.namespace_members (namespace, user_id, role) values ($1, '%s', 'admin')`, relations: []relation{other, member, operated, led}},
	{access.NamespaceMember, access.Read}:   {sql: `select from public.namespace_members where namespace = $1 and user_id <> coalesce(auth.uid(), user_id)`, relations: []relation{other, member, operated, led}},
	{access.NamespaceMember, access.Update}: {sql: `update public.namespace_members set role = 'operator' where namespace = $1 and role = 'developer'`, relations: []relation{other, member, operated, led}},
	{access.NamespaceMember, access.Delete}: {sql: `delete from public.namespace_members where namespace = $1 and role = 'developer'`, relations: []relation{other, member, operated, led}},

	{access.PriorityClass, access.Create}: {sql: `insert into public.priority_classes (name, value) values ('fresh', 5)`, relations: others},
	{access.PriorityClass, access.Read}:   {sql: `select from public.priority_classes where id = $1`, relations: others},
	{access.PriorityClass, access.Update}: {sql: `update public.priority_classes set value = 5 where id = $1`, relations: others},
	{access.PriorityClass, access.Delete}: {sql: `delete from public.priority_classes where id = $1`, relations: others},

	{access.ClusterConfig, access.Create}: {sql: `insert into public.cluster_config default values`, relations: others, closed: "it is one row"},
	{access.ClusterConfig, access.Read}:   {sql: `select from public.cluster_config`, relations: others},
	{access.ClusterConfig, access.Update}: {sql: `update public.cluster_config set max_total_pods = 5`, relations: others},
	{access.ClusterConfig, access.Delete}: {sql: `delete from public.cluster_config`, relations: others, closed: "it is one row"},

	{access.User, access.Create}: {sql: `insert into public.users (id) values (gen_random_uuid())`, relations: others, closed: ofAuth},
	{access.User, access.Read}:   {sql: `select from public.users where id = $1`, relations: others},
	{access.User, access.Update}: {sql: `update public.users set display_name = 'x' where id = $1`, relations: others},
	{access.User, access.Delete}: {sql: `delete from public.users where id = $1`, relations: others, closed: ofAuth},

	{access.UserRole, access.Create}: {sql: `insert into public.user_roles (user_id, role) values ($1, 'operator') on conflict do nothing`, relations: owned},
	{access.UserRole, access.Read}:   {sql: `select from public.user_roles where user_id = $1`, relations: owned},
	{access.UserRole, access.Update}: {sql: `update public.user_roles set role = 'admin' where user_id = $1`, relations: owned, closed: "roles are given and taken"},
	{access.UserRole, access.Delete}: {sql: `delete from public.user_roles where user_id = $1`, relations: owned},

	{access.Profile, access.Create}: {sql: `insert into public.users (id, email) values ($1, 'x@y.z')`, relations: []relation{own}, closed: ofAuth},
	{access.Profile, access.Read}:   {sql: `select from public.users where id = $1`, relations: []relation{own}},
	{access.Profile, access.Update}: {sql: `update public.users set display_name = 'x' where id = $1`, relations: []relation{own}},
	{access.Profile, access.Delete}: {sql: `delete from public.users where id = $1`, relations: []relation{own}, closed: ofAuth},
}

// Every cell of the table in SQL, with the claims that Auth puts into tokens.
func TestEveryCellInSQL(t *testing.T) {
	t.Parallel()
	g := newGround(t, database(t))
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			try, found := attempts[cell{k, a}]
			if !found {
				t.Errorf("nobody tries to %s a %s", a, k)
				continue
			}
			for _, s := range g.subjects {
				for _, r := range try.relations {
					if r == own && s.role == api.RoleNode && k != access.Pack && k != access.Pod && k != access.Node {
						continue // a node has no account
					}
					want := try.closed == "" && reaches(scopeOf(s, a, k), r)
					if got := g.may(t, s, k, a, r, try); got != want {
						t.Errorf("%s, %s a %s that is %s: %t in SQL, %t in the table", s, a, k, r, got, want)
					}
				}
			}
		}
	}
}

// scopeOf adds to the table who has no role but an account.
func scopeOf(s subject, a access.Action, k access.Kind) access.Scope {
	if s.role == "" && k == access.Profile && (a == access.Read || a == access.Update) {
		return access.Own
	}
	if scope := access.ScopeOf(s.role, a, k); scope != access.Socket {
		return scope
	}
	return access.None
}

// may tries one cell on a fresh object and takes everything back.
func (g *ground) may(t *testing.T, s subject, k access.Kind, a access.Action, r relation, try attempt) bool {
	t.Helper()
	did := false
	err := pgx.BeginFunc(t.Context(), g.conn, func(pgx.Tx) error {
		key := g.owner(s, r)
		if a != access.Create || k == access.NamespaceMember {
			key = g.object(t, k, s, r)
		}
		if k == access.Bundle && a == access.Delete { // that of a ready pack stays
			g.exec(t, `delete from public.packs where bundle_path = $1`, key)
		}
		sql, args := try.sql, []any{key}
		if k == access.NamespaceMember && a == access.Create {
			sql = fmt.Sprintf(try.sql, g.account(t))
		}
		if !strings.Contains(sql, "$1") {
			args = nil
		}
		// Storage says so when it deletes an object, whatever the caller's rights.
		g.exec(t, `set local storage.allow_delete_query = 'true'`)
		g.exec(t, `select set_config('request.jwt.claims', $1, true)`, s.claims(t))
		g.exec(t, `set local role authenticated`)
		tag, err := g.conn.Exec(t.Context(), sql, args...)
		if err == nil {
			did = tag.RowsAffected() > 0
			err = errUndo
		}
		return err
	})
	switch migratetest.Code(err) {
	case "42501", "ST403", "ST404":
		return false
	case "":
		if !errors.Is(err, errUndo) {
			t.Errorf("%s, %s %s: %v", s, a, k, err)
		}
		return did
	default:
		t.Errorf("%s, %s a %s that is %s: %v", s, a, k, r, err)
		return false
	}
}

// claims are those of an access token of Supabase Auth, with the roles that the
// hook adds. What a token says of roles must count for nothing, so that all but
// the real ones claim to be admins.
func (s subject) claims(t *testing.T) string {
	t.Helper()
	roles := []string{string(s.role)}
	if s.role == "" || s.role == api.RoleNode || s.role == access.Anonymous {
		roles = []string{"admin"}
	}
	text, err := json.Marshal(map[string]any{
		"sub": s.id, "role": "authenticated", "aud": "authenticated", "is_anonymous": s.role == access.Anonymous,
		"stark": map[string]any{"roles": roles}, "user_metadata": map[string]any{"roles": []string{"admin"}, "role": "admin"},
		"app_metadata": map[string]any{"roles": []string{"admin"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
