package migrate_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// Auth's own sign-up is open to everybody who has the public key; what a stranger
// gets by it is the database's to say.
func TestStrangersGetARoleOnlyWhereRegistrationIsOpen(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	signUp := func(email, anonymous string) string {
		return migratetest.Value[string](t, d.Conn, `insert into auth.users (id, email, is_anonymous)
			values (gen_random_uuid(), nullif($1, ''), $2::text::boolean) returning id::text`, email, anonymous)
	}
	roles := func(id string) int {
		return migratetest.Value[int](t, d.Conn, `select count(*) from public.user_roles where user_id = $1`, id)
	}
	early, guest := signUp("early@x.org", "false"), signUp("", "true")
	d.Exec(t, `update auth.users set email = 'guest@x.org', is_anonymous = false where id = $1`, guest)
	if roles(early) != 0 || roles(guest) != 0 {
		t.Error("a stranger got a role while registration is closed")
	}
	seen := 0
	err := d.As(t, early, func(q migratetest.Querier) error {
		rows, err := q.Query(t.Context(), `select (select count(*) from public.namespaces) + (select count(*) from public.nodes)
			+ (select count(*) from public.packs) + (select count(*) from public.cluster_config)`)
		if err == nil {
			seen, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
		}
		return err
	})
	if err != nil || seen != 0 {
		t.Errorf("a stranger sees %d rows, %v", seen, err)
	}
	d.Exec(t, `update public.cluster_config set open_registration = true`)
	if roles(signUp("late@x.org", "false")) != 1 {
		t.Error("no role where registration is open")
	}
}

// Which accounts are disabled, and whether strangers may come in, is for servers
// to write: through no door of users, not even an admin's.
func TestUsersCannotOpenDoorsThemselves(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	admin, dev := d.User(t, "admin"), d.User(t, "developer")
	for _, user := range []string{admin, dev} {
		for _, sql := range []string{
			`update public.cluster_config set open_registration = true`,
			`update public.users set disabled_at = null`,
			`update public.users set disabled_roles = '{admin}'`,
			`select stark.disable_user('` + dev + `', '` + admin + `')`,
			`select stark.enable_user('` + dev + `', '` + admin + `')`,
		} {
			err := d.As(t, user, func(q migratetest.Querier) error {
				_, err := q.Exec(t.Context(), sql)
				return err
			})
			if migratetest.Code(err) != "42501" {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
}

func TestADisabledAccountGetsNoRole(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	admin, dev := d.User(t, "admin"), d.User(t, "developer")
	d.Exec(t, `select stark.disable_user($1, $2)`, dev, admin)
	err := d.As(t, admin, func(q migratetest.Querier) error {
		_, err := q.Exec(t.Context(), `insert into public.user_roles (user_id, role) values ($1, 'viewer')`, dev)
		return err
	})
	if migratetest.Code(err) != "ST409" {
		t.Errorf("a role for a disabled account: %v", err)
	}
	if n := migratetest.Value[int](t, d.Conn, `select count(*) from public.user_roles where user_id = $1`, dev); n != 0 {
		t.Errorf("%d roles", n)
	}
}
