package rights

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/supabase"
	"github.com/stark-orchestrator/stark/supabase/migrate/migratetest"
)

func TestThePageOfRightsIsFresh(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/rights.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != access.Markdown() {
		t.Error("docs/rights.md is not what core/access says: run make rights")
	}
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			for _, role := range access.Columns {
				if scope := access.ScopeOf(role, a, k); !strings.Contains(string(text), string(scope)) {
					t.Errorf("the page does not know %q", scope)
				}
			}
		}
	}
}

// What config.toml switches on, and what docs/operations.md tells to switch on in
// a hosted project, is a function that Auth may call.
func TestTheHookIsWhereItIsSaidToBe(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`uri = "(pg-functions://postgres/(\w+)/(\w+))"`).FindSubmatch(supabase.Config)
	if found == nil {
		t.Fatal("config.toml names no hook")
	}
	uri, schema, name := string(found[1]), string(found[2]), string(found[3])
	for _, form := range []string{
		`{"hook_custom_access_token_enabled":true,"hook_custom_access_token_uri":"` + uri + `"}`,
		"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=" + uri, "schema `" + schema + "`, function `" + name + "`",
	} {
		if !strings.Contains(string(text), form) {
			t.Errorf("docs/operations.md does not say %s", form)
		}
	}
	d := migratetest.New(t)
	conn := d.Connect(t, "supabase_auth_admin")
	claims := migratetest.Value[string](t, conn, `select `+schema+`.`+name+`(jsonb_build_object('user_id', $1::text, 'claims', '{"sub":"x"}'::jsonb)) #>> '{claims,stark}'`, d.User(t, "developer"))
	if !strings.Contains(claims, `"developer"`) {
		t.Errorf("the claim is %s", claims)
	}
}
