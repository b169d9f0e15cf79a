package auth

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestUpdatingOneself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	here := w.ok("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`","data":{"keep":1,"drop":2}}`).str("access_token")
	elsewhere := w.ok("POST", "/token?grant_type=password", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`).str("access_token")
	r := w.ok("PUT", "/user", here, `{"data":{"drop":null,"new":{"x":[1]}},"email":"B@example.org","password":"An0ther-one"}`)
	meta := r.object("user_metadata")
	if _, dropped := meta["drop"]; dropped || meta["keep"] != float64(1) || meta["new"] == nil {
		t.Errorf("user_metadata = %v", meta)
	}
	if r.str("email") != "b@example.org" {
		t.Errorf("email = %q", r.str("email"))
	}
	w.ok("GET", "/user", here, "")
	w.want(w.do("GET", "/user", elsewhere, ""), 403, "session_not_found")
	w.want(w.do("POST", "/token?grant_type=password", "", `{"email":"b@example.org","password":"`+goodPassword+`"}`), 400, "invalid_credentials")
	w.ok("POST", "/token?grant_type=password", "", `{"email":"b@example.org","password":"An0ther-one"}`)
	w.ok("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`) // the old address is free again
}

func TestAdministration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	// No policy on creation; roles are taken unchecked.
	created := w.ok("POST", "/admin/users", w.service(), `{
		"id":"11111111-1111-4111-8111-111111111111","email":"A@example.org","password":"abc","email_confirm":true,
		"role":"custom","app_metadata":{"team":"x","gone":1},"user_metadata":{"a":1}}`)
	if created.str("id") != "11111111-1111-4111-8111-111111111111" || created.str("role") != "custom" || created.str("email_confirmed_at") == "" {
		t.Errorf("created = %v", created.body)
	}
	if app := created.object("app_metadata"); app["provider"] != "email" || app["team"] != "x" {
		t.Errorf("app_metadata = %v", app)
	}
	session := w.ok("POST", "/token?grant_type=password", "", `{"email":"a@example.org","password":"abc"}`)
	if weak := session.object("weak_password"); weak["reasons"] == nil {
		t.Errorf("weak_password = %v", session.body["weak_password"])
	}
	path := "/admin/users/" + created.str("id")
	updated := w.ok("PUT", path, w.service(), `{"app_metadata":{"gone":null,"more":true},"user_metadata":{"b":2},"email":"c@example.org","role":"authenticated"}`)
	app, meta := updated.object("app_metadata"), updated.object("user_metadata")
	if _, there := app["gone"]; there || app["team"] != "x" || app["more"] != true || meta["a"] != float64(1) || meta["b"] != float64(2) {
		t.Errorf("metadata = %v, %v", app, meta)
	}
	if updated.str("email") != "c@example.org" || updated.str("role") != "authenticated" {
		t.Errorf("updated = %v", updated.body)
	}
	w.ok("PUT", path, w.service(), `{"password":"Long-en0ugh"}`)
	w.want(w.do("GET", "/user", session.str("access_token"), ""), 403, "session_not_found")
	w.ok("PUT", path, w.service(), `{"ban_duration":"1h"}`)
	w.want(w.do("POST", "/token?grant_type=password", "", `{"email":"c@example.org","password":"Long-en0ugh"}`), 400, "user_banned")
	w.ok("PUT", path, w.service(), `{"ban_duration":"none"}`)
	w.ok("POST", "/token?grant_type=password", "", `{"email":"c@example.org","password":"Long-en0ugh"}`)
	if got := w.ok("GET", path, w.service(), ""); len(got.body["identities"].([]any)) != 1 {
		t.Errorf("identities = %v", got.body["identities"])
	}
	if r := w.ok("DELETE", path, w.service(), ""); len(r.body) != 0 {
		t.Errorf("delete = %v, want {}", r.body)
	}
	w.want(w.do("DELETE", path, w.service(), ""), 404, "user_not_found")
}

// Real Auth tells what a constraint of the application refuses.
func TestDeletingWhatIsReferredTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.sql("postgres", `create table public.things (owner uuid references auth.users (id))`)
	session := w.signUp("a@example.org")
	id, _ := session.object("user")["id"].(string)
	w.sql("postgres", `insert into public.things values ('`+id+`')`)
	r := w.do("DELETE", "/admin/users/"+id, w.service(), "")
	if r.status != http.StatusInternalServerError || r.str("code") != "23503" || !strings.Contains(r.str("message"), "violates foreign key constraint") || r.str("detail") == "" {
		t.Errorf("got %d %v", r.status, r.body)
	}
	w.ok("DELETE", "/admin/users/"+id, w.service(), `{"should_soft_delete":true}`)
}

func TestSoftDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := w.signUp("a@example.org")
	id, _ := session.object("user")["id"].(string)
	w.ok("DELETE", "/admin/users/"+id, w.service(), `{"should_soft_delete":true}`)
	kept := w.ok("GET", "/admin/users/"+id, w.service(), "")
	if kept.str("deleted_at") == "" || strings.Contains(kept.str("email"), "example") {
		t.Errorf("kept = %v", kept.body)
	}
	w.want(w.do("POST", "/token?grant_type=password", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), 400, "invalid_credentials")
	w.want(w.refresh(session.str("refresh_token")), 400, "refresh_token_not_found")
}

func TestAdminList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i := range 5 {
		w.ok("POST", "/admin/users", w.service(), `{"email":"user`+strconv.Itoa(i)+`@example.org"}`)
	}
	w.ok("POST", "/admin/users", w.service(), `{"email":"100%_sure@example.org"}`)
	count := func(r reply) int { return len(r.body["users"].([]any)) }
	r := w.ok("GET", "/admin/users?page=2&per_page=4", w.service(), "")
	if count(r) != 2 || r.header.Get("x-total-count") != "6" || !strings.Contains(r.header.Get("link"), `rel="last"`) || r.str("aud") != "authenticated" {
		t.Errorf("page 2 = %v, %v", r.body, r.header)
	}
	if first, _ := r.body["users"].([]any)[0].(map[string]any); first["identities"] != nil {
		t.Errorf("identities = %v, want null", first["identities"])
	}
	if link := w.ok("GET", "/admin/users?page=0&per_page=4", w.service(), "").header.Get("link"); !strings.Contains(link, `page=2&per_page=4>; rel="next"`) {
		t.Errorf("link of page 0 = %q", link)
	}
	if got := w.ok("GET", "/admin/users?page=9", w.service(), ""); count(got) != 0 {
		t.Errorf("past the end = %v", got.body)
	}
	if got := w.ok("GET", "/admin/users?per_page=0&filter=USER3", w.service(), ""); count(got) != 1 {
		t.Errorf("filter = %v", got.body)
	}
	if got := w.ok("GET", "/admin/users?filter=%25_", w.service(), ""); count(got) != 1 {
		t.Errorf("a filter with wildcards = %v", got.body)
	}
}

func TestOneAddressIsTakenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		seen  = map[string]int{}
	)
	for range 6 {
		group.Go(func() {
			r := w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
			mu.Lock()
			defer mu.Unlock()
			seen[strconv.Itoa(r.status)+r.str("error_code")]++
		})
	}
	group.Wait()
	if seen["200"] != 1 || seen["422user_already_exists"] != 5 {
		t.Errorf("answers = %v", seen)
	}
}

func TestImportedPasswordHash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hash, err := bcrypt.GenerateFromPassword([]byte(goodPassword), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	w.ok("POST", "/admin/users", w.service(), `{"email":"a@example.org","email_confirm":true,"password_hash":"`+string(hash)+`"}`)
	w.ok("POST", "/token?grant_type=password", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
}

func TestATriggerThatRaises(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.sql("postgres", `
		create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'not today'; end $$;
		create trigger refuse before insert on auth.users for each row execute function public.refuse();`)
	r := w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
	if r.status != http.StatusInternalServerError || r.str("code") != "P0001" || r.str("message") != "not today" || r.body["error_code"] != nil {
		t.Errorf("sign-up = %d %v", r.status, r.body)
	}
}
