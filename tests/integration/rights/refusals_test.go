package rights

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// No developer may do any of this to the tables directly.
func TestWhatUsersCannotWrite(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	owner, other := d.User(t, "developer"), d.User(t, "developer")
	pack := d.Pack(t, owner, "hello", "1.0.0")
	d.Pack(t, other, "secret", "1.0.0")
	d.Exec(t, `update public.packs set visibility = 'public' where id = $1`, d.Pack(t, other, "open", "1.0.0"))
	d.Exec(t, `insert into public.pods (pack_id, created_by) values ($1, $2)`, pack, owner)
	d.Exec(t, `insert into public.namespaces (name) values ('closed')`)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id) values ('closed', $1)`, other)
	for sql, code := range map[string]string{
		`insert into public.user_roles (user_id, role) values (auth.uid(), 'admin')`:                                              "42501",
		`update public.user_roles set role = 'admin'`:                                                                             "42501",
		`update public.users set email = 'x@y.z'`:                                                                                 "42501",
		`insert into public.users (id) values (gen_random_uuid())`:                                                                "42501",
		`select stark.claim_first_admin(auth.uid())`:                                                                              "42501",
		`select stark.purge_terminal_pods(1)`:                                                                                     "42501",
		`select stark.compact_changes('0')`:                                                                                       "42501",
		`select from stark.changes`:                                                                                               "42501",
		`select from stark.node_credentials`:                                                                                      "42501",
		`select from stark.join_tokens`:                                                                                           "42501",
		`insert into public.packs (name, version, runtime_tag, status) values ('p', '1.0.0', 'node', 'ready')`:                    "42501",
		`insert into public.packs (name, version, runtime_tag, bundle_path) values ('p', '1.0.0', 'node', 'x')`:                   "42501",
		`insert into public.packs (name, version, runtime_tag, owner_id) values ('p', '1.0.0', 'node', gen_random_uuid())`:        "42501",
		`insert into public.pods (pack_name, status) values ('hello', 'running')`:                                                 "42501",
		`insert into public.pods (pack_name, priority) values ('hello', 5)`:                                                       "42501",
		`insert into public.pods (pack_name, node_id) values ('hello', gen_random_uuid())`:                                        "42501",
		`insert into public.pods (pack_id, created_by) select id, owner_id from public.packs where name = 'open'`:                 "42501",
		`insert into public.pods (pack_name) values ('secret')`:                                                                   "ST404",
		`insert into public.pods (pack_name, namespace) values ('hello', 'stark-system')`:                                         "42501",
		`insert into public.pods (pack_name, namespace) values ('hello', 'closed')`:                                               "42501",
		`update public.pods set status = 'running'`:                                                                               "42501",
		`update public.pods set incarnation = 9`:                                                                                  "42501",
		`insert into public.nodes (name, runtime_type, shared) values ('n', 'node', true)`:                                        "42501",
		`insert into public.nodes (name, runtime_type, status) values ('n', 'node', 'online')`:                                    "42501",
		`insert into public.nodes (name, runtime_type, namespaces) values ('n', 'node', '{closed}')`:                              "ST403",
		`insert into public.pod_history (pod_id) values (gen_random_uuid())`:                                                      "42501",
		`delete from public.pod_history`:                                                                                          "42501",
		`insert into public.pod_runs (pod_id, incarnation, attempt, pack_id) values (gen_random_uuid(), 1, 1, gen_random_uuid())`: "42501",
		`update public.namespaces set resource_usage = '{}'`:                                                                      "42501",
		`insert into public.namespace_members (namespace, user_id) values ('closed', auth.uid())`:                                 "42501",
		`delete from public.cluster_config`:                                                                                       "42501",
		`truncate public.pods`:                                                                                                    "42501",
	} {
		err := d.As(t, owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), sql)
			return err
		})
		if migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %s", sql, err, code)
		}
	}
}

func TestAnonymousCallersGetNothing(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	conn := d.Connect(t, "authenticator")
	migratetest.Exec(t, conn, `set role anon`)
	for _, table := range []string{"users", "user_roles", "packs", "nodes", "pods", "pod_runs", "pod_history", "namespaces", "namespace_members", "priority_classes", "cluster_config"} {
		if _, err := conn.Exec(t.Context(), `select from public.`+table); migratetest.Code(err) != "42501" {
			t.Errorf("anon reads %s: %v", table, err)
		}
	}
}

// A live pod is stopped, not deleted; an ended one of one's own may go.
func TestUsersDeleteEndedPodsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pack := w.Pack(t, w.owner, "hello", "1.0.0")
	id := migratetest.Value[string](t, w.Conn, `insert into public.pods (pack_id, created_by) values ($1, $2) returning id::text`, pack, w.owner)
	if w.may(t, w.owner, `delete from public.pods where id = $1`, id) {
		t.Error("a live pod was deleted")
	}
	w.Exec(t, `update public.pods set stop_requested_at = now() where id = $1`, id)
	if !w.may(t, w.owner, `delete from public.pods where id = $1`, id) {
		t.Error("an ended pod could not be deleted")
	}
}

func TestARemovedRoleIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const insert = `insert into public.packs (name, version, runtime_tag) values ('fresh', '1.0.0', 'node')`
	if !w.may(t, w.owner, insert) {
		t.Fatal("a developer cannot create a pack")
	}
	w.Exec(t, `delete from public.user_roles where user_id = $1`, w.owner)
	if w.may(t, w.owner, insert) {
		t.Error("a removed role still counts")
	}
}

func TestBundlesAreAsPrivateAsTheirPacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	users := map[string]string{}
	for id, name := range w.names {
		users[name] = id
	}
	path := w.owner + "/hello/1.0.0/" + strings.Repeat("a", 64) + ".js"
	const insert = `insert into storage.objects (bucket_id, name, owner_id) values ($1, $2, auth.uid()::text)`
	for _, test := range []struct {
		who, bucket, path string
		want              bool
	}{
		{"owner", "pack-bundles", path, true},
		{"stranger", "pack-bundles", path, false},
		{"operator", "pack-bundles", users["operator"] + "/a/1.0.0/x.js", false},
		{"viewer", "pack-bundles", users["viewer"] + "/a/1.0.0/x.js", false},
		{"nobody", "pack-bundles", users["nobody"] + "/a/1.0.0/x.js", false},
		{"admin", "pack-bundles", users["admin"] + "/a/1.0.0/x.js", true},
		{"admin", "pack-bundles", path, false},
		{"owner", "pack-bundles", "x.js", false},
		{"owner", "pack-bundles", "x/" + path, false},
	} {
		if got := w.may(t, users[test.who], insert, test.bucket, test.path); got != test.want {
			t.Errorf("%s uploads %s: %t, want %t", test.who, test.path, got, test.want)
		}
	}

	w.Exec(t, `insert into storage.objects (bucket_id, name) values ('pack-bundles', $1)`, path)
	expect := func(step string, readers, removers string) {
		t.Helper()
		for name, id := range users {
			if got := len(w.sees(t, id, `select name from storage.objects`)) == 1; got != strings.Contains(readers, name+";") {
				t.Errorf("%s: %s reads the bundle: %t", step, name, got)
			}
			if w.may(t, id, `update storage.objects set name = name`) {
				t.Errorf("%s: %s overwrites the bundle", step, name)
			}
			if got := w.removes(t, id); got != strings.Contains(removers, name+";") {
				t.Errorf("%s: %s removes the bundle: %t", step, name, got)
			}
		}
	}
	expect("before the pack", "owner;admin;operator;", "owner;admin;")
	pack := w.Pack(t, w.owner, "hello", "1.0.0")
	expect("private pack", "owner;admin;operator;", "")
	w.Exec(t, `update public.packs set visibility = 'public' where id = $1`, pack)
	expect("public pack", "owner;admin;operator;stranger;member;viewer;viewer and developer;", "")
	w.Exec(t, `delete from public.packs where id = $1`, pack)
	expect("after the pack", "owner;admin;operator;", "owner;admin;")
}

// removes tries to delete all objects as the Storage service does for the user.
func (w *world) removes(t *testing.T, userID string) bool {
	t.Helper()
	did := false
	err := w.As(t, userID, func(q migratetest.Querier) error {
		migratetest.Exec(t, q, `set local storage.allow_delete_query = 'true'`)
		tag, err := q.Exec(t.Context(), `delete from storage.objects`)
		did = err == nil && tag.RowsAffected() > 0
		if err == nil {
			err = errUndo
		}
		return err
	})
	if migratetest.Code(err) != "" {
		t.Errorf("%s removes: %v", w.names[userID], err)
	}
	return did
}
