package auth

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestSignUpAndTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	r := w.ok("POST", "/signup", "", `{"email":"Ann@Example.org","password":"`+goodPassword+`","data":{"display_name":"Ann","n":12345678901234567890}}`)
	if !regexp.MustCompile(`^[a-z0-9]{12}$`).MatchString(r.str("refresh_token")) {
		t.Errorf("refresh token %q", r.str("refresh_token"))
	}
	if r.str("token_type") != "bearer" || r.body["expires_in"] != float64(3600) {
		t.Errorf("session = %v", r.body)
	}
	user := r.object("user")
	meta, _ := user["user_metadata"].(map[string]any)
	identities, _ := user["identities"].([]any)
	if user["email"] != "ann@example.org" || user["phone"] != "" || meta["display_name"] != "Ann" || len(identities) != 1 || user["is_anonymous"] != false {
		t.Errorf("user = %v", user)
	}
	claims := w.claims(r.str("access_token"))
	for name, want := range map[string]any{
		"iss": "http://issuer.test/auth/v1", "sub": user["id"], "aud": "authenticated", "email": "ann@example.org",
		"phone": "", "role": "authenticated", "aal": "aal1", "is_anonymous": false,
	} {
		if claims[name] != want {
			t.Errorf("claim %s = %v, want %v", name, claims[name], want)
		}
	}
	amr, _ := claims["amr"].([]any)
	if len(amr) != 1 || amr[0].(map[string]any)["method"] != "password" {
		t.Errorf("amr = %v", claims["amr"])
	}
	if r.header.Get("sb-auth-user-id") != user["id"] || r.header.Get("sb-auth-session-id") != claims["session_id"] ||
		r.header.Get("sb-auth-refresh-token-prefix") != r.str("refresh_token")[:5] {
		t.Errorf("headers = %v", r.header)
	}
	token, _, err := jwt.NewParser().ParseUnverified(r.str("access_token"), jwt.MapClaims{})
	if err != nil || token.Header["alg"] != "ES256" || token.Header["kid"] != w.keys.KeyID {
		t.Errorf("token header = %v, %v", token.Header, err)
	}
	// An address is matched without regard to case.
	again := w.ok("POST", "/token?grant_type=password", "", `{"email":"ANN@example.org","password":"`+goodPassword+`"}`)
	if _, has := again.body["weak_password"]; !has || again.body["weak_password"] != nil {
		t.Errorf("weak_password = %v, want null", again.body["weak_password"])
	}
	if got := w.ok("GET", "/user", again.str("access_token"), ""); got.body["id"] != user["id"] {
		t.Errorf("user = %v", got.body)
	}
}

func TestAnonymousSignUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	r := w.ok("POST", "/signup", "", `{}`)
	if user := r.object("user"); user["is_anonymous"] != true || user["email"] != "" {
		t.Errorf("user = %v", user)
	}
	closed := newWorld(t, func(c *Config) { c.Anonymous = false })
	closed.want(closed.do("POST", "/signup", "", `{}`), 422, "anonymous_provider_disabled")
}

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.signUp("a@example.org")
	second := w.refresh(first.str("refresh_token"))
	if second.status != http.StatusOK || second.str("refresh_token") == first.str("refresh_token") {
		t.Fatalf("refresh = %d %v", second.status, second.body)
	}
	if second.header.Get("sb-auth-refresh-token-reuse") != "false" {
		t.Errorf("reuse header = %q", second.header.Get("sb-auth-refresh-token-reuse"))
	}
	if got, want := w.claims(second.str("access_token"))["session_id"], w.claims(first.str("access_token"))["session_id"]; got != want {
		t.Errorf("session %v, want the same as before, %v", got, want)
	}
	// The parent of the active token is honoured at any age: its answer may have been lost.
	w.skew.Store(int64(time.Hour))
	rescued := w.refresh(first.str("refresh_token"))
	if rescued.status != http.StatusOK || rescued.str("refresh_token") != second.str("refresh_token") {
		t.Errorf("lost answer = %d %v", rescued.status, rescued.body)
	}
}

func TestRefreshInParallelGivesOneToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.signUp("a@example.org").str("refresh_token")
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		seen  = map[string]int{}
	)
	for range 5 {
		group.Go(func() {
			r := w.refresh(token)
			mu.Lock()
			defer mu.Unlock()
			seen[r.str("refresh_token")]++
		})
	}
	group.Wait()
	if len(seen) != 1 || seen[""] != 0 {
		t.Errorf("tokens = %v, want one and the same", seen)
	}
}

func TestRefreshReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.signUp("a@example.org")
	second := w.refresh(first.str("refresh_token"))
	third := w.refresh(second.str("refresh_token"))
	branch := w.refresh(first.str("refresh_token")) // older ancestor, at once: a new branch
	if branch.status != http.StatusOK || branch.str("refresh_token") == third.str("refresh_token") {
		t.Fatalf("branch = %d %v", branch.status, branch.body)
	}
	if r := w.refresh(third.str("refresh_token")); r.status != http.StatusOK {
		t.Fatalf("newest of the old branch = %d %v", r.status, r.body)
	}
	w.skew.Store(int64(11 * time.Second))
	w.want(w.refresh(second.str("refresh_token")), 400, "refresh_token_already_used")
	if r := w.do("GET", "/user", first.str("access_token"), ""); r.status != http.StatusOK {
		t.Errorf("access token of the revoked family = %d, want 200", r.status)
	}
	w.want(w.refresh("aaaaaaaaaaaa"), 400, "refresh_token_not_found")
	w.want(w.refresh("short"), 400, "validation_failed")
	w.want(w.do("POST", "/token?grant_type=refresh_token", "", `{}`), 400, "validation_failed")
}

func TestTheNewestTokenOutlivesARevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.signUp("a@example.org")
	second := w.refresh(first.str("refresh_token"))
	third := w.refresh(second.str("refresh_token"))
	w.sql("supabase_auth_admin", "update auth.refresh_tokens set updated_at = updated_at - interval '1 minute'")
	w.want(w.refresh(first.str("refresh_token")), 400, "refresh_token_already_used")
	if r := w.refresh(third.str("refresh_token")); r.status != http.StatusOK {
		t.Errorf("newest token right after the revocation = %d, want 200", r.status)
	}
	w.want(w.refresh(first.str("refresh_token")), 400, "refresh_token_already_used")
	w.skew.Store(int64(11 * time.Second))
	w.want(w.refresh(third.str("refresh_token")), 400, "refresh_token_already_used")
}

func TestWithoutRotationTheTokenStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Rotate = false })
	first := w.signUp("a@example.org")
	if r := w.refresh(first.str("refresh_token")); r.str("refresh_token") != first.str("refresh_token") {
		t.Errorf("refresh = %d %v", r.status, r.body)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.signUp("a@example.org")
	sessions := func() []reply {
		var all []reply
		for range 3 {
			all = append(all, w.ok("POST", "/token?grant_type=password", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`))
		}
		return all
	}
	for scope, alive := range map[string][]bool{
		"": {false, false}, "?scope=global": {false, false}, "?scope=local": {false, true}, "?scope=others": {true, false},
	} {
		all := sessions()
		r := w.do("POST", "/logout"+scope, all[0].str("access_token"), "")
		if r.status != http.StatusNoContent || r.body != nil {
			t.Errorf("logout%s = %d %v", scope, r.status, r.body)
		}
		for i, want := range alive {
			r := w.do("GET", "/user", all[i].str("access_token"), "")
			if (r.status == http.StatusOK) != want {
				t.Errorf("logout%s: session %d answers %d, want alive = %v", scope, i, r.status, want)
			}
			if !want {
				w.want(r, 403, "session_not_found")
				w.want(w.refresh(all[i].str("refresh_token")), 400, "refresh_token_not_found")
			}
		}
	}
	w.want(w.do("POST", "/logout?scope=x", sessions()[0].str("access_token"), ""), 400, "validation_failed")
	w.want(w.do("POST", "/logout", "", ""), 401, "no_authorization")
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	session := w.signUp("a@example.org")
	good := w.claims(session.str("access_token"))
	with := func(change func(map[string]any)) string {
		claims := maps.Clone(good)
		change(claims)
		token, err := w.keys.SignLegacy(claims)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, test := range []struct {
		name, token string
		status      int
		code        string
	}{
		{"garbage", "garbage", 403, "bad_jwt"},
		{"expired", with(func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }), 403, "bad_jwt"},
		{"anon key", w.keys.AnonKey, 403, "bad_jwt"},
		{"service key", w.service(), 403, "bad_jwt"},
		{"sub is no uuid", with(func(c map[string]any) { c["sub"] = "me" }), 400, "bad_jwt"},
		{"no aud", with(func(c map[string]any) { delete(c, "aud") }), 400, "validation_failed"},
		{"aud is a list", with(func(c map[string]any) { c["aud"] = []string{"authenticated"} }), 200, ""},
		{"no session", with(func(c map[string]any) { delete(c, "session_id") }), 200, ""},
		{"unknown user", with(func(c map[string]any) { c["sub"] = "00000000-0000-4000-8000-000000000000" }), 403, "user_not_found"},
		{"unknown session", with(func(c map[string]any) { c["session_id"] = "00000000-0000-4000-8000-000000000000" }), 403, "session_not_found"},
		{"session is no uuid", with(func(c map[string]any) { c["session_id"] = "x" }), 403, "bad_jwt"},
	} {
		r := w.do("GET", "/user", test.token, "")
		if r.status != test.status || r.str("error_code") != test.code {
			t.Errorf("%s: got %d %v, want %d %s", test.name, r.status, r.body, test.status, test.code)
		}
		if test.name == "expired" && !strings.Contains(r.str("msg"), "token is expired") {
			t.Errorf("expired: msg = %q", r.str("msg"))
		}
	}
	w.want(w.do("GET", "/user", "", "", "Authorization", "Basic YTpi"), 401, "no_authorization")
}
