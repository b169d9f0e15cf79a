package auth

import (
	"net/http"
	"strings"
	"testing"
)

// TestErrorCodes walks the table of GoTrue's measured answers.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.PasswordClasses = []string{"abcdefghijklmnopqrstuvwxyz", "0123456789"} })
	user := w.signUp("taken@example.org").str("access_token")
	w.ok("POST", "/admin/users", w.service(), `{"email":"unconfirmed@example.org","password":"`+goodPassword+`"}`)
	banned := w.ok("POST", "/admin/users", w.service(), `{"email":"banned@example.org","password":"`+goodPassword+`","email_confirm":true}`)
	session := w.ok("POST", "/token?grant_type=password", "", `{"email":"banned@example.org","password":"`+goodPassword+`"}`)
	w.ok("PUT", "/admin/users/"+banned.str("id"), w.service(), `{"ban_duration":"24h"}`)
	const absent = "/admin/users/00000000-0000-4000-8000-000000000000"
	for _, test := range []struct {
		name, method, path, token, body string
		status                          int
		code                            string
	}{
		{"wrong password", "POST", "/token?grant_type=password", "", `{"email":"taken@example.org","password":"wrong"}`, 400, "invalid_credentials"},
		{"unknown e-mail", "POST", "/token?grant_type=password", "", `{"email":"nobody@example.org","password":"wrong"}`, 400, "invalid_credentials"},
		{"empty password", "POST", "/token?grant_type=password", "", `{"email":"taken@example.org"}`, 400, "invalid_credentials"},
		{"very long password", "POST", "/token?grant_type=password", "", `{"email":"taken@example.org","password":"` + strings.Repeat("x", 80) + `"}`, 400, "invalid_credentials"},
		{"neither e-mail nor phone", "POST", "/token?grant_type=password", "", `{"password":"x"}`, 400, "validation_failed"},
		{"unknown grant", "POST", "/token?grant_type=magic", "", `{}`, 400, "invalid_credentials"},
		{"no grant", "POST", "/token", "", `{}`, 400, "invalid_credentials"},
		{"malformed JSON", "POST", "/signup", "", `{`, 400, "bad_json"},
		{"wrong type", "POST", "/signup", "", `{"email":1}`, 400, "bad_json"},
		{"empty body", "POST", "/token?grant_type=password", "", ``, 400, "bad_json"},
		{"large body", "POST", "/signup", "", `{"email":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "request_entity_too_large"},
		{"existing e-mail", "POST", "/signup", "", `{"email":"TAKEN@example.org","password":"` + goodPassword + `"}`, 422, "user_already_exists"},
		{"admin, existing e-mail", "POST", "/admin/users", w.service(), `{"email":"taken@example.org"}`, 422, "email_exists"},
		{"weak sign-up", "POST", "/signup", "", `{"email":"new@example.org","password":"a1"}`, 422, "weak_password"},
		{"weak characters", "POST", "/signup", "", `{"email":"new@example.org","password":"abcdefghij"}`, 422, "weak_password"},
		{"weak PUT", "PUT", "/user", user, `{"password":"a1"}`, 422, "weak_password"},
		{"weak admin PUT", "PUT", "/admin/users/" + banned.str("id"), w.service(), `{"password":"a1"}`, 422, "weak_password"},
		{"long password", "POST", "/signup", "", `{"email":"new@example.org","password":"` + strings.Repeat("a1", 40) + `"}`, 400, "validation_failed"},
		{"long password, admin", "POST", "/admin/users", w.service(), `{"email":"new@example.org","password":"` + strings.Repeat("a1", 40) + `"}`, 400, "validation_failed"},
		{"no password", "POST", "/signup", "", `{"email":"new@example.org"}`, 400, "validation_failed"},
		{"bad e-mail", "POST", "/signup", "", `{"email":"new example","password":"` + goodPassword + `"}`, 400, "validation_failed"},
		{"phone", "POST", "/signup", "", `{"phone":"+123","password":"` + goodPassword + `"}`, 400, "phone_provider_disabled"},
		{"same password", "PUT", "/user", user, `{"password":"` + goodPassword + `"}`, 422, "same_password"},
		{"unconfirmed", "POST", "/token?grant_type=password", "", `{"email":"unconfirmed@example.org","password":"` + goodPassword + `"}`, 400, "email_not_confirmed"},
		{"banned, password", "POST", "/token?grant_type=password", "", `{"email":"banned@example.org","password":"` + goodPassword + `"}`, 400, "user_banned"},
		{"banned, refresh", "POST", "/token?grant_type=refresh_token", "", `{"refresh_token":"` + session.str("refresh_token") + `"}`, 400, "user_banned"},
		{"banned, user", "GET", "/user", session.str("access_token"), "", 403, "user_banned"},
		{"admin as user", "GET", "/admin/users", user, "", 403, "not_admin"},
		{"admin as anon", "GET", "/admin/users", w.keys.AnonKey, "", 403, "not_admin"},
		{"admin without token", "GET", "/admin/users", "", "", 401, "no_authorization"},
		{"app_metadata of a user", "PUT", "/user", user, `{"app_metadata":{"role":"admin"}}`, 403, "not_admin"},
		{"PUT to a taken e-mail", "PUT", "/user", user, `{"email":"banned@example.org"}`, 422, "email_exists"},
		{"PUT to a bad e-mail", "PUT", "/user", user, `{"email":"x"}`, 400, "validation_failed"},
		{"PUT malformed", "PUT", "/user", user, `[`, 400, "bad_json"},
		{"admin GET, absent", "GET", absent, w.service(), "", 404, "user_not_found"},
		{"admin PUT, absent", "PUT", absent, w.service(), `{}`, 404, "user_not_found"},
		{"admin DELETE, absent", "DELETE", absent, w.service(), "", 404, "user_not_found"},
		{"admin GET, no uuid", "GET", "/admin/users/x", w.service(), "", 404, "validation_failed"},
		{"admin create, bad uuid", "POST", "/admin/users", w.service(), `{"id":"x","email":"new@example.org"}`, 400, "validation_failed"},
		{"admin create, nobody", "POST", "/admin/users", w.service(), `{}`, 400, "validation_failed"},
		{"admin create, phone", "POST", "/admin/users", w.service(), `{"phone":"+1"}`, 400, "phone_provider_disabled"},
		{"admin create, bad ban", "POST", "/admin/users", w.service(), `{"email":"new@example.org","ban_duration":"soon"}`, 400, "validation_failed"},
		{"admin create, ban as number", "POST", "/admin/users", w.service(), `{"email":"new@example.org","ban_duration":24}`, 400, "bad_json"},
		{"admin create, bad hash", "POST", "/admin/users", w.service(), `{"email":"new@example.org","password_hash":"x"}`, 400, "validation_failed"},
		{"NUL in metadata", "PUT", "/user", user, `{"data":{"x":"a\u0000b"}}`, 400, "validation_failed"},
		{"NUL in an e-mail", "POST", "/token?grant_type=password", "", `{"email":"a\u0000b@example.org","password":"x"}`, 400, "invalid_credentials"},
		{"page is no number", "GET", "/admin/users?page=x", w.service(), "", 400, "validation_failed"},
	} {
		r := w.do(test.method, test.path, test.token, test.body)
		if r.status != test.status || r.str("error_code") != test.code {
			t.Errorf("%s: got %d %v, want %d %s", test.name, r.status, r.body, test.status, test.code)
			continue
		}
		if r.body["code"] != float64(test.status) || r.str("msg") == "" || r.header.Get("x-sb-error-code") != test.code {
			t.Errorf("%s: body %v, header %q", test.name, r.body, r.header.Get("x-sb-error-code"))
		}
		modern := w.do(test.method, test.path, test.token, test.body, "X-Supabase-Api-Version", "2024-01-01")
		if modern.status != test.status || modern.str("code") != test.code || modern.str("message") == "" || modern.body["msg"] != nil {
			t.Errorf("%s: new dialect gives %d %v", test.name, modern.status, modern.body)
		}
		if modern.header.Get("X-Supabase-Api-Version") != "2024-01-01" {
			t.Errorf("%s: the version is not echoed", test.name)
		}
		if hasHeader := modern.header.Get("x-sb-error-code") != ""; hasHeader == (test.code == "weak_password") {
			t.Errorf("%s: x-sb-error-code in the new dialect: %v", test.name, hasHeader)
		}
	}
}

func TestWeakPasswordNamesItsReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	r := w.do("POST", "/signup", "", `{"email":"a@example.org","password":"abc"}`)
	reasons, _ := r.object("weak_password")["reasons"].([]any)
	if len(reasons) != 1 || reasons[0] != "length" {
		t.Errorf("weak_password = %v", r.body["weak_password"])
	}
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	r := w.do("GET", "/nowhere", "", "")
	if r.status != http.StatusNotFound || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		t.Errorf("unknown route = %d %s", r.status, r.header.Get("Content-Type"))
	}
	if r := w.do("DELETE", "/signup", "", ""); r.status != http.StatusMethodNotAllowed {
		t.Errorf("wrong method = %d", r.status)
	}
}

func TestSettingsHealthAndKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SignUp = false })
	if r := w.ok("GET", "/settings", "", ""); r.body["disable_signup"] != true || r.body["mailer_autoconfirm"] != true || r.object("external")["email"] != true {
		t.Errorf("settings = %v", r.body)
	}
	w.want(w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), 422, "signup_disabled")
	if r := w.ok("GET", "/health", "", ""); r.str("name") != "GoTrue" || r.str("version") == "" {
		t.Errorf("health = %v", r.body)
	}
	r := w.ok("GET", "/.well-known/jwks.json", "", "")
	if list, _ := r.body["keys"].([]any); len(list) != 1 || r.header.Get("Cache-Control") != "public, max-age=600" {
		t.Errorf("keys = %v, %v", r.body, r.header)
	}
}

func TestWithoutConfirmationNobodyLearnsWhoExists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoConfirm = false })
	for range 2 {
		r := w.ok("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
		if r.str("email") != "a@example.org" || r.str("access_token") != "" {
			t.Errorf("sign-up = %v", r.body)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{Hook: []string{"alone"}}); err == nil {
		t.Error("New took an empty configuration")
	}
}
