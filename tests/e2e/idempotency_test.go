package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/tests/harness"
)

// keyed asks one server for something with an Idempotency-Key, as the admin.
func (c *cluster) keyed(url, path, key, body string) (status int, id string, err error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.Session.AccessToken)
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var out struct {
		Data map[string]struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	_ = json.Unmarshal(data, &out) // a refusal has no object
	for _, o := range out.Data {
		id = o.ID
	}
	return resp.StatusCode, id, nil
}

func (c *cluster) dial() *pgx.Conn {
	c.t.Helper()
	conn, err := pgx.Connect(c.t.Context(), c.Stack.DBURL)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) })
	return conn
}

// untilSQL waits for a query of the database to say true.
func (c *cluster) untilSQL(conn *pgx.Conn, what, query string, args ...any) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), patience)
	defer stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		if err := conn.QueryRow(ctx, query, args...).Scan(&ok); err != nil {
			c.t.Fatalf("wait for %s: %v", what, err)
		}
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("never: %s", what)
		}
	}
}

const waitsFor = `select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ilike $1)`

func execute(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOneKeyAtTwoServers(t *testing.T) {
	t.Parallel()
	c := start2(t)
	for _, what := range []struct{ path, body, table string }{
		{"/api/nodes", `{"name":"both","runtimeType":"node"}`, "public.nodes where name = 'both'"},
		{"/api/namespaces", `{"name":"both"}`, "public.namespaces where name = 'both'"},
		{"/api/priority-classes", `{"name":"both","value":7}`, "public.priority_classes where name = 'both'"},
		{"/auth/users", `{"email":"both@example.com","password":"Correct-Horse-9","roles":["viewer"]}`, "public.users where email = 'both@example.com'"},
		{"/api/node-tokens", `{"uses":77}`, "stark.join_tokens where uses = 77"},
	} {
		type answer struct {
			status int
			id     string
			err    error
		}
		answers := make(chan answer, 6)
		for i := range cap(answers) {
			go func() {
				s, id, err := c.keyed(c.Servers[i%2].URL, what.path, "both"+what.path, what.body)
				answers <- answer{s, id, err}
			}()
		}
		first := answer{}
		for range cap(answers) {
			a := <-answers
			if first.id == "" {
				first = a
			}
			if a.err != nil || a.status != http.StatusCreated || a.id == "" || a.id != first.id {
				t.Errorf("%s: got %+v beside %+v", what.path, a, first)
			}
		}
		c.one(what.table)
	}
}

// A server dies when it has made the object and before it has kept the answer. The
// other one gives the object to who asks again with the same key.
func TestAServerDiesBetweenObjectAndAnswer(t *testing.T) {
	t.Parallel()
	c := start2(t)
	watch, gate, seal := c.dial(), c.dial(), c.dial()
	for i, what := range []struct{ path, body, gate, table string }{
		{"/api/nodes", `{"name":"torn","runtimeType":"node"}`, "public.nodes", "public.nodes where name = 'torn'"},
		{"/api/namespaces", `{"name":"torn"}`, "public.namespaces", "public.namespaces where name = 'torn'"},
		{"/api/priority-classes", `{"name":"torn","value":7}`, "public.priority_classes", "public.priority_classes where name = 'torn'"},
		{"/auth/users", `{"email":"torn@example.com","password":"Correct-Horse-9","roles":["viewer"]}`, "public.user_roles", "public.users where email = 'torn@example.com'"},
	} {
		key := fmt.Sprintf("torn-%d", i)
		// The object waits before the gate; then the answer waits before the seal.
		execute(t, gate, "begin", "lock table "+what.gate+" in share mode")
		lost := make(chan error, 1)
		go func() {
			_, _, err := c.keyed(c.Servers[0].URL, what.path, key, what.body)
			lost <- err
		}()
		// What else waits at that gate, such as a look at all nodes, says nothing of this write:
		// that it has begun has to be known before the seal holds up whatever begins.
		c.untilSQL(watch, "the write to begin", "select exists (select from stark.idempotent_writes where answer is null and held_until > now())")
		c.untilSQL(watch, "the object to wait", waitsFor, "%")
		execute(t, seal, "begin", "lock table stark.idempotent_writes in exclusive mode")
		execute(t, gate, "commit")
		c.untilSQL(watch, "the answer to wait", waitsFor, "%update stark.idempotent_writes%")
		c.Servers[0].Kill()
		if err := <-lost; err == nil {
			t.Errorf("%s: the dead server has answered", what.path)
		}
		execute(t, seal, "commit")
		c.untilSQL(watch, "the connections of the dead server to end", "select not exists (select from pg_stat_activity where wait_event_type = 'Lock')")
		c.one(what.table)
		// Whether the dying server's last statement came through is for the database to
		// say; that its answer was never kept is made sure of here.
		execute(t, seal, "update stark.idempotent_writes set answer = null, held_until = now()")
		status, id, err := c.keyed(c.Servers[1].URL, what.path, key, what.body)
		if err != nil || status != http.StatusCreated || id == "" {
			t.Errorf("%s: asked again: %d, %q, %v", what.path, status, id, err)
		}
		again, other, err := c.keyed(c.Servers[1].URL, what.path, key, what.body)
		if err != nil || again != http.StatusCreated || other != id {
			t.Errorf("%s: asked a third time: %d, %q, %v; want %q", what.path, again, other, err, id)
		}
		if status, _, _ := c.keyed(c.Servers[1].URL, what.path, key+"-other", what.body); status != http.StatusConflict {
			t.Errorf("%s: another request for the same is answered %d", what.path, status)
		}
		c.one(what.table)
		if err := c.Restart(t.Context(), c.Servers[0]); err != nil {
			t.Fatal(err)
		}
	}
	c.one("public.user_roles r join public.users u on u.id = r.user_id where u.email = 'torn@example.com' and r.role = 'viewer'")
}

func (c *cluster) one(from string) {
	c.t.Helper()
	var n int
	if err := c.dial().QueryRow(c.t.Context(), "select count(*) from "+from).Scan(&n); err != nil || n != 1 {
		c.t.Errorf("%s: %d, %v; want one", from, n, err)
	}
}

// start2 brings up two servers on one database.
func start2(t *testing.T) *cluster {
	t.Helper()
	hc, err := harness.Start(t.Context(), harness.Options{Stark: stark, Dir: t.TempDir(), Servers: 2})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Cluster: hc, t: t}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := c.Close(ctx); err != nil {
			t.Errorf("end the cluster: %v", err)
		}
		c.searchForSecrets()
	})
	return c
}
