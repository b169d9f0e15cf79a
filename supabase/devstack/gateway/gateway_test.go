package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/supabase/devstack/gateway"
	"github.com/stark-orchestrator/stark/supabase/devstack/keys"
)

// echo answers with its name, the path and the Authorization that reached it.
func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+" "+r.URL.EscapedPath()+" "+r.Header.Get("Authorization"))
	})
}

func TestGateway(t *testing.T) {
	t.Parallel()
	set, err := keys.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	handler := gateway.New(gateway.Config{Auth: echo("auth"), Storage: echo("storage"), Rest: echo("rest"), Keys: set})
	const (
		missing = `{"message":"No API key found in request"}`
		unknown = `{"message":"Invalid authentication credentials"}`
	)
	for _, test := range []struct {
		name, path, apikey, authorization string
		status                            int
		want                              string
	}{
		{"no key", "/auth/v1/user", "", "", 401, missing},
		{"unknown key", "/auth/v1/user", "x", "", 401, unknown},
		{"key in the query", "/auth/v1/user?apikey=" + set.AnonKey, "", "Bearer u", 200, "auth /user Bearer u"},
		{"open path", "/auth/v1/.well-known/jwks.json", "", "", 200, "auth /.well-known/jwks.json "},
		{"anon key", "/auth/v1/user", set.AnonKey, "Bearer u", 200, "auth /user Bearer u"},
		{"service key alone", "/auth/v1/admin/users", set.ServiceRoleKey, "", 200, "auth /admin/users "},
		{"publishable key alone", "/auth/v1/user", set.PublishableKey, "", 200, "auth /user Bearer " + set.AnonKey},
		{"secret key twice", "/auth/v1/admin/users", set.SecretKey, "Bearer " + set.SecretKey, 200, "auth /admin/users Bearer " + set.ServiceRoleKey},
		{"secret key and a user", "/auth/v1/user", set.SecretKey, "Bearer u", 200, "auth /user Bearer u"},
		{"storage without key", "/storage/v1/bucket", "", "", 200, "storage /bucket "},
		{"storage, legacy key", "/storage/v1/bucket", set.AnonKey, "", 200, "storage /bucket " + set.AnonKey},
		{"storage, new key", "/storage/v1/bucket", set.SecretKey, "", 200, "storage /bucket Bearer " + set.ServiceRoleKey},
		{"storage, made-up new key", "/storage/v1/bucket", "", "Bearer sb_x", 200, "storage /bucket Bearer sb_x"},
		{"keys of objects stay as they are", "/storage/v1/object/b/a//b%2Fc/", "", "Bearer u", 200, "storage /object/b/a//b%2Fc/ Bearer u"},
		{"rest, no key", "/rest/v1/pods", "", "", 401, missing},
		{"rest, unknown key", "/rest/v1/pods", "x", "", 401, unknown},
		{"rest, a token is no key", "/rest/v1/pods", "", "Bearer " + set.ServiceRoleKey, 401, missing},
		{"rest, anon key alone", "/rest/v1/pods", set.AnonKey, "", 200, "rest /pods "},
		{"rest, secret key alone", "/rest/v1/pods", set.SecretKey, "", 200, "rest /pods Bearer " + set.ServiceRoleKey},
		{"rest, key and user", "/rest/v1/rpc/f", set.PublishableKey, "Bearer u", 200, "rest /rpc/f Bearer u"},
		{"rest has no open path", "/rest/v1/verify", "", "", 401, missing},
		{"elsewhere", "/graphql/v1", set.AnonKey, "", 404, `{"message":"no Route matched with those values"}`},
		{"prefix alone", "/auth/v1", set.AnonKey, "", 404, `{"message":"no Route matched with those values"}`},
		{"escaped prefix", "/auth%2Fv1/user", set.AnonKey, "", 404, `{"message":"no Route matched with those values"}`},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.path, nil)
		if test.apikey != "" {
			r.Header.Set("apikey", test.apikey)
		}
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got := strings.TrimSuffix(w.Body.String(), "\n"); w.Code != test.status || got != test.want {
			t.Errorf("%s: %d %q, want %d %q", test.name, w.Code, got, test.status, test.want)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: no cross-origin header", test.name)
		}
	}
}

func TestWithoutTheAPI(t *testing.T) {
	t.Parallel()
	set, err := keys.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/rest/v1/pods?apikey="+set.AnonKey, nil)
	gateway.New(gateway.Config{Auth: echo("auth"), Storage: echo("storage"), Keys: set}).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("got %d, want 404", w.Code)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	set, err := keys.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	handler := gateway.New(gateway.Config{Auth: echo("auth"), Storage: echo("storage"), Keys: set})
	for asked, want := range map[string]string{"x-mine": "x-mine", "": "authorization, apikey, content-type, x-client-info"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/auth/v1/token", nil)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", asked)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Headers") != want || w.Body.Len() != 0 {
			t.Errorf("preflight = %d %v", w.Code, w.Header())
		}
	}
}
