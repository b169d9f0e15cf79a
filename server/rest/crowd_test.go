package rest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

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
			where u.disabled_at is null and not exists (select from public.user_roles r where r.user_id = u.id)`,
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
