// Package placement tries what Kubernetes documents about scheduling, example by
// example, as pods and nodes over REST, on a real server and a real Postgres. Nodes are
// registered over REST too and then called online by their rows: there is no agent, so
// a pod that has a node stays scheduled.
package placement

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
	"github.com/stark-orchestrator/stark/tests/harness"
	"github.com/stark-orchestrator/stark/tests/project"
)

const (
	patience = time.Minute
	password = "Correct-Horse-9"
	hostname = "kubernetes.io/hostname"
)

// ground is a project with a server, for one example after the other.
type ground struct {
	admin   *client.Client
	adminID string
	watch   *harness.Watcher
	conn    *pgx.Conn // as role postgres, for what no API does
	classes []string  // that every cluster has

	project *project.Project
	log     *loggingtest.Log
	token   string // of the admin
}

func newGround(t *testing.T) *ground {
	t.Helper()
	stack, log := project.New(t), loggingtest.New(t, password)
	url := startServer(t, stack, log)
	session, err := connect(t, url, "").Setup(t.Context(), api.RegisterRequest{Email: "admin@example.com", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	stack.Secret(password, session.AccessToken, session.RefreshToken)
	g := &ground{
		admin: connect(t, url, session.AccessToken), adminID: session.User.ID,
		project: stack, log: log, token: session.AccessToken,
	}
	if g.watch, err = harness.Watch(t.Context(), g.admin.WebSocketURL(), session.AccessToken); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.watch.Close)
	if g.conn, err = pgx.Connect(t.Context(), stack.DBURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.conn.Close(context.WithoutCancel(t.Context())) })
	if err := g.conn.QueryRow(t.Context(), "select array_agg(name) from public.priority_classes").Scan(&g.classes); err != nil {
		t.Fatal(err)
	}
	g.pack(t, "web", `{}`)
	return g
}

func startServer(t *testing.T, stack *project.Project, log *loggingtest.Log) string {
	t.Helper()
	env := map[string]string{
		"STARK_PORT": "0", "SUPABASE_URL": stack.URL, "SUPABASE_PUBLISHABLE_KEY": stack.PublishableKey,
		"SUPABASE_SECRET_KEY": stack.SecretKey, "SUPABASE_JWT_SECRET": stack.JWTSecret, "STARK_DATABASE_URL": stack.DBURL,
		"STARK_RATE_LIMIT_API": "off", "STARK_RATE_LIMIT_AUTH": "off", "STARK_DATABASE_POOL_SIZE": "4",
	}
	log.Secret(stack.JWTSecret, stack.ServiceRoleKey, stack.SecretKey)
	cfg, err := server.LoadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg, log.Logger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case <-srv.Ready():
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	return srv.URL()
}

func connect(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Token: client.StaticToken(token)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (g *ground) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := g.conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// pack makes a pack that is ready; nobody fetches its bundle.
func (g *ground) pack(t *testing.T, name, metadata string) {
	t.Helper()
	g.exec(t, `insert into public.packs (name, version, runtime_tag, owner_id, status, bundle_sha256, bundle_size, metadata)
		values ($1, '1.0.0', 'node', $2, 'ready', repeat('a', 64), 1, $3::text::jsonb)`, name, g.adminID, metadata)
}

// clear takes away what the example before has made.
func (g *ground) clear(t *testing.T) {
	t.Helper()
	g.exec(t, "delete from public.pods")
	g.exec(t, "delete from public.nodes")
	g.exec(t, "delete from public.namespaces where name not in ('default', 'stark-system', 'stark-public')")
	g.exec(t, "delete from public.priority_classes where not (name = any($1))", g.classes)
}

// given makes what the documents of text describe, in this order: namespaces, priority
// classes, nodes, and pods, each of which must get the node that it names.
func (g *ground) given(t *testing.T, text string) {
	t.Helper()
	objects := documents(t, text)
	for _, kind := range manifest.Kinds {
		for _, o := range objects {
			if o.Kind != kind {
				continue
			}
			var err error
			switch kind {
			case manifest.KindNamespace:
				_, err = g.admin.CreateNamespace(t.Context(), *o.Space)
			case manifest.KindPriorityClass:
				_, err = g.admin.CreatePriorityClass(t.Context(), *o.PriorityClass)
			case manifest.KindNode:
				g.node(t, o)
			case manifest.KindPod:
				g.there(t, o)
			}
			if err != nil {
				t.Fatalf("%s: %v", o, err)
			}
		}
	}
}

func documents(t *testing.T, text string) []manifest.Object {
	t.Helper()
	if strings.TrimSpace(text) == "" {
		return nil
	}
	objects, err := manifest.ParseCluster("example", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// node registers a node of 4 cores and 8 GiB, unless it offers something else, with its
// name as the label of its host, as a kubelet sets it.
func (g *ground) node(t *testing.T, o manifest.Object) {
	t.Helper()
	r := api.RegisterNodeRequest{
		Name: o.Name, RuntimeType: api.RuntimeNode, Labels: map[string]string{hostname: o.Name},
		Allocatable: &api.Capacity{CPU: 4000, Memory: 8192, Storage: 10240, Pods: 100},
	}
	maps.Copy(r.Labels, o.Node.Labels)
	if o.Node.Taints != nil {
		r.Taints = *o.Node.Taints
	}
	if offer := o.Offer; offer != nil {
		r.Capabilities = offer.Capabilities
		if offer.RuntimeType != "" {
			r.RuntimeType = offer.RuntimeType
		}
		if a := offer.Allocatable; a != nil {
			r.Allocatable.CPU, r.Allocatable.Memory = *a.CPU, *a.Memory
		}
		if offer.Pods != nil {
			r.Allocatable.Pods = *offer.Pods
		}
	}
	n, err := g.admin.CreateNode(t.Context(), r)
	if err != nil {
		t.Fatalf("register node %s: %v", o.Name, err)
	}
	g.exec(t, "insert into stark.node_leases (node_id, renewed_at) values ($1, now() + interval '1 day')", n.ID)
	g.exec(t, "update public.nodes set status = 'online' where id = $1", n.ID)
	if o.Node.Unschedulable != nil {
		if _, err := g.admin.UpdateNode(t.Context(), n.ID, api.UpdateNodeRequest{Unschedulable: o.Node.Unschedulable}); err != nil {
			t.Fatal(err)
		}
	}
}

// there makes a pod of the example's beginning.
func (g *ground) there(t *testing.T, o manifest.Object) {
	t.Helper()
	p := g.decided(t, g.create(t, o))
	if want := o.Pod.Scheduling.NodeName; p.NodeName != want {
		t.Fatalf("%s is on %q (%s), want %q", o, p.NodeName, p.StatusMessage, want)
	}
}

// create asks for a pod that needs little, unless it says otherwise.
func (g *ground) create(t *testing.T, o manifest.Object) string {
	t.Helper()
	r := *o.Pod
	if r.ResourceRequests == nil && r.Namespace == "" {
		r.ResourceRequests = &api.ResourceInput{CPU: new(api.Millicores(10)), Memory: new(api.Mebibytes(16))}
	}
	p, err := g.admin.CreatePod(t.Context(), r)
	if err != nil {
		t.Fatalf("create %s: %v", o, err)
	}
	return p.ID
}

// decided waits until the scheduler has decided about a pod: it has a node, or a reason
// why it has none.
func (g *ground) decided(t *testing.T, id string) api.Pod {
	t.Helper()
	return g.wait(t, id, "to be decided", func(p api.Pod) bool { return p.NodeID != nil || p.Reason != "" })
}

func (g *ground) wait(t *testing.T, id, what string, ok func(api.Pod) bool) api.Pod {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	p, err := g.watch.WaitPod(ctx, id, what, ok)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// takes checks that one of these nodes has taken the pod, and that its explanation
// compares them all, and no other.
func (g *ground) takes(t *testing.T, id string, nodes ...string) {
	t.Helper()
	p := g.decided(t, id)
	if !slices.Contains(nodes, p.NodeName) {
		t.Fatalf("the pod is on %q (%s), want one of %v", p.NodeName, p.StatusMessage, nodes)
	}
	e := g.explain(t, id)
	var compared []string
	for _, c := range e.Candidates {
		compared = append(compared, c.NodeName)
	}
	slices.Sort(compared)
	if slices.Sort(nodes); e.NodeName != p.NodeName || !slices.Equal(compared, nodes) {
		t.Errorf("the pod is on %s; its explanation says %q and compares %v, want %v", p.NodeName, e.NodeName, compared, nodes)
	}
}

// refuses checks that no node takes the pod, in these words: of the list of pods and of
// the explanation, with the filter that refused the nearest node and what would help.
func (g *ground) refuses(t *testing.T, id string, want refusal) {
	t.Helper()
	p := g.wait(t, id, "to be told: "+want.message, func(p api.Pod) bool { return p.NodeID != nil || p.StatusMessage == want.message })
	if p.NodeID != nil {
		t.Fatalf("the pod is on %s, want none: %s", p.NodeName, want.message)
	}
	v := g.explain(t, id).Verdict
	if v == nil {
		t.Fatalf("no verdict of a pod that waits: %s", p.StatusMessage)
	}
	got := refusal{filter: "none", message: v.Message, change: v.Change}
	if len(v.Nodes) > 0 {
		got.filter = v.Nodes[0].Filter
	}
	if got != want {
		t.Errorf("explained as\n%+v, want\n%+v", got, want)
	}
	if p.Reason != v.Reason || p.StatusMessage != v.Message {
		t.Errorf("the pod says %s: %q, its explanation %s: %q", p.Reason, p.StatusMessage, v.Reason, v.Message)
	}
}

// refusal is how a pod is told that it has no node.
type refusal struct{ filter, message, change string }

func (g *ground) explain(t *testing.T, id string) api.Explanation {
	t.Helper()
	e, err := g.admin.PodExplanation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
