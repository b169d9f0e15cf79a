package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
)

// calls are requests of all operations but those that answer a GET with JSON, by their ids;
// see operationOf. What a request is about is made before it, with as many rows as the maker
// says where it may have several.
var calls = map[string]func(*maker) call{
	"setup":    setup,
	"register": register,
	"login":    func(m *maker) call { return post("/auth/login", m.credentials()) },
	"refresh":  func(m *maker) call { return post("/auth/refresh", `{"refreshToken":"`+m.session().RefreshToken+`"}`) },
	"logout": func(m *maker) call {
		return call{method: http.MethodPost, path: "/auth/logout", token: m.session().AccessToken}
	},
	"createTicket": func(*maker) call { return call{method: http.MethodPost, path: "/api/ws-ticket"} },
	"createUser":   func(m *maker) call { return m.newUser() },
	"grantRoles": func(m *maker) call {
		return post("/auth/users/"+m.user()+"/roles", `{"roles":["operator","developer"]}`)
	},
	"revokeRole":      func(m *maker) call { return remove("/auth/users/" + m.user() + "/roles/viewer") },
	"disableUser":     func(m *maker) call { return post("/auth/users/"+m.user()+"/disable", "") },
	"enableUser":      func(m *maker) call { return post("/auth/users/"+m.disabled()+"/enable", "") },
	"createNodeToken": func(*maker) call { return post("/api/node-tokens", `{"uses":1}`) },
	"revokeNodeToken": func(m *maker) call { return remove("/api/node-tokens/" + m.joinToken()) },

	"createNode":           func(m *maker) call { return post("/api/nodes", m.text(`{"name":"made-%d","runtimeType":"node"}`)) },
	"updateNode":           func(m *maker) call { return patch("/api/nodes/"+crowdNode, m.text(`{"labels":{"n":"%d"}}`)) },
	"deleteNode":           func(m *maker) call { return remove("/api/nodes/" + m.node()) },
	"cordonNode":           func(*maker) call { return post("/api/nodes/"+crowdNode+"/cordon", "{}") },
	"uncordonNode":         func(*maker) call { return post("/api/nodes/"+crowdNode+"/uncordon", "{}") },
	"drainNode":            func(*maker) call { return post("/api/nodes/"+crowdNode+"/drain", "{}") },
	"cancelNodeDrain":      func(m *maker) call { return m.drained("/api/nodes/" + crowdNode + "/drain") },
	"rotateNodeCredential": func(m *maker) call { return post("/api/nodes/"+m.node()+"/credential/rotate", "") },
	"revokeNodeCredential": func(m *maker) call { return remove("/api/nodes/" + m.node() + "/credential") },
	"takeNode":             func(m *maker) call { return post("/api/nodes/"+m.node()+"/take", "") },
	"leaveNode":            leaveNode,

	"createPack":    func(m *maker) call { return m.newPack() },
	"updatePack":    func(m *maker) call { return patch("/api/packs/"+crowdPack, m.text(`{"description":"%d"}`)) },
	"deletePack":    func(m *maker) call { return remove("/api/packs/" + m.pack()) },
	"getPackBundle": func(m *maker) call { return get("/api/packs/" + m.pack() + "/bundle") },

	"createPod":        func(m *maker) call { return post("/api/pods", m.pod()) },
	"createPod?dryRun": func(m *maker) call { return post("/api/pods?dryRun=true", m.pod()) },
	"createPod+Idempotency-Key": func(m *maker) call {
		c := post("/api/pods", m.pod())
		c.header = map[string]string{"Idempotency-Key": m.text("key-%d")}
		return c
	},
	"createPods":         createPods,
	"updatePod":          func(m *maker) call { return patch("/api/pods/"+crowdPod, m.text(`{"labels":{"n":"%d"}}`)) },
	"updatePod+If-Match": updateOneVersion,
	"rollbackPod":        func(m *maker) call { return post("/api/pods/"+m.running()+"/rollback", `{"targetVersion":"2.0.1"}`) },
	"deletePod?force":    func(m *maker) call { return remove("/api/pods/" + m.running() + "?force=true") },
	"deletePod":          func(m *maker) call { return remove("/api/pods/" + m.pods(1)[0]) },
	"getPodStatus":       func(m *maker) call { return get("/api/pods/" + m.running() + "/status") },
	"getPodLogs":         func(m *maker) call { return get("/api/pods/" + m.pods(1)[0] + "/logs") },
	"getLogs": func(m *maker) call {
		return get("/api/logs?maxPods=100&podId=" + strings.Join(m.pods(m.rows), "&podId="))
	},
	"getLogs?labelSelector": func(m *maker) call {
		return get("/api/logs?maxPods=100&labelSelector=made%3D" + m.labelled())
	},
	"listPods?watch":  func(*maker) call { return get("/api/pods?watch=true") },
	"listNodes?watch": func(*maker) call { return get("/api/nodes?watch=true") },

	"createNamespace": func(m *maker) call { return post("/api/namespaces", m.text(`{"name":"made-%d"}`)) },
	"updateNamespace": func(m *maker) call {
		return call{method: http.MethodPut, path: "/api/namespaces/crowd", body: m.text(`{"labels":{"n":"%d"}}`)}
	},
	"patchNamespace":        func(m *maker) call { return patch("/api/namespaces/crowd", m.text(`{"labels":{"n":"%d"}}`)) },
	"deleteNamespace":       func(m *maker) call { return remove("/api/namespaces/" + m.namespace()) },
	"deleteNamespaceByName": func(m *maker) call { return remove("/api/namespaces/name/" + m.namespace()) },
	"setNamespaceMember": func(m *maker) call {
		return call{method: http.MethodPut, path: "/api/namespaces/crowd/members/" + m.user(), body: `{"role":"developer"}`}
	},
	"removeNamespaceMember": func(m *maker) call { return remove("/api/namespaces/crowd/members/" + m.member()) },

	"createPriorityClass": func(m *maker) call { return post("/api/priority-classes", m.text(`{"name":"made-%d","value":7}`)) },
	"updatePriorityClass": func(m *maker) call { return patch("/api/priority-classes/crowd-1", m.text(`{"description":"%d"}`)) },
	"deletePriorityClass": func(m *maker) call { return remove("/api/priority-classes/" + m.class()) },
	"replaceClusterConfig": func(m *maker) call {
		text, _ := m.config()
		return call{method: http.MethodPut, path: "/api/cluster/config", body: text}
	},
	"updateClusterConfig": func(*maker) call { return patch("/api/cluster/config", `{"maxPodsPerNode":900}`) },
	"updateClusterConfig?openRegistration": func(m *maker) call {
		_, is := m.config()
		return patch("/api/cluster/config", fmt.Sprintf(`{"openRegistration":%t}`, !is.OpenRegistration))
	},
}

func get(path string) call         { return call{method: http.MethodGet, path: path} }
func post(path, body string) call  { return call{method: http.MethodPost, path: path, body: body} }
func patch(path, body string) call { return call{method: http.MethodPatch, path: path, body: body} }
func remove(path string) call      { return call{method: http.MethodDelete, path: path} }

// setup is open while there is no admin: so nobody is one meanwhile, which the database does
// not allow in any other way.
func setup(m *maker) call {
	m.unguarded("delete from public.user_roles where role = 'admin'")
	c := post("/auth/setup", m.account())
	c.done = func() { m.unguarded("insert into public.user_roles (user_id, role) values (@owner, 'admin')") }
	return c
}

// register is open where an admin has opened it.
func register(m *maker) call {
	if _, err := m.db.SetOpenRegistration(m.t.Context(), true); err != nil {
		m.t.Fatal(err)
	}
	return post("/auth/register", m.account())
}

func createPods(m *maker) call {
	items := make([]string, m.rows)
	for i := range items {
		items[i] = m.pod()
	}
	return post("/api/pods/bulk", `{"items":[`+strings.Join(items, ",")+`]}`)
}

func updateOneVersion(m *maker) call {
	rec, _ := m.ask(m.admin.AccessToken, get("/api/pods/"+crowdPod))
	c := patch("/api/pods/"+crowdPod, m.text(`{"labels":{"n":"%d"}}`))
	c.header = map[string]string{"If-Match": rec.Header().Get("ETag")}
	return c
}

func leaveNode(m *maker) call {
	node, secret := m.node(), api.NodeCredentialPrefix+m.text("secret-%d")
	m.one("insert into stark.node_credentials (node_id, secret_hash, created_by, last_used_at) values (@node, @hash, @owner, now()) returning id::text",
		pgx.NamedArgs{"node": node, "hash": postgres.HashSecret(secret)})
	m.one("insert into stark.node_leases (node_id, session, renewed_at) values (@node, @session, now()) returning node_id::text",
		pgx.NamedArgs{"node": node, "session": someID})
	return call{method: http.MethodPost, path: "/api/nodes/leave", token: secret, body: `{"connectionId":"` + someID + `"}`}
}

// newUser is an account with a role.
func (m *maker) newUser() call {
	return post("/auth/users", strings.TrimSuffix(m.account(), "}")+`,"roles":["viewer"]}`)
}

// newPack is a pack whose bundle comes as JSON.
func (m *maker) newPack() call {
	return post("/api/packs", m.text(`{"name":"made-%d","version":"1.0.0","runtimeTag":"node","bundleContent":"module.exports = () => 1"}`))
}

// pack makes a pack with its bundle.
func (m *maker) pack() string {
	rec, _ := m.ask(m.admin.AccessToken, m.newPack())
	var made struct{ Data struct{ Pack api.Pack } }
	if err := json.Unmarshal(rec.Body.Bytes(), &made); err != nil {
		m.t.Fatal(err)
	}
	return made.Data.Pack.ID
}

// config is the settings of the cluster as they are.
func (m *maker) config() (text string, is api.ClusterConfig) {
	rec, _ := m.ask(m.admin.AccessToken, get("/api/cluster/config"))
	var answer struct {
		Data struct{ Config json.RawMessage }
	}
	err := json.Unmarshal(rec.Body.Bytes(), &answer)
	if err == nil {
		err = json.Unmarshal(answer.Data.Config, &is)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return string(answer.Data.Config), is
}

// drained begins a drain, and cancels it.
func (m *maker) drained(path string) call {
	m.ask(m.admin.AccessToken, post(path, "{}"))
	return remove(path)
}
