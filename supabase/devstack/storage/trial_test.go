package storage_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestTriggersOfTheTrial holds that what triggers do during the caller's trial is undone, and that they run as
// service_role when the write is real.
func TestTriggersOfTheTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	table := pgx.Identifier{"public", "log " + r.bucket}.Sanitize()
	function := pgx.Identifier{"public", "note " + r.bucket}.Sanitize()
	execute(t, `create table `+table+` (entry text)`)
	execute(t, `grant all on `+table+` to authenticated, service_role`)
	execute(t, `create function `+function+`() returns trigger language plpgsql as $$ begin
		insert into `+table+` values (lower(tg_op) || ' ' || new.name || ' ' || current_user || ' ' || (new.version = '1')::text); return new; end $$`)
	execute(t, `create trigger "`+r.bucket+`" before insert or update on storage.objects for each row
		when (new.bucket_id = '`+r.bucket+`') execute function `+function+`()`)
	r.allow(t, "insert", "select", "update", "delete")
	r.want(t, r.do(t, "POST", r.object("a"), user(alice), strings.NewReader("x")), 200, "")
	r.want(t, r.json(t, "POST", "/object/move", user(alice), `{"bucketId":"`+r.bucket+`","sourceKey":"a","destinationKey":"b"}`), 200, "")
	r.want(t, r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/c", user(alice), `{}`), 200, "")
	rows, err := admin.Query(t.Context(), `select entry from `+table)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"insert a service_role false", "update b service_role false"}; !slices.Equal(got, want) {
		t.Errorf("triggers noted %q, want %q", got, want)
	}
}

// TestWhatSignedURLsSay reads the claims of both kinds of links.
func TestWhatSignedURLsSay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "x")
	r.allow(t, "insert", "select", "update")
	claims := func(link string) map[string]any {
		t.Helper()
		_, token, _ := strings.Cut(link, "token=")
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("no token in %q", link)
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	down := claims(r.json(t, "POST", "/object/sign/"+r.bucket+"/k", user(alice), `{"expiresIn":60}`).field(t, "signedURL"))
	if down["url"] != r.bucket+"/k" || down["scope"] != "download" || len(down) != 4 || down["exp"].(float64)-down["iat"].(float64) != 60 {
		t.Errorf("download: got %v", down)
	}
	got := r.json(t, "POST", "/object/upload/sign/"+r.bucket+"/n", user(alice), `{}`, "X-Upsert: true")
	up := claims(got.field(t, "url"))
	if up["url"] != r.bucket+"/n" || up["scope"] != "upload" || up["upsert"] != true || up["owner"] != alice || up["exp"].(float64)-up["iat"].(float64) != 7200 {
		t.Errorf("upload: got %v", up)
	}
	if !strings.HasSuffix(got.field(t, "url"), "token="+got.field(t, "token")) {
		t.Errorf("url and token differ: %s", got.body)
	}
	// What was frozen counts, whatever the upload says; an upsert may be repeated until it expires.
	for _, content := range []string{"one", "two"} {
		answer := r.do(t, "PUT", got.field(t, "url"), "", strings.NewReader(content), "X-Upsert: false")
		if answer.status != 200 || answer.body != `{"Key":"`+r.bucket+`/n"}`+"\n" {
			t.Errorf("signed upload: got %d %s", answer.status, answer.body)
		}
	}
	if got := r.get(t, r.object("n"), user(alice)).body; got != "two" {
		t.Errorf("got %q", got)
	}
}

// TestTokensOfUsersWhoAreGone: Storage checks signature and expiry only.
func TestTokensOfUsersWhoAreGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(t, "k", "x")
	r.allow(t, "select")
	if got := r.get(t, r.object("k"), user("99999999-9999-4999-8999-999999999999")); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := r.get(t, r.object("k"), token(map[string]any{"role": "authenticated"})); got.status != 200 {
		t.Errorf("a token without exp: got %d %s", got.status, got.body)
	}
}
