package postgres_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

// What REST refuses in the environment of a pack, the table refuses too.
func TestPackEnvironmentOfARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dev := w.user(t, api.RoleDeveloper)
	insert := func(name, metadata string) error {
		tx := must(w.conn.Begin(t.Context()))(t)
		defer func() { _ = tx.Rollback(t.Context()) }() // nothing is kept
		if _, err := tx.Exec(t.Context(), "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)", `{"sub":"`+dev.UserID+`","role":"authenticated"}`); err != nil {
			t.Fatal(err)
		}
		_, err := tx.Exec(t.Context(), "insert into public.packs (name, version, runtime_tag, metadata) values ($1, '1.0.0', 'node', $2::text::jsonb)", name, metadata)
		return err
	}
	for name, metadata := range map[string]string{
		"reserved": `{"env":{"STARK_POD_ID":"x"}}`, "name": `{"env":{"a b":"x"}}`, "value": `{"env":{"A":1}}`, "list": `{"env":["A"]}`,
	} {
		if err := insert(name, metadata); err == nil || !strings.Contains(err.Error(), "packs_metadata_env_valid") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, metadata := range map[string]string{"none": `{"a":1}`, "some": `{"env":{"A":"1"},"a":1}`, "empty": `{"env":{}}`} {
		if err := insert(name, metadata); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
