package supabase_test

import (
	"encoding/json"
	"testing"

	supabase "github.com/supabase-community/supabase-go"
)

// TestSupabaseGoTables reads and writes rows with the Go client.
func TestSupabaseGoTables(t *testing.T) {
	t.Parallel()
	connect := func(key string) *supabase.Client {
		client, err := supabase.NewClient(stack.URL, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	service := func() *supabase.Client { return connect(stack.ServiceRoleKey) }
	type author struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	rows := []author{{ID: 101, Name: "Go one"}, {ID: 102, Name: "Go two"}}
	if _, _, err := service().From("contract_authors").Insert(rows, false, "", "minimal", "").Execute(); err != nil {
		t.Fatalf("insert: %v", err)
	}
	var got []author
	text, count, err := service().From("contract_authors").Select("id,name", "exact", false).Gt("id", "100").Order("id", nil).Execute()
	if err != nil || json.Unmarshal(text, &got) != nil || count != 2 || len(got) != 2 {
		t.Fatalf("select: got %s %d %v", text, count, err)
	}
	if _, _, err := service().From("contract_authors").Update(map[string]string{"name": "Gone"}, "minimal", "").Eq("id", "102").Execute(); err != nil {
		t.Errorf("update: %v", err)
	}
	text, _, err = service().From("contract_authors").Upsert(author{102, "Go 2"}, "id", "representation", "").Single().Execute()
	var one author
	if err != nil || json.Unmarshal(text, &one) != nil || one.Name != "Go 2" {
		t.Errorf("upsert: got %s %v", text, err)
	}
	if sum := service().Rpc("contract_add", "", map[string]int{"a": 40, "b": 2}); sum != "42" {
		t.Errorf("rpc: got %q", sum)
	}
	_, _, err = connect(stack.AnonKey).From("pods").Select("*", "", false).Execute()
	wantError(t, err, "42501")
	if _, _, err := service().From("contract_authors").Delete("minimal", "").Gt("id", "100").Execute(); err != nil {
		t.Errorf("delete: %v", err)
	}
	text, _, err = service().From("contract_authors").Select("id", "", false).Gt("id", "100").Execute()
	if err != nil || string(text) != "[]" {
		t.Errorf("after the delete: got %s %v", text, err)
	}
}
