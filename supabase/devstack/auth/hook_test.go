package auth

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// hooked is a world whose hook runs the given body of a plpgsql function; event is its argument.
func hooked(t *testing.T, body string) *world {
	t.Helper()
	w := newWorld(t, func(c *Config) { c.Hook = pgx.Identifier{"public", "hook"} })
	w.sql("postgres", "create function public.hook(event jsonb) returns jsonb language plpgsql as $$ begin "+body+" end $$")
	return w
}

func TestHookAddsClaims(t *testing.T) {
	t.Parallel()
	w := hooked(t, `
		if current_user <> 'supabase_auth_admin' then raise exception 'called as %', current_user; end if;
		return jsonb_set(event, '{claims,stark}', jsonb_build_object(
			'method', event ->> 'authentication_method', 'user', event ->> 'user_id',
			'session', (select count(*) from auth.sessions where id = (event #>> '{claims,session_id}')::uuid),
			'name', event #>> '{metadata,name}'));`)
	session := w.signUp("a@example.org")
	id := session.object("user")["id"]
	for method, r := range map[string]reply{"password": session, "token_refresh": w.refresh(session.str("refresh_token"))} {
		claims := w.claims(r.str("access_token"))
		got, _ := claims["stark"].(map[string]any)
		if got["method"] != method || got["user"] != id || got["session"] != float64(1) || got["name"] != "customize-access-token" {
			t.Errorf("%s: claim = %v", method, got)
		}
		if exp, ok := claims["exp"].(float64); !ok || exp < float64(time.Now().Unix()) {
			t.Errorf("%s: exp = %v", method, claims["exp"])
		}
	}
}

func TestHooksThatFail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body   string
		status int
		code   string // of error_code
	}{
		"error":          {`return '{"error":{"http_code":403,"message":"go away"}}'::jsonb;`, 403, "unknown"},
		"error, no code": {`return '{"error":{"message":"go away"}}'::jsonb;`, 500, "unknown"},
		"no role":        {`return event #- '{claims,role}';`, 500, "unexpected_failure"},
		"no session":     {`return event #- '{claims,session_id}';`, 500, "unexpected_failure"},
		"exp is a text":  {`return jsonb_set(event, '{claims,exp}', '"soon"');`, 500, "unexpected_failure"},
		"null":           {`return null;`, 500, "unexpected_failure"},
		"empty":          {`return '{}'::jsonb;`, 500, "unexpected_failure"},
		"a list":         {`return '[]'::jsonb;`, 500, "unexpected_failure"},
		"division":       {`return to_jsonb(1 / 0);`, 500, "unexpected_failure"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := hooked(t, test.body)
			w.want(w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), test.status, test.code)
		})
	}
}

func TestHookThatRaises(t *testing.T) {
	t.Parallel()
	w := hooked(t, `raise exception 'no entry';`)
	r := w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
	if r.status != http.StatusInternalServerError || r.str("code") != "P0001" || r.str("message") != "no entry" {
		t.Errorf("sign-up = %d %v", r.status, r.body)
	}
	w.sql("postgres", `create or replace function public.hook(event jsonb) returns jsonb language plpgsql as $$
		begin raise sqlstate 'PT418' using message = 'teapot'; end $$`)
	r = w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`)
	if r.status != 418 || r.str("code") != "PT418" {
		t.Errorf("sign-up = %d %v", r.status, r.body)
	}
}

func TestHookThatSleeps(t *testing.T) {
	t.Parallel()
	w := hooked(t, `perform pg_sleep(20); return event;`)
	w.want(w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), 500, "unexpected_failure")
}

func TestHookThatIsMissingOrForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Hook = pgx.Identifier{"public", "absent"} })
	w.want(w.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), 500, "unexpected_failure")
	forbidden := hooked(t, `return event;`)
	forbidden.sql("postgres", "revoke execute on function public.hook from public, anon, authenticated, service_role")
	forbidden.want(forbidden.do("POST", "/signup", "", `{"email":"a@example.org","password":"`+goodPassword+`"}`), 500, "unexpected_failure")
}
