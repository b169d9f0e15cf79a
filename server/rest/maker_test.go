package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
)

// maker makes what requests are about, each time something new.
type maker struct {
	*stack
	crowd  *crowd
	admin  api.Session
	rows   int // of what may have several
	number int
}

// text writes the next number into a text.
func (m *maker) text(format string) string {
	m.number++
	return fmt.Sprintf(format, m.number)
}

// one runs a statement that gives one text, as the superuser.
func (m *maker) one(sql string, args pgx.NamedArgs) string {
	all := m.many(sql, args)
	if len(all) != 1 {
		m.t.Fatalf("%d rows of %s", len(all), sql)
	}
	return all[0]
}

func (m *maker) many(sql string, args pgx.NamedArgs) []string {
	m.t.Helper()
	named := pgx.NamedArgs{"owner": m.crowd.of, "pack": crowdPack, "node": crowdNode, "n": m.rows}
	maps.Copy(named, args)
	rows, err := m.crowd.conn.Query(m.t.Context(), sql, named)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, sql)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		m.t.Fatalf("%v\n%s", err, sql)
	}
	return texts
}

// unguarded changes roles without the triggers that would refuse it.
func (m *maker) unguarded(sql string) {
	m.crowd.exec("alter table public.user_roles disable trigger user")
	m.crowd.exec(sql)
	m.crowd.exec("alter table public.user_roles enable trigger user")
}

// account is a request for a new account.
func (m *maker) account() string {
	return m.text(`{"email":"made-%d@example.org","displayName":"Somebody","password":"` + goodPassword + `"}`)
}

func (m *maker) credentials() string {
	return `{"email":"` + m.admin.User.Email + `","password":"` + goodPassword + `"}`
}

// session is a new one of the admin.
func (m *maker) session() api.Session {
	rec, _ := m.ask("", post("/auth/login", m.credentials()))
	var s struct{ Data api.Session }
	if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
		m.t.Fatal(err)
	}
	return s.Data
}

// user makes an account that has made pods.
func (m *maker) user() string {
	rec, _ := m.ask(m.admin.AccessToken, m.newUser())
	var made struct{ Data struct{ User api.User } }
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil {
		m.t.Fatal(err)
	}
	m.many("insert into public.pods (pack_id, created_by) select k.id, @user from public.packs k, generate_series(1, @n) where k.version = '2.0.1' returning id::text", pgx.NamedArgs{"user": made.Data.User.ID})
	return made.Data.User.ID
}

// disabled makes an account and shuts it out.
func (m *maker) disabled() string {
	id := m.user()
	m.ask(m.admin.AccessToken, post("/auth/users/"+id+"/disable", ""))
	return id
}

// member makes an account that is a member of the crowd's namespace.
func (m *maker) member() string {
	return m.one("insert into public.namespace_members (namespace, user_id) values ('crowd', @user) returning user_id::text", pgx.NamedArgs{"user": m.user()})
}

func (m *maker) joinToken() string {
	return m.one("insert into stark.join_tokens (secret_hash, created_by, expires_at) values (sha256(@secret::text::bytea), @owner, now() + interval '1 hour') returning id::text",
		pgx.NamedArgs{"secret": m.text("token-%d")})
}

// node makes a node with credentials.
func (m *maker) node() string {
	id := m.one("insert into public.nodes (name, runtime_type, status, registered_by, shared) values (@name, 'node', 'offline', @owner, true) returning id::text",
		pgx.NamedArgs{"name": m.text("made-%d")})
	m.many("insert into stark.node_credentials (node_id, secret_hash, created_by) select @node::text::uuid, sha256((@node::text || i)::bytea), @owner from generate_series(1, @n) i returning id::text",
		pgx.NamedArgs{"node": id})
	return id
}

// namespace makes one with pods.
func (m *maker) namespace() string {
	name := m.one("insert into public.namespaces (name) values (@name) returning name", pgx.NamedArgs{"name": m.text("made-%d")})
	m.many("insert into public.pods (pack_id, created_by, namespace) select @pack, @owner, @name from generate_series(1, @n) returning id::text", pgx.NamedArgs{"name": name})
	return name
}

func (m *maker) class() string {
	return m.one("insert into public.priority_classes (name, value) values (@name, 7) returning name", pgx.NamedArgs{"name": m.text("made-%d")})
}

// pod is a request for a pod like no other.
func (m *maker) pod() string { return m.text(`{"packId":"` + crowdPack + `","labels":{"n":"%d"}}`) }

// pods makes some.
func (m *maker) pods(n int) []string {
	return m.many("insert into public.pods (pack_id, created_by) select @pack, @owner from generate_series(1, @n) returning id::text", pgx.NamedArgs{"n": n})
}

// labelled makes pods, and gives the value of the label that they have.
func (m *maker) labelled() string {
	value := m.text("label-%d")
	m.many("insert into public.pods (pack_id, created_by, labels) select @pack, @owner, jsonb_build_object('made', @value::text) from generate_series(1, @n) returning id::text",
		pgx.NamedArgs{"value": value})
	m.upToDate()
	return value
}

// running makes a pod that runs.
func (m *maker) running() string {
	id := m.pods(1)[0]
	for _, status := range []string{"scheduled", "starting", "running"} {
		m.one("update public.pods set status = @status::text::public.pod_status, node_id = @node where id = @id returning id::text", pgx.NamedArgs{"status": status, "id": id})
		if status == "scheduled" {
			m.one("insert into public.pod_runs (pod_id, incarnation, attempt, node_id, pack_id) values (@id, 1, 1, @node, @pack) returning pod_id::text", pgx.NamedArgs{"id": id})
		}
	}
	return id
}
