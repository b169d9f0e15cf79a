package rights

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// What a developer tries who writes the tables past the API. Each line is one
// attack on a state, a version, a quota or an owner.
func TestAttacksByRows(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	me, victim := d.User(t, "developer"), d.User(t, "developer")
	d.Exec(t, `insert into public.namespaces (name, resource_quota) values ('small', '{"hard":{"pods":2,"cpu":150}}')`)
	d.Exec(t, `insert into public.namespaces (name) values ('theirs')`)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id) values ('theirs', $1)`, victim)
	ready := d.Pack(t, me, "mine", "1.0.0")
	d.Exec(t, `insert into public.packs (name, version, runtime_tag, owner_id) values ('mine', '2.0.0', 'node', $1)`, me)
	foreign := d.Pack(t, victim, "theirs", "1.0.0")
	d.Exec(t, `insert into public.nodes (name, runtime_type, registered_by) values ('mine', 'node', $1), ('theirs', 'node', $2)`, me, victim)
	ended := migratetest.Value[string](t, d.Conn, `insert into public.pods (pack_id, created_by, status) values ($1, $2, 'stopped') returning id::text`, ready, me)
	old := migratetest.Value[string](t, d.Conn, `insert into public.pods (pack_id, created_by) values ($1, $2) returning id::text`, foreign, victim)
	d.Exec(t, `delete from public.pods where id = $1`, old)
	for sql, code := range map[string]string{
		// roles
		`insert into public.user_roles (user_id, role) values (auth.uid(), 'operator')`:                          "42501",
		`update auth.users set raw_app_meta_data = '{"roles":["admin"]}'`:                                        "42501",
		`update auth.users set is_anonymous = false`:                                                             "42501",
		`update public.users set disabled_at = null`:                                                             "42501",
		`update public.cluster_config set open_registration = true`:                                              "42501",
		`insert into public.namespace_members (namespace, user_id, role) values ('theirs', auth.uid(), 'admin')`: "42501",
		// packs
		`update public.packs set status = 'ready' where version = '2.0.0'`:                                                   "42501",
		`update public.packs set bundle_sha256 = repeat('b', 64), bundle_size = 9, status = 'ready' where version = '2.0.0'`: "42501",
		`update public.packs set bundle_sha256 = '../../x', bundle_size = 9 where version = '2.0.0'`:                         "42501",
		`update public.packs set bundle_sha256 = repeat('b', 64) where version = '1.0.0'`:                                    "42501",
		`update public.packs set bundle_size = 9 where version = '2.0.0'`:                                                    "42501",
		`update public.packs set status = 'pending' where version = '1.0.0'`:                                                 "42501",
		`update public.packs set version = '9.0.0'`:                                                                          "42501",
		`update public.packs set owner_id = auth.uid()`:                                                                      "42501",
		`insert into public.packs (name, version, runtime_tag) values ('theirs', '9.0.0', 'node')`:                           "23505",
		`insert into public.packs (name, version, runtime_tag) values ('mine', '1.0.0', 'node')`:                             "23505",
		`insert into public.packs (name, version, runtime_tag) values ('mine', '1', 'node')`:                                 "23514",
		`insert into public.packs (name, version, runtime_tag, format) values ('new', '1.0.0', 'node', 'wasm')`:              "23514",
		// pods
		`insert into public.pods (pack_name, pack_version) values ('mine', '2.0.0')`:                                "STINV",
		`insert into public.pods (pack_name, resource_requests) values ('mine', '{"cpu":999999999999999}')`:         "ST400",
		`insert into public.pods (pack_name, resource_limits) values ('mine', '{"memory":16777217}')`:               "ST400",
		`insert into public.pods (pack_name, resource_requests) values ('mine', '{"cpu":-1}')`:                      "ST400",
		`insert into public.pods (pack_name, namespace, resource_requests) values ('mine', 'small', '{"cpu":151}')`: "STQUO",
		`insert into public.pods (pack_name, namespace) select 'mine', 'small' from generate_series(1, 3)`:          "STQUO",
		`insert into public.pods (pack_name, namespace) values ('mine', 'theirs')`:                                  "42501",
		`insert into public.pods (pack_name, priority_class_name) values ('mine', 'system-node-critical')`:          "ST403",
		`insert into public.pods (pack_name, termination_grace_period_seconds) values ('mine', 999999)`:             "23514",
		`insert into public.pods (id, pack_name) values ('` + old + `', 'mine')`:                                    "ST409",
		`insert into public.pods (id, pack_name) values ('` + ended + `', 'mine')`:                                  "23505",
		`insert into public.pods (pack_name, env) values ('mine', '{"STARK_POD_ID":"x"}')`:                          "23514",
		`update public.pods set node_id = null`:                                                                     "42501",
		`update public.pods set pack_id = pack_id`:                                                                  "42501",
		`update public.pods set created_by = auth.uid()`:                                                            "42501",
		`update public.pods set namespace = 'small'`:                                                                "42501",
		`update public.pods set resource_requests = '{}'`:                                                           "42501",
		// nodes
		`update public.nodes set shared = true`:                                                              "42501",
		`update public.nodes set status = 'online'`:                                                          "42501",
		`update public.nodes set last_heartbeat = now()`:                                                     "42501",
		`update public.nodes set namespaces = '{theirs}'`:                                                    "ST403",
		`update public.nodes set registered_by = '` + victim + `' where name = 'mine'`:                       "ST403",
		`insert into public.nodes (name, runtime_type) values ('theirs', 'node')`:                            "23505",
		`insert into public.nodes (name, runtime_type, allocatable) values ('n', 'node', '{"cpu":1000001}')`: "23514",
		`update public.nodes set name = 'x'`:                                                                 "42501",
		// history
		`update public.pod_history set actor_id = auth.uid()`: "42501",
		`truncate public.pod_history`:                         "42501",
	} {
		err := d.As(t, me, func(q migratetest.Querier) error {
			if _, err := q.Exec(t.Context(), sql); err != nil {
				return err
			}
			return errUndo
		})
		if migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %s", sql, err, code)
		}
	}
}

// A role taken from sign-up metadata, user metadata or a token is no role.
func TestNoDoorGivesARole(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	id := migratetest.Value[string](t, d.Conn, `insert into auth.users (id, email, raw_user_meta_data, raw_app_meta_data)
		values (gen_random_uuid(), 'eve@example.com', '{"roles":["admin"],"role":"admin"}', '{"roles":["admin"]}') returning id::text`)
	d.Exec(t, `update auth.users set raw_user_meta_data = '{"roles":["admin"],"stark":{"roles":["admin"]}}' where id = $1`, id)
	if roles := migratetest.Values[string](t, d.Conn, `select role::text from public.user_roles where user_id = $1 and role <> 'viewer'`, id); len(roles) != 0 {
		t.Errorf("metadata gave %v", roles)
	}
	staff := migratetest.Value[bool](t, d.Conn, `select set_config('request.jwt.claims', $1, false) is null or stark.is_staff()`,
		fmt.Sprintf(`{"sub":%q,"role":"authenticated","stark":{"roles":["admin"]},"user_metadata":{"roles":["admin"]},"app_metadata":{"roles":["admin"]}}`, id))
	if staff {
		t.Error("a claim made somebody staff")
	}
	token := migratetest.Value[string](t, d.Connect(t, "supabase_auth_admin"), `select stark.custom_access_token_hook(jsonb_build_object(
		'user_id', $1::text, 'claims', jsonb_build_object('stark', '{"roles":["admin"]}'::jsonb)))::text`, id)
	if strings.Contains(token, "admin") {
		t.Errorf("the hook let a claimed role pass: %s", token)
	}
}

// A row inserted past the server is scheduled as one from POST /api/pods, through
// SQL as the user and through PostgREST's address alike.
func TestAPodInsertedAsARowIsScheduled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	who := s.subjects[slicesIndex(s.subjects, api.RoleDeveloper)]
	s.exec(t, `insert into public.nodes (name, runtime_type, registered_by, status, last_heartbeat) values ('here', 'node', $1, 'online', now())`, who.id)
	s.exec(t, `insert into stark.node_leases (node_id, renewed_at) select id, now() + interval '1 hour' from public.nodes where name = 'here'`)
	listener := s.listen(t)

	status, answer := s.do(t, http.MethodPost, "/api/pods", `{"packName":"open","labels":{"door":"rest"}}`, s.token(t, who))
	if status != http.StatusCreated && status != http.StatusAccepted {
		t.Fatalf("REST: %d %s", status, answer)
	}
	if rows, err := s.keep(t, who, `insert into public.pods (pack_name, labels) values ('open', '{"door":"sql"}')`); rows != 1 || err != nil {
		t.Fatalf("SQL: %d rows, %v", rows, err)
	}
	status, answer = s.postgrest(t, who, "/rest/v1/pods", `{"pack_name":"open","labels":{"door":"postgrest"}}`)
	if status != http.StatusCreated {
		t.Fatalf("PostgREST: %d %s", status, answer)
	}
	const settled = `select count(distinct (to_jsonb(p) - '{id,labels,created_at,updated_at,scheduled_at}'::text[]))::text || ' ' || count(*) filter (where p.status = 'scheduled')
		from public.pods p where p.labels ? 'door'`
	s.await(t, listener, settled, "1 3")
	for _, h := range migratetest.Values[string](t, s.conn, `select p.labels ->> 'door' from public.pods p where p.labels ? 'door'
		and not exists (select from public.pod_history h where h.pod_id = p.id and h.action = 'created' and h.actor_id = p.created_by)`) {
		t.Errorf("%s: the history does not say who made the pod", h)
	}
}

func slicesIndex(all []subject, role api.Role) int {
	for i, s := range all {
		if s.role == role {
			return i
		}
	}
	return 0
}

// keep runs a statement as the subject and commits it.
func (s *site) keep(t *testing.T, who subject, sql string) (rows int64, err error) {
	t.Helper()
	err = migratetest.AsOn(t, s.conn, who.id, func(q migratetest.Querier) error {
		tag, err := q.Exec(t.Context(), sql)
		rows = tag.RowsAffected()
		return err
	})
	return rows, err
}

// postgrest posts to the stack's gateway as supabase-js does.
func (s *site) postgrest(t *testing.T, who subject, path, body string) (int, string) {
	t.Helper()
	gateway := *s
	gateway.url = strings.TrimSuffix(s.issuer, "/auth/v1")
	return gateway.do(t, http.MethodPost, path, body, s.token(t, who))
}

func (s *site) listen(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), s.conn.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	migratetest.Exec(t, conn, `listen stark_changes`)
	return conn
}

// await asks again after every change until the answer is the wanted one.
func (s *site) await(t *testing.T, listener *pgx.Conn, query, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		got := migratetest.Value[string](t, s.conn, query)
		if got == want {
			return
		}
		if _, err := listener.WaitForNotification(ctx); err != nil {
			t.Fatalf("still %q, want %q: %v", got, want, err)
		}
	}
}
