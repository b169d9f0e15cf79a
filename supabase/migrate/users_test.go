package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

const described = `select concat_ws(' ', u.email, u.display_name, (select string_agg(r.role::text, ',' order by r.role) from public.user_roles r where r.user_id = u.id))
	from public.users u where u.id = $1`

func TestSigningUpMakesAProfileWhateverTheClientSends(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	d.Exec(t, `update public.cluster_config set open_registration = true`)
	for _, test := range []struct{ email, meta, anonymous, want string }{
		{"a@x.org", `{"display_name":"  Ann  ","roles":["admin"],"role":"admin"}`, "false", "a@x.org Ann viewer"},
		{"b@x.org", `{"display_name":"` + strings.Repeat("é", 300) + `"}`, "false", "b@x.org " + strings.Repeat("é", 100) + " viewer"},
		{"c@x.org", `{"display_name":{"a":1}}`, "false", `c@x.org {"a": 1} viewer`},
		{"d@x.org", `[]`, "false", "d@x.org viewer"},
		{"e@x.org", `null`, "false", "e@x.org viewer"},
		{"", `{}`, "true", ""},
	} {
		var id string
		err := d.Conn.QueryRow(t.Context(), `insert into auth.users (id, email, raw_user_meta_data, is_anonymous)
			values (gen_random_uuid(), nullif($1, ''), $2::text::jsonb, $3::text::boolean) returning id::text`, test.email, test.meta, test.anonymous).Scan(&id)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if got := migratetest.Value[string](t, d.Conn, described, id); got != test.want {
			t.Errorf("%+v: profile %q", test, got)
		}
	}
}

func TestProfilesFollowTheAccount(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	d.Exec(t, `update public.cluster_config set open_registration = true`)
	id := migratetest.Value[string](t, d.Conn, `insert into auth.users (id, is_anonymous) values (gen_random_uuid(), true) returning id::text`)
	d.Exec(t, `update auth.users set last_sign_in_at = now() where id = $1`, id)
	if got := migratetest.Value[string](t, d.Conn, described, id); got != "" {
		t.Errorf("an anonymous account is %q", got)
	}
	d.Exec(t, `update auth.users set email = 'new@x.org', is_anonymous = false where id = $1`, id)
	if got := migratetest.Value[string](t, d.Conn, described, id); got != "new@x.org viewer" {
		t.Errorf("after its conversion it is %q", got)
	}
	d.Exec(t, `delete from auth.users where id = $1`, id)
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from public.users`); n != 0 {
		t.Error("the profile outlived the account")
	}
}

// Packs and pods say who made them, so whoever has some stays, and who asks is told.
func TestAccountsThatOwnStay(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	id := d.User(t, "developer")
	pack := d.Pack(t, id, "own", "1.0.0")
	d.Exec(t, `insert into public.pods (pack_id, created_by) values ($1, $2)`, pack, id)
	refused := func(err error, message string) {
		t.Helper()
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Code != "PT409" || !strings.Contains(e.Message, message) || !strings.Contains(e.Hint, "stark user disable") {
			t.Errorf("got %v", err)
		}
	}
	auth := d.Connect(t, "supabase_auth_admin")
	_, err := auth.Exec(t.Context(), `delete from auth.users where id = $1`, id)
	refused(err, "owns 1 pack(s) and 1 pod(s)")
	refused(d.AsService(t, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `delete from public.users where id = $1`, id)
		return err
	}), "owns 1 pack(s) and 1 pod(s)")
	d.Exec(t, `delete from public.pods`)
	_, err = auth.Exec(t.Context(), `delete from auth.users where id = $1`, id)
	refused(err, "owns 1 pack(s) and 0 pod(s)")
	d.Exec(t, `delete from public.packs`)
	if _, err := auth.Exec(t.Context(), `delete from auth.users where id = $1`, id); err != nil {
		t.Error(err)
	}
}

// Auth deletes accounts as a role of its own, whatever hangs on them: roles,
// memberships, nodes.
func TestAuthDeletesAccounts(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	id := d.User(t, "developer", "operator")
	d.Exec(t, `insert into public.namespaces (name, created_by) values ('team', $1)`, id)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'admin')`, id)
	d.Exec(t, `insert into public.nodes (name, runtime_type, registered_by, namespaces, status) values ('n', 'node', $1, '{team}', 'online')`, id)
	d.Exec(t, `insert into public.nodes (name, runtime_type, registered_by, shared, status) values ('s', 'node', $1, true, 'online')`, id)
	d.Exec(t, `insert into stark.node_leases (node_id) select id from public.nodes`)
	if _, err := d.Connect(t, "supabase_auth_admin").Exec(t.Context(), `delete from auth.users where id = $1`, id); err != nil {
		t.Fatal(err)
	}
	for _, left := range migratetest.Values[string](t, d.Conn, `select name from public.nodes
		where shared or namespaces <> '{}' or status <> 'offline' or registered_by is not null
			or id in (select node_id from stark.node_leases)`) {
		t.Errorf("node %s still serves", left)
	}
}

func TestTheFirstAdminIsClaimedOnce(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	var group errgroup.Group
	var claimed atomic.Int32
	for range 8 {
		user, conn := d.User(t), d.Connect(t, "postgres")
		group.Go(func() error {
			var did bool
			if _, err := conn.Exec(t.Context(), `set role service_role`); err != nil {
				return err
			}
			if err := conn.QueryRow(t.Context(), `select stark.claim_first_admin($1)`, user).Scan(&did); err != nil {
				return err
			}
			if did {
				claimed.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if claimed.Load() != 1 {
		t.Errorf("%d claims succeeded", claimed.Load())
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from public.user_roles where role = 'admin'`); n != 1 {
		t.Errorf("%d admins", n)
	}
}

func TestTheLastAdminStays(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	first, second := d.User(t, "admin"), d.User(t, "admin")
	remove := func(by, whose string) error {
		return d.As(t, by, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `delete from public.user_roles where user_id = $1 and role = 'admin'`, whose)
			return err
		})
	}
	if err := remove(first, second); err != nil {
		t.Fatal(err)
	}
	if err := remove(first, first); migratetest.Code(err) != "ST409" {
		t.Errorf("the last admin left: %v", err)
	}
}

func TestAccessTokenHook(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	user := d.User(t, "admin")
	// GoTrue calls it as this role, with its own search_path.
	conn := d.Connect(t, "supabase_auth_admin")
	for _, test := range []struct{ event, want string }{
		{`{"user_id":"` + user + `","claims":{"sub":"x","aud":"a"}}`, `{"aud": "a", "sub": "x", "stark": {"roles": ["admin", "viewer"]}}`},
		{`{"user_id":"00000000-0000-0000-0000-000000000000","claims":{"sub":"x"}}`, `{"sub": "x", "stark": {"roles": []}}`},
		{`{"user_id":"nobody","claims":{"sub":"x"}}`, `{"sub": "x"}`},
		{`{"claims":{"sub":"x"}}`, `{"sub": "x", "stark": {"roles": []}}`},
		{`{"user_id":"` + user + `","claims":7}`, `7`},
	} {
		if got := migratetest.Value[string](t, conn, `select (stark.custom_access_token_hook($1::text::jsonb) -> 'claims')::text`, test.event); got != test.want {
			t.Errorf("hook(%s) = %s, want %s", test.event, got, test.want)
		}
	}
	if got := migratetest.Value[string](t, conn, `select stark.custom_access_token_hook('[]')::text`); got != "[]" {
		t.Errorf("hook([]) = %s", got)
	}
	err := d.As(t, user, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `select stark.custom_access_token_hook('{}')`)
		return err
	})
	if migratetest.Code(err) != "42501" {
		t.Errorf("a user called the hook: %v", err)
	}
}

func TestReadyPacksNeverChange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := f.owner + "/hello/1.0.0/" + strings.Repeat("a", 64) + ".js"
	if got := migratetest.Value[string](t, f.Conn, `select bundle_path from public.packs where id = $1`, f.pack); got != path {
		t.Errorf("bundle path %s, want %s", got, path)
	}
	for set, code := range map[string]string{
		`bundle_sha256 = repeat('b', 64)`:        "ST409",
		`bundle_size = 11`:                       "ST409",
		`status = 'pending'`:                     "ST409",
		`version = '2.0.0'`:                      "ST409",
		`name = 'other'`:                         "ST409",
		`runtime_tag = 'browser'`:                "ST409",
		`format = 'esm'`:                         "ST409",
		`description = repeat('x', 1001)`:        "23514",
		`metadata = '"text"'`:                    "23514",
		`description = 'words'`:                  "",
		`metadata = '{"a":1}'`:                   "",
		`visibility = 'public'`:                  "",
		`bundle_path = 'someone/else.js'`:        "",
		`updated_at = '2000-01-01'::timestamptz`: "",
	} {
		if _, err := f.Conn.Exec(t.Context(), `update public.packs set `+set+` where id = $1`, f.pack); migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %q", set, err, code)
		}
	}
	if got := migratetest.Value[string](t, f.Conn, `select bundle_path from public.packs where id = $1`, f.pack); got != path {
		t.Errorf("bundle path was moved to %s", got)
	}
}

func TestPackNamesAndVersions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.User(t, "developer")
	insert := func(owner, name, version string) error {
		return f.As(t, owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `insert into public.packs (name, version, runtime_tag) values ($1, $2, 'node')`, name, version)
			return err
		})
	}
	for _, test := range []struct{ owner, name, version, code string }{
		{f.owner, "hello", "1.1.0", ""},
		{f.owner, "hello", "1.1.0", "23505"},
		{other, "hello", "7.0.0", "23505"},
		{other, "mine", "1.0.0-rc.1+build.5", ""},
		{other, "mine", "1.0", "23514"},
		{other, "mine", "01.0.0", "23514"},
		{other, "mine", "1.0.0-01", "23514"},
		{other, "mine", "v1.0.0", "23514"},
		{other, "../mine", "1.0.0", "23514"},
		{other, "9mine", "1.0.0", "23514"},
		{other, strings.Repeat("m", 65), "1.0.0", "23514"},
	} {
		if err := insert(test.owner, test.name, test.version); migratetest.Code(err) != test.code {
			t.Errorf("%s %s: %v, want %q", test.name, test.version, err, test.code)
		}
	}
	if _, err := f.Conn.Exec(t.Context(), `update public.packs set status = 'ready' where version = '1.1.0'`); migratetest.Code(err) != "23514" {
		t.Errorf("a pack without a bundle became ready: %v", err)
	}
	f.pod(t, "pending")
	if _, err := f.Conn.Exec(t.Context(), `delete from public.packs where id = $1`, f.pack); migratetest.Code(err) != "23503" {
		t.Errorf("a pack with pods went: %v", err)
	}
}

func TestTwoUsersRaceForAPackName(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	var group errgroup.Group
	var won atomic.Int32
	for n := range 8 {
		user, conn := d.User(t, "developer"), d.Connect(t, "postgres")
		group.Go(func() error {
			err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `insert into public.packs (name, version, runtime_tag, owner_id) values ('wanted', $1, 'node', $2)`, fmt.Sprintf("%d.0.0", n), user)
				return err
			})
			if err == nil {
				won.Add(1)
			} else if migratetest.Code(err) != "23505" {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if won.Load() != 1 {
		t.Errorf("%d users own the name", won.Load())
	}
}
