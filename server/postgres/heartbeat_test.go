package postgres_test

import (
	"encoding/json"
	"testing"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// A heartbeat is written by every node all the time: it must stay a change within its
// page, of a row without locks and indexes to mind.
func TestAHeartbeatWritesLittle(t *testing.T) {
	t.Parallel()
	const nodes, most = 500, 150 // bytes of WAL for each
	w := newWorld(t)
	ann := w.user(t, api.RoleOperator)
	w.exec(t, "update public.cluster_config set max_total_nodes = 10000")
	w.exec(t, `with made as (
			insert into public.nodes (name, runtime_type, status, registered_by) select 'n' || i, 'node', 'online', $1 from generate_series(1, $2) i returning id, name)
		insert into stark.node_leases (node_id, session, server_id) select id, 'session of ' || name, 'server' from made`, ann.UserID, nodes)
	var ids, sessions []string
	if err := w.conn.QueryRow(t.Context(), "select array_agg(node_id::text), array_agg(session) from stark.node_leases").Scan(&ids, &sessions); err != nil {
		t.Fatal(err)
	}
	least := 1 << 30 // the first round after a checkpoint writes whole pages
	for range 6 {
		if lost, err := w.RenewLeases(t.Context(), ids, sessions); err != nil || len(lost) > 0 {
			t.Fatalf("lost %v, %v", lost, err)
		}
		text := value[string](t, w, "explain (analyze, wal, format json) "+postgres.RenewSQL, ids, sessions, "server")
		var plans []struct {
			Plan struct {
				Bytes int `json:"WAL Bytes"`
			}
		}
		if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
			t.Fatalf("%v in %s", err, text)
		}
		least = min(least, plans[0].Plan.Bytes)
	}
	if each := least / nodes; each == 0 || each > most {
		t.Errorf("a heartbeat writes %d bytes of WAL, want at most %d", each, most)
	} else {
		t.Logf("a heartbeat writes %d bytes of WAL", each)
	}
}

// When a server starts again, all its nodes come back at once and have nothing new to
// say: nothing that watchers and the scheduler would have to hear may be written.
func TestANodeThatComesBackUnchangedIsNoNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reg := w.node(t, w.user(t, api.RoleOperator), "n1")
	back := func(labels map[string]string, session string) api.Node {
		t.Helper()
		req := api.RegisterNodeRequest{Name: "n1", RuntimeType: api.RuntimeNode, Labels: labels, Allocatable: &reg.Node.Allocatable}
		by := postgres.Registrar{NodeID: reg.Node.ID, CredentialID: reg.CredentialID}
		return must(w.RegisterNode(t.Context(), by, req, postgres.RegisterMeta{Session: session, IP: "10.0.0.1"}))(t).Node
	}
	back(nil, "s1") // brings an address
	changes := func() int {
		return value[int](t, w, "select count(*) from stark.changes c where c.id = $1::text", reg.Node.ID)
	}
	before := changes()
	again := back(nil, "s2")
	if got := changes(); got != before || again.ID != reg.Node.ID || again.Status != api.NodeOnline {
		t.Errorf("%d changes, %d before; node %+v", got, before, again)
	}
	if session := value[string](t, w, "select session from stark.node_leases where node_id = $1", reg.Node.ID); session != "s2" {
		t.Errorf("the lease is that of %s", session)
	}
	if changed := back(map[string]string{"a": "b"}, "s3"); changed.Labels["a"] != "b" || changes() == before {
		t.Errorf("a new label was not taken in: %+v", changed)
	}
}
