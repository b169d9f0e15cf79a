package rights

import (
	"testing"

	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

// A refusal says the same whether or not there is what was asked for. The pairs
// differ only in that: the first names something that exists, the second nothing.
func TestRefusalsTellNothing(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	victim, developer := d.User(t, "developer"), d.User(t, "developer")
	others := map[string]string{"nobody": d.User(t), "viewer": d.User(t, "viewer"), "developer": developer}
	d.Exec(t, `insert into public.namespaces (name) values ('team')`)
	d.Exec(t, `insert into public.namespace_members (namespace, user_id) values ('team', $1)`, victim)
	d.Exec(t, `insert into public.priority_classes (name, value) values ('urgent', 10)`)
	secret := d.Pack(t, victim, "secret", "1.0.0")

	pairs := map[string][2]string{
		"a private pack": {
			`insert into public.pods (pack_name, pack_version, created_by) values ('secret', '1.0.0', '` + victim + `')`,
			`insert into public.pods (pack_name, pack_version, created_by) values ('secreu', '1.0.0', '` + victim + `')`,
		},
		"its version": {
			`insert into public.pods (pack_id, created_by) values ('` + secret + `', '` + victim + `')`,
			`insert into public.pods (pack_id, pack_version, created_by) values ('` + secret + `', '2.0.0', '` + victim + `')`,
		},
		"a membership": {
			`insert into public.nodes (name, runtime_type, registered_by, namespaces) values ('n', 'node', '` + victim + `', '{team}')`,
			`insert into public.nodes (name, runtime_type, registered_by, namespaces) values ('n', 'node', '` + victim + `', '{default}')`,
		},
		"the owner of a name": {
			`insert into public.packs (name, version, runtime_tag, owner_id) values ('secret', '3.0.0', 'node', '` + victim + `')`,
			`insert into public.packs (name, version, runtime_tag, owner_id) values ('secret', '3.0.0', 'node', '` + developer + `')`,
		},
	}
	strangers := map[string][2]string{
		"a namespace": {
			`insert into public.pods (pack_id, namespace) values ('` + secret + `', 'team')`,
			`insert into public.pods (pack_id, namespace) values ('` + secret + `', 'teem')`,
		},
		"a priority class": {
			`insert into public.pods (pack_id, priority_class_name) values ('` + secret + `', 'urgent')`,
			`insert into public.pods (pack_id, priority_class_name) values ('` + secret + `', 'vrgent')`,
		},
		"a pack's name": {
			`insert into public.packs (name, version, runtime_tag) values ('secret', '3.0.0', 'node')`,
			`insert into public.packs (name, version, runtime_tag) values ('secreu', '3.0.0', 'node')`,
		},
		"a bound": {
			`insert into public.pods (pack_id, resource_requests) values ('` + secret + `', '{"cpu":1}')`,
			`insert into public.pods (pack_id, resource_requests) values ('` + secret + `', '{"cpu":-1}')`,
		},
	}
	for who, id := range others {
		answer := func(sql string) string {
			err := d.As(t, id, func(q migratetest.Querier) error {
				if _, err := q.Exec(t.Context(), sql); err != nil {
					return err
				}
				return errUndo
			})
			if migratetest.Code(err) != "42501" {
				t.Errorf("%s: %s: %v, want 42501", who, sql, err)
			}
			return err.Error()
		}
		compare := func(what string, pair [2]string) {
			if there, not := answer(pair[0]), answer(pair[1]); there != not {
				t.Errorf("%s learns of %s: %q where it is, %q where it is not", who, what, there, not)
			}
		}
		for what, pair := range pairs {
			if who == "developer" && what == "the owner of a name" {
				continue // the second names the developer, who learns that the name is taken
			}
			compare(what, pair)
		}
		if who == "developer" {
			continue // sees namespaces and classes, and may choose a name
		}
		for what, pair := range strangers {
			compare(what, pair)
		}
	}
}

// A column of the wrong type is refused by its constraint, in words of ours.
func TestAllocatableOfAnotherType(t *testing.T) {
	t.Parallel()
	d := migratetest.New(t)
	for _, value := range []string{`[]`, `"x"`, `1`} {
		err := d.As(t, d.User(t, "developer"), func(q migratetest.Querier) error {
			_, err := q.Exec(t.Context(), `insert into public.nodes (name, runtime_type, allocatable) values ('n', 'node', $1)`, value)
			return err
		})
		if migratetest.Code(err) != "23514" {
			t.Errorf("%s: %v, want 23514", value, err)
		}
	}
}
