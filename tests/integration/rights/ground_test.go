package rights

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
	"github.com/stark-orchestrator/stark/tests/project"
)

// relation is what an object is to who tries something with it.
type relation string

const (
	own      relation = "own"
	other    relation = "another's"
	public   relation = "another's public"
	member   relation = "of a namespace where one is viewer"
	operated relation = "of a namespace where one is operator"
	led      relation = "of a namespace where one is admin"
)

// reaches says what a scope means for an object.
func reaches(scope access.Scope, r relation) bool {
	switch scope {
	case access.All:
		return true
	case access.Own:
		return r == own
	case access.Member:
		return r == member || r == operated || r == led
	case access.Lead:
		return r == led
	case access.Team:
		return r == own || reaches(access.Member, r)
	case access.Run:
		return r == own || r == operated || r == led
	case access.Open:
		return r == public || reaches(access.Team, r)
	default:
		return false
	}
}

// namespaceOf is where a pod of such a relation lies. The last is of others alone.
var namespaceOf = map[relation]string{
	own: "default", other: "default", public: "default", member: "ns-member", operated: "ns-operated", led: "ns-led",
}

// subject is who tries: an account for every column of the table, and one without
// any role.
type subject struct {
	role api.Role // "" for none
	id   string
}

func (s subject) String() string {
	if s.role == "" {
		return "a user without a role"
	}
	return string(s.role)
}

// ground is a database with subjects, a stranger who owns what is not theirs, and
// namespaces in which every subject has a role.
type ground struct {
	conn     *pgx.Conn
	subjects []subject
	stranger string
	count    atomic.Int64
}

func newGround(t *testing.T, conn *pgx.Conn) *ground {
	t.Helper()
	g := &ground{conn: conn}
	g.stranger = g.account(t, "developer")
	g.account(t, "admin") // so that nobody is the last
	for _, role := range append([]api.Role{""}, access.Columns...) {
		s := subject{role: role}
		switch role {
		case api.RoleNode:
			s.id = g.node(t, g.stranger)
		case access.Anonymous:
			s.id = g.account(t, "admin") // which counts for nothing
		case "":
			s.id = g.account(t)
		default:
			s.id = g.account(t, string(role))
		}
		g.subjects = append(g.subjects, s)
	}
	g.exec(t, `insert into public.packs (name, version, runtime_tag, owner_id, visibility, status, bundle_sha256, bundle_size)
		values ('open', '1.0.0', 'node', $1, 'public', 'ready', $2, 10)`, g.stranger, strings.Repeat("f", 64))
	for ns, role := range map[string]string{"ns-member": "viewer", "ns-operated": "operator", "ns-led": "admin", "ns-closed": ""} {
		g.exec(t, `insert into public.namespaces (name) values ($1)`, ns)
		g.exec(t, `insert into public.namespace_members (namespace, user_id) values ($1, $2)`, ns, g.stranger)
		for _, s := range g.subjects {
			if role != "" && s.role != api.RoleNode {
				g.exec(t, `insert into public.namespace_members (namespace, user_id, role) values ($1, $2, $3::text::public.stark_role)`, ns, s.id, role)
			}
		}
	}
	return g
}

func (g *ground) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	migratetest.Exec(t, g.conn, sql, args...)
}

func (g *ground) make(t *testing.T, sql string, args ...any) string {
	t.Helper()
	return migratetest.Value[string](t, g.conn, sql, args...)
}

func (g *ground) name() string { return fmt.Sprintf("x%d", g.count.Add(1)) }

func (g *ground) account(t *testing.T, roles ...string) string {
	t.Helper()
	id := uuid.NewString()
	g.exec(t, `insert into auth.users (id, email) values ($1, $2)`, id, id+"@example.com")
	g.exec(t, `delete from public.user_roles where user_id = $1`, id)
	for _, r := range roles {
		g.exec(t, `insert into public.user_roles (user_id, role) values ($1, $2::text::public.stark_role)`, id, r)
	}
	return id
}

func (g *ground) node(t *testing.T, owner string) string {
	t.Helper()
	return g.make(t, `insert into public.nodes (name, runtime_type, registered_by) values ($1, 'node', $2) returning id::text`, g.name(), owner)
}

// owner is whose an object is; a node owns nothing.
func (g *ground) owner(s subject, r relation) string {
	if r == own && s.role != api.RoleNode {
		return s.id
	}
	return g.stranger
}

// pack makes a ready pack, and where it is of a namespace a pod of it there.
func (g *ground) pack(t *testing.T, s subject, r relation) string {
	t.Helper()
	visibility := "private"
	if r == public {
		visibility = "public"
	}
	id := g.make(t, `insert into public.packs (name, version, runtime_tag, owner_id, visibility, status, bundle_sha256, bundle_size)
		values ($1, '1.0.0', 'node', $2, $3::text::public.pack_visibility, 'ready', $4, 10) returning id::text`,
		g.name(), g.owner(s, r), visibility, strings.Repeat("a", 64))
	if ns := namespaceOf[r]; ns != "default" {
		g.exec(t, `insert into public.pods (pack_id, namespace, created_by) values ($1, $2, $3)`, id, ns, g.stranger)
	}
	return id
}

// object makes something of the kind and gives what names it: an id, for members
// the namespace, for bundles the path.
func (g *ground) object(t *testing.T, k access.Kind, s subject, r relation) string {
	t.Helper()
	owner := g.owner(s, r)
	switch k {
	case access.Pack:
		return g.pack(t, s, r)
	case access.Bundle:
		return g.make(t, `insert into storage.objects (bucket_id, name, metadata)
			select 'pack-bundles', bundle_path, '{"size":10}' from public.packs where id = $1 returning name`, g.pack(t, s, r))
	case access.Pod:
		return g.make(t, `insert into public.pods (pack_name, namespace, created_by, status) values ('open', $1, $2, 'stopped') returning id::text`, namespaceOf[r], owner)
	case access.Node:
		return g.node(t, owner)
	case access.JoinToken:
		return g.make(t, `insert into stark.join_tokens (secret_hash, created_by, expires_at)
			values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'), $1, now() + interval '1 hour') returning id::text`, owner)
	case access.Namespace:
		return g.make(t, `insert into public.namespaces (name) values ($1) returning id::text`, g.name())
	case access.NamespaceMember:
		if r == other {
			return "ns-closed"
		}
		return namespaceOf[r]
	case access.PriorityClass:
		return g.make(t, `insert into public.priority_classes (name, value) values ($1, 1) returning id::text`, g.name())
	case access.User, access.UserRole, access.Profile:
		return owner
	default: // the settings need no name
		return ""
	}
}

// database is one with the migrations: of the Supabase that the environment names,
// else a copy of the template.
func database(t *testing.T) *pgx.Conn {
	t.Helper()
	if !project.Named() {
		return migratetest.New(t).Conn
	}
	conn, err := pgx.Connect(t.Context(), project.New(t).DBURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
