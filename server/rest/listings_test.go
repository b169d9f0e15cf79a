package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server/postgres/postgrestest"
)

// Every GET asks the database as often where there are a hundred of everything as where
// there are two: lists, and the others, in which a look at each of many would hide as
// well. They are those of the served OpenAPI document, so that a new one is measured
// without anybody thinking of it.
func TestListsAskAsOftenForManyAsForFew(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	crowd := newCrowd(t, s, admin.User.ID)
	lists, others := s.gets(admin.User.ID)
	delete(others, "getPackBundle") // Storage holds nothing of the crowd; the database is asked for the pack alone, as by getPack
	if len(lists) < 12 || len(others) < 12 {
		t.Fatalf("the OpenAPI document has only the lists %v and, beside them, %v", slices.Sorted(maps.Keys(lists)), slices.Sorted(maps.Keys(others)))
	}
	all := maps.Clone(lists)
	maps.Copy(all, others)
	crowd.grow(2)
	s.upToDate()
	few := map[string]listing{}
	for id, path := range all {
		few[id] = s.list(admin.AccessToken, path)
	}
	crowd.grow(120)
	s.upToDate()
	budget := readBudget(t)
	for id, path := range all {
		many := s.list(admin.AccessToken, path)
		if most, known := budget[id]; !known || len(many.sent) > most {
			t.Errorf("%s (%s) sends %d statements, testdata/statements.txt allows %d:\n%s", id, path, len(many.sent), most, strings.Join(many.sent, "\n"))
		}
		switch _, list := lists[id]; {
		case list && many.entries <= few[id].entries:
			t.Errorf("%s (%s) lists %d entries, and %d before there were more: it is not measured", id, path, many.entries, few[id].entries)
		case list && len(many.sent) == 0:
			t.Errorf("%s (%s) was answered without the database: the statements are not counted", id, path)
		}
		if len(many.sent) != len(few[id].sent) {
			t.Errorf("%s (%s) sends %d statements for %d entries and %d for %d:\n%s", id, path,
				len(few[id].sent), few[id].entries, len(many.sent), many.entries, strings.Join(many.sent, "\n"))
		}
	}
}

// upToDate waits until the read model knows all that is committed, so that lists are
// answered with its help, as they are in a server.
func (s *stack) upToDate() {
	s.t.Helper()
	now, err := s.db.Position(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.model.Await(ctx, func(have string) bool { return s.db.Covers(have, now) && !s.model.Pods.Snapshot().At().IsZero() }); err != nil {
		s.t.Fatal("the read model is behind")
	}
}

// readBudget gives how many statements each operation may send.
func readBudget(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("testdata/statements.txt")
	if err != nil {
		t.Fatal(err)
	}
	budget := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var id string
		var n int
		if strings.HasPrefix(line, "#") {
			continue
		}
		if _, err := fmt.Sscan(line, &id, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		budget[id] = n
	}
	return budget
}

// listing is one answer: how many entries it has, and what was asked for it.
type listing struct {
	entries int
	sent    []string
}

// list asks three times, because what changes meanwhile, such as the roles of users, is
// read once more and then remembered, and gives the answer that took the least.
func (s *stack) list(token, path string) listing {
	s.t.Helper()
	least := s.listOnce(token, path)
	for range 2 {
		if l := s.listOnce(token, path); len(l.sent) < len(least.sent) {
			least = l
		}
	}
	return least
}

// listOnce asks without a network in between, so that the statements are its own.
func (s *stack) listOnce(token, path string) listing {
	s.t.Helper()
	ctx, statements := postgrestest.Record(s.t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	req.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, req)
	var body struct{ Data map[string]json.RawMessage }
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != http.StatusOK {
		s.t.Fatalf("%s: %d %s %v", path, rec.Code, rec.Body, err)
	}
	l := listing{sent: statements.Sent()}
	for _, v := range body.Data {
		var entries []json.RawMessage
		if json.Unmarshal(v, &entries) == nil {
			l.entries = max(l.entries, len(entries))
		}
	}
	return l
}

// gets are the paths of the operations that read, by their ids: those whose answer holds
// an array, each with the largest page that there is, and the others.
func (s *stack) gets(user string) (lists, others map[string]string) {
	s.t.Helper()
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, "/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	lists, others = map[string]string{}, map[string]string{}
	for path, item := range doc.Paths.Map() {
		if item.Get == nil || item.Get.Responses.Status(http.StatusOK) == nil {
			continue
		}
		media := item.Get.Responses.Status(http.StatusOK).Value.Content.Get("application/json")
		if media == nil { // a stream
			continue
		}
		if !holdsArray(media.Schema.Value.Properties["data"]) {
			others[item.Get.OperationID] = fill(path, user)
			continue
		}
		var query []string
		for _, p := range item.Get.Parameters {
			if size := map[string]string{"pageSize": "100", "limit": "100"}[p.Value.Name]; size != "" {
				query = append(query, p.Value.Name+"="+size)
			}
		}
		lists[item.Get.OperationID] = fill(path, user) + "?" + strings.Join(query, "&")
		for _, p := range item.Get.Parameters { // a filter may take another way through the code
			if value := filters[p.Value.Name]; value != "" && p.Value.In == openapi3.ParameterInQuery {
				others[item.Get.OperationID+"?"+p.Value.Name] = fill(path, user) + "?" + strings.Join(append(slices.Clone(query), p.Value.Name+"="+value), "&")
			}
		}
	}
	return lists, others
}

// filters are values by which lists find some of the crowd.
var filters = map[string]string{
	"labelSelector": "crowd%3Dyes", "namespace": "default", "packName": "crowd", "packId": crowdPack, "nodeId": crowdNode,
	"search": "crowd", "q": "crowd", "pack": "crowd", "runtimeType": "node", "kind": "pod",
}

// fill puts what the crowd has into a path.
func fill(path, user string) string {
	if strings.HasPrefix(path, "/api/packs/{id}/versions") {
		return strings.ReplaceAll(path, "{id}", "crowd") // by the name
	}
	for _, in := range []struct{ prefix, is string }{
		{"/api/packs/", crowdPack},
		{"/api/pods/", crowdPod},
		{"/api/nodes/name/", "crowd"},
		{"/api/nodes/", crowdNode},
		{"/api/namespaces/", "crowd"},
		{"/api/priority-classes/", "crowd-1"},
		{"/auth/users/", user},
	} {
		if strings.HasPrefix(path, in.prefix) {
			return strings.NewReplacer("{id}", in.is, "{name}", in.is).Replace(path)
		}
	}
	return path
}

func holdsArray(data *openapi3.SchemaRef) bool {
	if data == nil || data.Value == nil {
		return false
	}
	for _, p := range data.Value.Properties {
		if p.Value != nil && p.Value.Type.Includes("array") {
			return true
		}
	}
	return false
}

const (
	crowdPack = "00000000-0000-4000-8000-0000000000a1"
	crowdPod  = "00000000-0000-4000-8000-0000000000a2"
	crowdNode = "00000000-0000-4000-8000-0000000000a3"
)

// crowd fills every table that a list reads.
type crowd struct {
	t    *testing.T
	conn *pgx.Conn
	of   string // the user whom all of it belongs to
	made int
}

func newCrowd(t *testing.T, s *stack, owner string) *crowd {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	c := &crowd{t: t, conn: conn, of: owner}
	c.exec(`insert into public.packs (id, name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size)
		values (@pack, 'crowd', '1.0.0', 'node', @owner, 'ready', repeat('a', 64), 1)`)
	c.exec(`insert into public.nodes (id, name, runtime_type, status, registered_by, shared, allocatable)
		values (@node, 'crowd', 'node', 'online', @owner, true, '{"cpu":64000,"memory":65536,"storage":10240,"pods":900}')`)
	c.exec("insert into public.namespaces (name) values ('crowd')")
	c.exec("insert into public.pods (id, pack_id, created_by) values (@pod, @pack, @owner)")
	return c
}

// grow makes n more of everything.
func (c *crowd) grow(n int) {
	c.t.Helper()
	for _, sql := range []string{
		`insert into auth.users (id, email) select gen_random_uuid(), format('crowd-%s@example.org', i) from generate_series(@from, @to) i`,
		`insert into public.user_roles (user_id, role) select id, 'viewer' from public.users u
			where not exists (select from public.user_roles r where r.user_id = u.id)`,
		`insert into public.namespace_members (namespace, user_id) select 'crowd', u.id from public.users u on conflict do nothing`,
		`insert into public.namespaces (name) select 'crowd-' || i from generate_series(@from, @to) i`,
		`insert into public.priority_classes (name, value) select 'crowd-' || i, i from generate_series(@from, @to) i`,
		`insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size, visibility)
			select 'crowd', '2.0.' || i, 'node', @owner, 'ready', repeat('a', 64), 1, 'public' from generate_series(@from, @to) i`,
		`insert into public.nodes (name, runtime_type, status, registered_by, shared, allocatable)
			select 'crowd-' || i, 'node', 'online', @owner, true, '{"cpu":4000,"memory":8192,"storage":10240,"pods":50}' from generate_series(@from, @to) i`,
		`insert into public.pods (pack_id, created_by, labels) select @pack, @owner, '{"crowd":"yes"}' from generate_series(@from, @to)`,
		`insert into public.pods (pack_id, created_by, labels, namespace)
			select k.id, u.id, '{"crowd":"yes"}', 'default' from generate_series(@from, @to) i
				join public.packs k on k.version = '2.0.' || i join public.users u on u.email = format('crowd-%s@example.org', i)`,
		`update public.pods p set status = 'scheduled', node_id = n.id from public.nodes n
			where p.status = 'pending' and p.id <> @pod and n.name = 'crowd-' || substr(p.pack_version, 5) and p.pack_version like '2.0.%'`,
		`update public.pods set status = 'scheduled', node_id = @node where status = 'pending' and id <> @pod`,
		`insert into public.pod_runs (pod_id, incarnation, attempt, node_id, pack_id)
			select id, 1, 1, @node, @pack from public.pods where node_id = @node on conflict do nothing`,
		`update public.pods set status = 'starting' where status = 'scheduled'`,
		`insert into public.pod_runs (pod_id, incarnation, attempt, node_id, pack_id, status)
			select @pod, 1, i, @node, @pack, 'lost' from generate_series(@from, @to) i`,
		`insert into stark.drain_blocks (node_id, pod_id, reason, message)
			select @node, id, 'RestartPolicy', 'stays' from public.pods where node_id = @node on conflict do nothing`,
		`insert into public.pod_history (pod_id, namespace, pod_created_by, action, incarnation)
			select @pod, 'default', @owner, 'created', 1 from generate_series(@from, @to)`,
		`insert into stark.join_tokens (secret_hash, created_by, expires_at)
			select sha256(i::text::bytea), @owner, now() + interval '1 hour' from generate_series(@from, @to) i`,
	} {
		c.exec(strings.NewReplacer("@from", fmt.Sprint(c.made+1), "@to", fmt.Sprint(c.made+n)).Replace(sql))
	}
	c.made += n
}

func (c *crowd) exec(sql string) {
	c.t.Helper()
	named := pgx.NamedArgs{"owner": c.of, "pack": crowdPack, "pod": crowdPod, "node": crowdNode}
	if _, err := c.conn.Exec(c.t.Context(), sql, named); err != nil {
		c.t.Fatalf("%v\n%s", err, sql)
	}
}
