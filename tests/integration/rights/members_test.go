package rights

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// The admins of a namespace rule their members, but not so that nobody is left.
func TestANamespaceKeepsAnAdmin(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	first, second, staff := d.User(t, "developer"), d.User(t, "developer"), d.User(t, "operator")
	d.Exec(t, `insert into public.namespaces (name) values ('team')`)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'admin')`, first)
	as := func(who, sql string, args ...any) error {
		return d.As(t, who, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), sql, args...)
			return err
		})
	}
	const leave = `delete from public.namespace_members where user_id = $1`
	for _, sql := range []string{`delete from public.namespace_members`, `update public.namespace_members set role = 'viewer'`} {
		if err := as(first, sql); migratetest.Code(err) != "ST409" {
			t.Errorf("the last admin: %s: %v", sql, err)
		}
	}
	if err := as(first, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'admin')`, second); err != nil {
		t.Fatal(err)
	}
	if err := as(first, leave, first); err != nil {
		t.Errorf("an admin cannot leave although another is there: %v", err)
	}
	if err := as(second, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'admin')`, first); err != nil {
		t.Fatal(err)
	}

	// Both leave at once: one of them stays.
	var group errgroup.Group
	left := make(chan bool, 2)
	for _, who := range []string{first, second} {
		conn := d.Connect(t, "postgres")
		group.Go(func() error {
			err := migratetest.AsOn(t, conn, who, func(q migratetest.Querier) error {
				_, err := q.Exec(t.Context(), leave, who)
				return err
			})
			left <- err == nil
			if migratetest.Code(err) == "ST409" {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if a, b := <-left, <-left; a == b {
		t.Errorf("both left: %t", a)
	}
	if err := as(staff, `delete from public.namespace_members`); err != nil {
		t.Errorf("the staff opens a namespace to everybody: %v", err)
	}
}

// A member who sees a private pack is told why it cannot be deployed; somebody
// who does not see it learns nothing.
func TestAPrivatePackOfTheTeam(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	owner, mate, stranger := d.User(t, "developer"), d.User(t, "developer"), d.User(t, "developer")
	d.Exec(t, `insert into public.namespaces (name) values ('team')`)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id) values ('team', $1), ('team', $2)`, owner, mate)
	pack := d.Pack(t, owner, "hidden", "1.0.0")
	deploy := func(who string) string {
		return migratetest.Code(d.As(t, who, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `insert into public.pods (pack_id) values ($1)`, pack)
			return err
		}))
	}
	if code := deploy(mate); code != "ST404" {
		t.Errorf("before it runs in the team: %q", code)
	}
	d.Exec(t, `insert into public.pods (pack_id, namespace, created_by) values ($1, 'team', $2)`, pack, owner)
	if code := deploy(mate); code != "ST403" {
		t.Errorf("a mate: %q", code)
	}
	if code := deploy(stranger); code != "ST404" {
		t.Errorf("a stranger: %q", code)
	}
	d.Exec(t, `update public.packs set visibility = 'public' where id = $1`, pack)
	if code := deploy(stranger); code != "" {
		t.Errorf("a public pack: %q", code)
	}
}

// Not even the servers write or change history by hand.
func TestHistoryIsWrittenByTriggersAlone(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	pack := d.Pack(t, d.User(t, "developer"), "hello", "1.0.0")
	d.Exec(t, `insert into public.pods (pack_id, created_by) select id, owner_id from public.packs where id = $1`, pack)
	for _, sql := range []string{
		`insert into public.pod_history (pod_id, namespace, pod_created_by, action, incarnation) values (gen_random_uuid(), 'default', gen_random_uuid(), 'created', 1)`,
		`update public.pod_history set message = 'x'`, `delete from public.pod_history`, `truncate public.pod_history`,
	} {
		err := pgx.BeginFunc(t.Context(), d.Conn, func(tx pgx.Tx) error {
			migratetest.Exec(t, tx, `set local role service_role`)
			_, err := tx.Exec(t.Context(), sql)
			return err
		})
		if migratetest.Code(err) != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// A viewer of a namespace looks at its pods. To run them is more than that.
func TestANamespaceIsNotServedByTheNodesOfItsViewers(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	d.Exec(t, `insert into public.namespaces (name) values ('team')`)
	for role, code := range map[string]string{"viewer": "ST403", "developer": "", "operator": "", "admin": ""} {
		owner := d.User(t, "developer")
		d.Exec(t, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, $2::public.stark_role)`, owner, role)
		err := d.As(t, owner, func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `insert into public.nodes (name, runtime_type, namespaces) values ($1, 'node', '{team}')`, "of-"+role)
			return err
		})
		if (err != nil || code != "") && migratetest.Code(err) != code {
			t.Errorf("%s: %v, want %q", role, err, code)
		}
	}

	// What a shared node lists for its team does not outlast the role that let it.
	olga := d.User(t, "operator")
	d.Exec(t, `insert into public.namespace_members (namespace, user_id, role) values ('team', $1, 'viewer')`, olga)
	d.Exec(t, `insert into public.nodes (name, runtime_type, registered_by, shared, namespaces) values ('shared', 'node', $1, true, '{team}')`, olga)
	d.Exec(t, `insert into public.user_roles (user_id, role) values ($1, 'developer')`, olga)
	d.Exec(t, `delete from public.user_roles where user_id = $1 and role = 'operator'`, olga)
	if kept := migratetest.Value[[]string](t, d.Conn, `select namespaces from public.nodes where name = 'shared'`); len(kept) != 0 {
		t.Errorf("the node of somebody who is a viewer now serves %v", kept)
	}
}
