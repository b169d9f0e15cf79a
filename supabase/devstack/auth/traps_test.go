package auth

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const signIn = `{"email":"a@example.org","password":"` + goodPassword + `"}`

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.RateLimitHeader = "X-Forwarded-For" })
	const path, body = "/token?grant_type=refresh_token", `{"refresh_token":"aaaaaaaaaaaa"}`
	for range 30 {
		w.want(w.do("POST", path, "", body, "X-Forwarded-For", "10.0.0.1"), 400, "refresh_token_not_found")
	}
	r := w.do("POST", path, "", body, "X-Forwarded-For", "10.0.0.1, 10.0.0.9")
	w.want(r, 429, "over_request_rate_limit")
	if r.header.Get("Retry-After") != "" {
		t.Errorf("Retry-After = %q, which GoTrue does not send", r.header.Get("Retry-After"))
	}
	for range 31 { // others, and callers without the header, are not counted with it
		w.want(w.do("POST", path, "", body), 400, "refresh_token_not_found")
	}
	w.want(w.do("POST", path, "", body, "X-Forwarded-For", "10.0.0.2"), 400, "refresh_token_not_found")
	w.skew.Store(int64(time.Minute))
	w.want(w.do("POST", path, "", body, "X-Forwarded-For", "10.0.0.1"), 400, "refresh_token_not_found")
}

func TestNewAddressWaitsForItsConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoConfirm = false })
	made := w.ok("POST", "/admin/users", w.service(), `{"email":"a@example.org","password":"`+goodPassword+`","email_confirm":true}`)
	w.ok("POST", "/admin/users", w.service(), `{"email":"taken@example.org"}`)
	token := w.ok("POST", "/token?grant_type=password", "", signIn).str("access_token")
	r := w.ok("PUT", "/user", token, `{"email":"B@example.org"}`)
	if r.str("email") != "a@example.org" || r.str("new_email") != "b@example.org" || r.str("email_change_sent_at") == "" {
		t.Errorf("user = %v", r.body)
	}
	w.want(w.do("PUT", "/user", token, `{"email":"taken@example.org"}`), 422, "email_exists")
	w.ok("POST", "/token?grant_type=password", "", signIn)
	r = w.ok("PUT", "/admin/users/"+made.str("id"), w.service(), `{"email":"b@example.org","email_confirm":true}`)
	if r.str("email") != "b@example.org" || r.body["new_email"] != nil || r.body["email_change_sent_at"] != nil {
		t.Errorf("user = %v", r.body)
	}
}

func TestAnonymousBecomesAUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := w.ok("POST", "/signup", "", `{"data":{"from":"anonymous"}}`)
	token := session.str("access_token")
	if claims := w.claims(token); claims["is_anonymous"] != true || claims["role"] != "authenticated" {
		t.Errorf("claims = %v", claims)
	}
	w.want(w.do("PUT", "/user", token, `{"password":"`+goodPassword+`"}`), 422, "validation_failed")
	r := w.ok("PUT", "/user", token, `{"email":"a@example.org","password":"`+goodPassword+`"}`)
	if r.body["is_anonymous"] != false || r.str("email") != "a@example.org" || r.object("user_metadata")["from"] != "anonymous" {
		t.Errorf("user = %v", r.body)
	}
	if again := w.ok("POST", "/token?grant_type=password", "", signIn); again.object("user")["id"] != session.object("user")["id"] {
		t.Errorf("another user: %v", again.body)
	}
	// Any password, and no address, is a wish to stay anonymous.
	if r := w.ok("POST", "/signup", "", `{"password":"x"}`); r.object("user")["is_anonymous"] != true {
		t.Errorf("user = %v", r.body)
	}
}

func TestTheFirstHookedTokenHasAListOfAudiences(t *testing.T) {
	t.Parallel()
	w := hooked(t, `return jsonb_set(event, '{claims,role}', '"custom"');`)
	first := w.signUp("a@example.org")
	claims := w.claims(first.str("access_token"))
	if list, ok := claims["aud"].([]any); !ok || len(list) != 1 || list[0] != "authenticated" {
		t.Errorf("aud = %v, want a list", claims["aud"])
	}
	if claims["role"] != "custom" {
		t.Errorf("role = %v, want what the hook says", claims["role"])
	}
	w.ok("GET", "/user", first.str("access_token"), "")
	second := w.ok("POST", "/token?grant_type=password", "", signIn)
	if aud := w.claims(second.str("access_token"))["aud"]; aud != "authenticated" {
		t.Errorf("aud = %v, want a text", aud)
	}
}

func TestHookMaySetTheExpiryAndFillTokens(t *testing.T) {
	t.Parallel()
	w := hooked(t, `return jsonb_set(jsonb_set(event, '{claims,exp}', to_jsonb(4102444800)), '{claims,big}', to_jsonb(repeat('x', 30000)));`)
	session := w.signUp("a@example.org")
	claims := w.claims(session.str("access_token"))
	if claims["exp"] != float64(4102444800) || session.body["expires_in"] != float64(3600) {
		t.Errorf("exp = %v, expires_in = %v", claims["exp"], session.body["expires_in"])
	}
	if big, _ := claims["big"].(string); len(big) != 30000 {
		t.Errorf("the large claim has %d bytes", len(big))
	}
}

func TestARoleOfTheUserOpensAdministration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.ok("POST", "/admin/users", w.service(), `{"email":"a@example.org","password":"`+goodPassword+`","email_confirm":true,"role":"service_role"}`)
	token := w.ok("POST", "/token?grant_type=password", "", signIn).str("access_token")
	if r := w.do("GET", "/admin/users", token, ""); r.status != http.StatusOK {
		t.Errorf("got %d %v: GoTrue takes the role as it is, so whoever makes users must not pass one on", r.status, r.body)
	}
}

func TestAppMetadataShowsInTheNextToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := w.signUp("a@example.org")
	id, _ := session.object("user")["id"].(string)
	w.ok("PUT", "/admin/users/"+id, w.service(), `{"app_metadata":{"team":"x"}}`)
	for want, token := range map[any]string{nil: session.str("access_token"), "x": w.refresh(session.str("refresh_token")).str("access_token")} {
		app, _ := w.claims(token)["app_metadata"].(map[string]any)
		if app["team"] != want {
			t.Errorf("team = %v, want %v", app["team"], want)
		}
	}
}

func TestBans(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := w.signUp("a@example.org")
	id, _ := session.object("user")["id"].(string)
	r := w.ok("PUT", "/admin/users/"+id, w.service(), `{"ban_duration":"24h"}`)
	until, err := time.Parse(time.RFC3339, r.str("banned_until"))
	if left := time.Until(until); err != nil || left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("banned_until = %q", r.str("banned_until"))
	}
	w.want(w.do("POST", "/token?grant_type=password", "", signIn), 400, "user_banned")
	w.want(w.do("GET", "/user", session.str("access_token"), ""), 403, "user_banned")
	w.want(w.do("PUT", "/user", session.str("access_token"), `{"data":{}}`), 403, "user_banned")
	w.want(w.refresh(session.str("refresh_token")), 400, "user_banned")
	w.skew.Store(int64(25 * time.Hour)) // bans end by themselves
	w.ok("POST", "/token?grant_type=password", "", signIn)
	w.skew.Store(0)
	if r := w.ok("PUT", "/admin/users/"+id, w.service(), `{"ban_duration":"none"}`); r.body["banned_until"] != nil {
		t.Errorf("banned_until = %v", r.body["banned_until"])
	}
	w.ok("GET", "/user", session.str("access_token"), "")
	if r := w.refresh(session.str("refresh_token")); r.status != http.StatusOK {
		t.Errorf("refresh = %d %v", r.status, r.body)
	}
}

func TestListsLeaveIdentitiesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.signUp("a@example.org")
	for query, want := range map[string]int{"": 1, "?page=0": 1, "?page=9": 0, "?per_page=100000": 1, "?filter=A@EXAMPLE": 1, "?filter=nobody": 0} {
		r := w.ok("GET", "/admin/users"+query, w.service(), "")
		users, isList := r.body["users"].([]any)
		if !isList || len(users) != want || r.str("aud") != "authenticated" || r.header.Get("X-Total-Count") == "" || !strings.Contains(r.header.Get("Link"), `rel="last"`) {
			t.Errorf("%q: got %v %v", query, r.body, r.header)
		}
		for _, u := range users {
			if identities, has := u.(map[string]any)["identities"]; !has || identities != nil {
				t.Errorf("identities = %v, want null", identities)
			}
		}
	}
}
