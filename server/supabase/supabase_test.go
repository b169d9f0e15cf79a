package supabase

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// The bodies are those of supabase-wire: what real services answered.
func TestAuthFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   fault.Code
	}{
		{400, `{"code":400,"error_code":"invalid_credentials","msg":"Invalid login credentials"}`, fault.InvalidCredentials},
		{400, `{"code":"invalid_credentials","message":"Invalid login credentials"}`, fault.InvalidCredentials},
		{422, `{"code":422,"error_code":"user_already_exists","msg":"User already registered"}`, fault.Conflict},
		{422, `{"code":422,"error_code":"email_exists","msg":"x"}`, fault.Conflict},
		{422, `{"code":422,"error_code":"weak_password","msg":"x","weak_password":{"reasons":["length"]}}`, fault.Validation},
		{422, `{"code":422,"error_code":"same_password","msg":"x"}`, fault.Validation},
		{400, `{"code":400,"error_code":"validation_failed","msg":"x"}`, fault.Validation},
		{400, `{"code":400,"error_code":"email_not_confirmed","msg":"x"}`, fault.Forbidden},
		{400, `{"code":400,"error_code":"user_banned","msg":"x"}`, fault.Forbidden},
		{422, `{"code":422,"error_code":"signup_disabled","msg":"x"}`, fault.Forbidden},
		{403, `{"code":403,"error_code":"bad_jwt","msg":"token is expired"}`, fault.TokenInvalid},
		{400, `{"code":400,"error_code":"refresh_token_already_used","msg":"x"}`, fault.TokenInvalid},
		{404, `{"code":404,"error_code":"user_not_found","msg":"x"}`, fault.UserNotFound},
		{429, `{"code":429,"error_code":"over_request_rate_limit","msg":"x"}`, fault.RateLimited},
		{429, `slow down`, fault.RateLimited},
		{403, `{"code":403,"error_code":"unknown","msg":"the hook says no"}`, fault.Forbidden},
		{401, `{"message":"No API key found in request"}`, fault.Unavailable},
		{403, `{"code":403,"error_code":"not_admin","msg":"x"}`, fault.Unavailable},
		{500, `{"code":"P0001","message":"a hook raised something"}`, fault.Unavailable},
		{500, `{"code":500,"error_code":"unexpected_failure","msg":"x","error_id":"y"}`, fault.Unavailable},
		{502, `<html>Bad Gateway</html>`, fault.Unavailable},
		{404, `404 page not found`, fault.Unavailable},
	} {
		got := AuthFault(c.status, []byte(c.body))
		if got.Code != c.want {
			t.Errorf("%d %s: got %s, want %s", c.status, c.body, got.Code, c.want)
		}
		if strings.Contains(got.Error(), "hook raised") || strings.Contains(got.Error(), "html") {
			t.Errorf("the fault quotes the answer: %s", got.Error())
		}
	}
}

func TestStorageFault(t *testing.T) {
	t.Parallel()
	body := func(status, code string) string {
		return `{"statusCode":"` + status + `","error":"e","message":"m","code":"` + code + `"}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   fault.Code
	}{
		{400, body("404", "NoSuchKey"), fault.NotFound},
		{400, body("404", "NoSuchBucket"), fault.Unavailable},
		{400, body("409", "KeyAlreadyExists"), fault.Conflict},
		{400, body("403", "AccessDenied"), fault.Forbidden},
		{400, body("413", "EntityTooLarge"), fault.PayloadTooLarge},
		{400, body("415", "InvalidMimeType"), fault.UnsupportedMediaType},
		{400, body("400", "InvalidKey"), fault.Validation},
		{400, body("400", "InvalidJWT"), fault.TokenInvalid},
		{500, body("500", "DatabaseError"), fault.Unavailable},
		{404, `{"statusCode":404,"error":"Not Found","message":"Route not found"}`, fault.Unavailable},
		{504, ``, fault.Unavailable},
	} {
		if got := StorageFault(c.status, []byte(c.body)); got.Code != c.want {
			t.Errorf("%d %s: got %s, want %s", c.status, c.body, got.Code, c.want)
		}
	}
}

func TestNewFactoryRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{URL: "", AnonKey: "a", ServiceKey: "s"},
		{URL: "ftp://host", AnonKey: "a", ServiceKey: "s"},
		{URL: "http://user:pw@host", AnonKey: "a", ServiceKey: "s"},
		{URL: "http://host\x7f", AnonKey: "a", ServiceKey: "s"},
		{URL: "http://host", ServiceKey: "s"},
		{URL: "http://host", AnonKey: "a"},
	} {
		if _, err := NewFactory(c); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	if err := Fault(nil, "x"); err != nil {
		t.Error(err)
	}
	if err := Fault(context.Canceled, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := Fault(context.DeadlineExceeded, "x"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("too slow: %v", err)
	}
	err := Fault(errors.New(`response status code 200: {"access_token":"leak"}`), "sign in")
	if fault.CodeOf(err) != fault.Unavailable || strings.Contains(err.Error(), "leak") {
		t.Errorf("an answer that is not understood: %v", err)
	}
	h := http.Header{}
	f, ferr := NewFactory(Config{URL: "http://host/", AnonKey: "anon", ServiceKey: "service"})
	if ferr != nil {
		t.Fatal(ferr)
	}
	f.Header(h, "")
	if h.Get("apikey") != "service" || h.Get("Authorization") != "Bearer service" {
		t.Errorf("as the service: %v", h)
	}
	f.Header(h, "user")
	if h.Get("apikey") != "anon" || h.Get("Authorization") != "Bearer user" {
		t.Errorf("as a user: %v", h)
	}
	if got := f.ObjectURL("object", "b", "o/na me/1.0.0+x/q?#.js"); got != "http://host/storage/v1/object/b/o/na%20me/1.0.0+x/q%3F%23.js" {
		t.Errorf("got %s", got)
	}
}
