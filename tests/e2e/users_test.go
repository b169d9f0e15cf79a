package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Two developers must not see each other's private packs and pods, whichever
// door they try: REST, SQL or the bucket.
func TestTwoUsersDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("worker")
	ada, adaSession := c.user("ada@example.com", api.RoleDeveloper)
	bob, bobSession := c.user("bob@example.com", api.RoleDeveloper)
	pack := c.pack(ada, "steady")
	pod, err := ada.CreatePod(t.Context(), api.CreatePodRequest{PackID: pack.ID})
	if err != nil {
		t.Fatal(err)
	}
	c.waitStatus(pod.ID, api.PodRunning)

	t.Run("REST", func(t *testing.T) {
		notFound(t, "pack", errOf(bob.GetPack(t.Context(), pack.ID)))
		notFound(t, "versions", errOf(bob.PackVersions(t.Context(), "steady")))
		notFound(t, "pod", errOf(bob.GetPod(t.Context(), pod.ID)))
		notFound(t, "history", errOf(bob.PodHistory(t.Context(), pod.ID, 10, 0)))
		_, _, err := bob.StopPod(t.Context(), pod.ID)
		notFound(t, "stop", err)
		notFound(t, "deploying the pack", errOf(bob.CreatePod(t.Context(), api.CreatePodRequest{PackID: pack.ID})))
		for _, err := range bob.PodLogs(t.Context(), pod.ID, client.LogOptions{}) {
			notFound(t, "logs", err)
		}
		for _, err := range bob.Logs(t.Context(), client.LogQuery{PodIDs: []string{pod.ID}}) {
			notFound(t, "logs of pods that are named", err)
		}
		for l, err := range bob.Logs(t.Context(), client.LogQuery{Matching: true, LogOptions: client.LogOptions{Tail: new(-1)}}) {
			t.Errorf("bob reads %+v, %v of all pods that he sees", l, err)
		}
		packs, err := bob.ListPacks(t.Context(), api.PackQuery{})
		if err != nil || packs.Total != 0 {
			t.Errorf("bob lists %d packs, %v", packs.Total, err)
		}
		pods, err := bob.ListPods(t.Context(), api.PodQuery{})
		if err != nil || pods.Total != 0 {
			t.Errorf("bob lists %d pods, %v", pods.Total, err)
		}
	})
	t.Run("SQL", func(t *testing.T) {
		for _, table := range []string{"packs", "pods", "pod_runs", "pod_history"} {
			if n := c.countAs(t, adaSession.User.ID, table); n == 0 {
				t.Errorf("ada sees no row of %s", table)
			}
			if n := c.countAs(t, bobSession.User.ID, table); n != 0 {
				t.Errorf("bob sees %d rows of %s", n, table)
			}
		}
	})
	t.Run("bucket", func(t *testing.T) {
		if status := c.object(t, adaSession.AccessToken, pack.BundlePath); status != http.StatusOK {
			t.Errorf("ada gets status %d for her bundle", status)
		}
		if status := c.object(t, bobSession.AccessToken, pack.BundlePath); status == http.StatusOK {
			t.Error("bob gets ada's bundle")
		}
	})
	if p, err := ada.GetPod(t.Context(), pod.ID); err != nil || p.Status != api.PodRunning {
		t.Errorf("ada's pod afterwards: %s, %v", p.Status, err)
	}
}

func TestAPublicPackIsForEverybodyAndItsNameStaysItsOwners(t *testing.T) {
	t.Parallel()
	c := start(t)
	ada, _ := c.user("ada@example.com", api.RoleDeveloper)
	bob, _ := c.user("bob@example.com", api.RoleDeveloper)
	pack := c.pack(ada, "once", func(r *api.CreatePackRequest) { r.Visibility = api.VisibilityPublic })
	if _, err := bob.CreatePod(t.Context(), api.CreatePodRequest{PackName: "once"}); err != nil {
		t.Errorf("bob deploys the public pack: %v", err)
	}
	_, err := bob.CreatePack(t.Context(), api.CreatePackRequest{Name: "once", Version: "9.0.0", RuntimeTag: api.TagNode}, bundle([]byte("exports.default = () => {}")))
	if code := fault.CodeOf(err); code != fault.Conflict {
		t.Errorf("bob takes ada's name: %v, want %s", err, fault.Conflict)
	}
	if err := bob.DeletePack(t.Context(), pack.ID); err == nil {
		t.Error("bob deletes ada's pack")
	}
}

// user makes a user with a role and signs them in.
func (c *cluster) user(email string, roles ...api.Role) (*client.Client, api.Session) {
	c.t.Helper()
	cl, session, err := c.User(c.t.Context(), email, roles...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl, session
}

func errOf[T any](_ T, err error) error { return err }

func notFound(t *testing.T, what string, err error) {
	t.Helper()
	if code := fault.CodeOf(err); code != fault.NotFound {
		t.Errorf("%s: %v, want %s", what, err, fault.NotFound)
	}
}

// countAs counts rows as PostgREST would let the user see them.
func (c *cluster) countAs(t *testing.T, userID, table string) int {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, c.Stack.DBURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	claims, err := json.Marshal(map[string]string{"sub": userID, "role": "authenticated"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)`, string(claims)); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select count(*) from public.`+table).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// object asks Storage for a bundle and gives the status.
func (c *cluster) object(t *testing.T, token, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Stack.URL+"/storage/v1/object/"+api.BundleBucket+"/"+path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("apikey", c.Stack.AnonKey)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
