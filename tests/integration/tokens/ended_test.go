package tokens

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// watching opens a socket that watches pods.
func (p *project) watching(url, token string) *socket {
	p.t.Helper()
	s := p.dial(url, token)
	if !s.known() {
		p.t.Fatal("the token is not believed")
	}
	if code := s.ask(wire.TypeWatch, wire.Watch{WatchID: "w", Kind: "pods"}); code != "" {
		p.t.Fatalf("watch: %s", code)
	}
	return s
}

// out wants a token refused by both servers and at both doors.
func (p *project) out(what, token string) {
	p.t.Helper()
	for _, url := range []string{p.a, p.b} {
		if status, code := p.rest(http.MethodGet, url+"/api/pods", token, nil); status != http.StatusUnauthorized {
			p.t.Errorf("%s: REST says %d %s", what, status, code)
		}
		if p.dial(url, token).known() {
			p.t.Errorf("%s: a socket opens", what)
		}
	}
}

func TestSigningOutEndsASessionEverywhere(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.user("ada@example.com", api.RoleDeveloper)
	for name, signOut := range map[string]func(token string){
		"at a server": func(token string) {
			if status, code := p.rest(http.MethodPost, p.a+"/auth/logout", token, nil); status != http.StatusOK {
				t.Fatalf("%d %s", status, code)
			}
		},
		"at Supabase Auth itself": func(token string) {
			status, _ := p.rest(http.MethodPost, p.stack.URL+"/auth/v1/logout?scope=local&apikey="+p.stack.PublishableKey, token, nil)
			if status != http.StatusNoContent {
				t.Fatalf("%d", status)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			one, other := p.signIn("ada@example.com").AccessToken, p.signIn("ada@example.com").AccessToken
			here, there, stays := p.watching(p.a, one), p.watching(p.b, one), p.watching(p.b, other)
			signOut(one)
			for _, s := range []*socket{here, there} {
				if code := s.closed(); code != websocket.StatusPolicyViolation {
					t.Errorf("closed with %d", code)
				}
			}
			p.out("after signing out", one)
			stays.open()
			if _, err := p.client(other, p.a).Whoami(t.Context()); err != nil {
				t.Errorf("the other session: %v", err)
			}
		})
	}
	t.Run("by a new password", func(t *testing.T) {
		one, other := p.signIn("ada@example.com").AccessToken, p.signIn("ada@example.com").AccessToken
		s := p.watching(p.b, one)
		status, _ := p.rest(http.MethodPut, p.stack.URL+"/auth/v1/user?apikey="+p.stack.PublishableKey, other, map[string]any{"password": "Another-Horse-7"})
		if status != http.StatusOK {
			t.Fatalf("%d", status)
		}
		s.closed()
		p.out("after a new password", one)
	})
}

func TestABannedAccountIsOut(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada := p.user("ada@example.com", api.RoleDeveloper)
	s := p.watching(p.b, ada.AccessToken)
	status, _ := p.rest(http.MethodPut, p.stack.URL+"/auth/v1/admin/users/"+ada.User.ID+"?apikey="+p.stack.SecretKey, p.stack.ServiceRoleKey, map[string]any{"ban_duration": "24h"})
	if status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	s.closed()
	p.out("after the ban", ada.AccessToken)
}

// sql runs a statement as the owner of the database.
func (p *project) sql(statement string, args ...any) {
	p.t.Helper()
	conn, err := pgx.Connect(p.t.Context(), p.stack.DBURL)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close(p.t.Context()) }()
	if _, err := conn.Exec(p.t.Context(), statement, args...); err != nil {
		p.t.Fatalf("%s: %v", statement, err)
	}
}

func TestWhatLivedOnARightEndsWithIt(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada, bob := p.user("ada@example.com", api.RoleDeveloper), p.user("bob@example.com", api.RoleViewer)
	p.sql(`insert into public.namespaces (name) values ('team')`)
	p.sql(`insert into public.namespace_members (namespace, user_id) values ('team', $1), ('team', $2)`, ada.User.ID, bob.User.ID)
	eventually(t, func() bool { return p.dialKnown(p.b, ada.AccessToken) })
	role, member, stays := p.watching(p.b, ada.AccessToken), p.watching(p.b, bob.AccessToken), p.watching(p.a, bob.AccessToken)

	p.sql(`delete from public.user_roles where user_id = $1 and role = 'developer'`, ada.User.ID)
	role.closed()
	if status, code := p.rest(http.MethodPost, p.a+"/api/packs", ada.AccessToken, map[string]any{}); status != http.StatusForbidden {
		t.Errorf("the next request: %d %s", status, code)
	}
	member.open()

	p.sql(`insert into public.user_roles (user_id, role) values ($1, 'developer')`, bob.User.ID)
	stays.open() // more is no loss
	p.sql(`delete from public.namespace_members where user_id = $1`, bob.User.ID)
	member.closed()
	stays.closed()
	again, there := p.watching(p.a, bob.AccessToken), p.watching(p.b, bob.AccessToken)
	p.sql(`delete from auth.users where id = $1`, bob.User.ID)
	again.closed()
	there.closed() // each server has heard
	p.out("after the account", bob.AccessToken)
}

func (p *project) dialKnown(url, token string) bool { return p.dial(url, token).known() }

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("it does not come")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestASocketEndsWithItsTokenUnlessItIsRenewed(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada, bob := p.user("ada@example.com", api.RoleDeveloper), p.user("bob@example.com", api.RoleDeveloper)
	other := p.watching(p.a, ada.AccessToken)
	if code := other.ask(wire.TypeAuthenticate, wire.Authenticate{Token: bob.AccessToken}); code != fault.Forbidden {
		t.Errorf("somebody else's token: %q", code)
	}
	if code := other.ask(wire.TypeAuthenticate, wire.Authenticate{Token: "nonsense"}); code != fault.TokenInvalid {
		t.Errorf("no token: %q", code)
	}
	fresh, err := p.client("", p.b).RefreshSession(t.Context(), ada.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	// Long enough to open two sockets and to renew one, wherever this runs.
	short := p.sign(claims(t, ada.AccessToken, map[string]any{"exp": time.Now().Add(15 * time.Second).Unix()}))
	ends, renewed := p.watching(p.a, short), p.watching(p.a, short)
	if code := renewed.ask(wire.TypeAuthenticate, wire.Authenticate{Token: fresh.AccessToken}); code != "" {
		t.Fatalf("the fresh token: %s", code)
	}
	if code := ends.closed(); code != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d", code)
	}
	renewed.open()
}

func TestATicketOpensOneSocketOfABrowser(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ada := p.user("ada@example.com", api.RoleDeveloper)
	page := http.Header{"Origin": {"https://app.example.com"}}
	ticket := func(token string) string {
		t.Helper()
		made, err := p.client(token, p.a).CreateTicket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return made.Ticket
	}
	first := ticket(ada.AccessToken)
	for _, origin := range []string{"https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "null", "https://app.example.com:444"} {
		_, err := p.dialWith(p.b, http.Header{"Origin": {origin}}, wire.BearerSubprotocolPrefix+b64([]byte(first)))
		if err == nil {
			t.Errorf("a page of %s opens a socket", origin)
		}
	}
	first = ticket(ada.AccessToken) // whether a refused page has used the other up is nobody's concern
	s, err := p.dialWith(p.b, page, wire.BearerSubprotocolPrefix+b64([]byte(first)))
	if err != nil {
		t.Fatal(err)
	}
	if !s.known() || s.conn.Subprotocol() != wire.Subprotocol {
		t.Errorf("the ticket is not taken, or shown: %q", s.conn.Subprotocol())
	}
	again, err := p.dialWith(p.a, page, wire.BearerSubprotocolPrefix+b64([]byte(first)))
	if err != nil || again.known() {
		t.Errorf("the ticket is good twice: %v", err)
	}
	if status, _ := p.rest(http.MethodGet, p.a+"/auth/me", ticket(ada.AccessToken), nil); status != http.StatusUnauthorized {
		t.Errorf("a ticket at REST: %d", status)
	}
	// It ends with the session that it was made in, and so does its socket.
	late := ticket(ada.AccessToken)
	if err := p.client(ada.AccessToken, p.a).Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.closed()
	if code := again.ask(wire.TypeAuthenticate, wire.Authenticate{Token: late}); code != fault.TokenInvalid {
		t.Errorf("a ticket of an ended session: %q", code)
	}
	var f *fault.Error
	if _, err := p.client(ada.AccessToken, p.a).CreateTicket(t.Context()); !errors.As(err, &f) || f.Code != fault.TokenInvalid {
		t.Errorf("an ended session gets a ticket: %v", err)
	}
}
