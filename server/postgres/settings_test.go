package postgres_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/server/postgres"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// elsewhere names who acts on the settings that this package does not: their tests
// change the setting in the snapshot or read model that is fed from here.
var elsewhere = map[string]string{
	"Name":                "the only row",
	"ResourceVersion":     "of the row",
	"MaxPodsPerNode":      "core/scheduler, by its snapshot",
	"SchedulingPolicy":    "core/scheduler, by its snapshot",
	"ScoreWeights":        "core/scheduler, by its snapshot",
	"EnablePreemption":    "core/scheduler, by its snapshot",
	"HeartbeatIntervalMS": "server/dispatch tells agents with every answer to a heartbeat",
}

// Every setting does something, without a restart: here, or at its owner.
func TestEverySettingHasAnEffect(t *testing.T) {
	t.Parallel()
	effects := map[string]func(trial){
		"DefaultNamespace": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.DefaultNamespace = "stark-public" })
			if p := b.world.pod(t, b.owner, b.pod.PackID); p.Namespace != "stark-public" {
				t.Errorf("got %s", p.Namespace)
			}
		},
		"DefaultResourceRequests": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.DefaultResourceRequests = api.Resources{CPU: 7, Memory: 8} })
			if p := b.world.pod(t, b.owner, b.pod.PackID); p.ResourceRequests.CPU != 7 || p.ResourceRequests.Memory != 8 {
				t.Errorf("got %+v", p.ResourceRequests)
			}
		},
		"DefaultResourceLimits": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.DefaultResourceLimits = api.Resources{CPU: 701, Memory: 801} })
			if p := b.world.pod(t, b.owner, b.pod.PackID); p.ResourceLimits.CPU != 701 || p.ResourceLimits.Memory != 801 {
				t.Errorf("got %+v", p.ResourceLimits)
			}
		},
		"MaxTotalPods": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.MaxTotalPods = 1 })
			_, err := b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID})
			wantCode(t, err, fault.QuotaExceeded)
		},
		"MaxTotalNodes": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.MaxTotalNodes = 1 })
			_, err := b.CreateNode(t.Context(), b.owner, api.RegisterNodeRequest{Name: "n2", RuntimeType: api.RuntimeNode})
			wantCode(t, err, fault.QuotaExceeded)
		},
		"HeartbeatTimeoutMS": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.HeartbeatTimeoutMS = 3_600_000 })
			if r := b.sweepAfter(t, "50 seconds"); len(r.Unhealthy) != 0 {
				t.Errorf("got %+v", r)
			}
		},
		"EvictionTimeoutMS": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.EvictionTimeoutMS = 3_600_000 })
			if r := b.sweepAfter(t, "10 minutes"); len(r.Unhealthy) != 1 || len(r.PodsMoved) != 0 {
				t.Errorf("got %+v", r)
			}
		},
		"PodTerminationGracePeriodMS": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.PodTerminationGracePeriodMS = 4001 })
			if p := b.world.pod(t, b.owner, b.pod.PackID); p.TerminationGracePeriodSeconds != 5 {
				t.Errorf("got %d", p.TerminationGracePeriodSeconds)
			}
		},
		"TerminalPodRetentionMS": func(b trial) {
			t := b.t
			p := b.world.pod(t, b.owner, b.pod.PackID)
			if _, _, err := b.StopPod(t.Context(), b.owner, p.ID); err != nil {
				t.Fatal(err)
			}
			b.set(func(g *api.ClusterConfig) { g.TerminalPodRetentionMS = 0 })
			b.lead(t, func(ctx context.Context) { must(b.Compact(ctx))(t) })
			_, err := b.GetPod(t.Context(), b.owner, p.ID)
			wantCode(t, err, fault.NotFound)
		},
		"PodHistoryRetentionMS": func(b trial) {
			t := b.t
			b.exec(t, "alter table public.pod_history disable trigger pod_history_append_only")
			b.exec(t, "update public.pod_history set created_at = now() - interval '2 hours'")
			b.set(func(g *api.ClusterConfig) { g.PodHistoryRetentionMS = 3_600_000 })
			b.lead(t, func(ctx context.Context) {
				if r := must(b.Compact(ctx))(t); r.History == 0 {
					t.Errorf("got %+v", r)
				}
			})
			if n := value[int](t, b.world, "select count(*)::int from public.pod_history"); n != 0 {
				t.Errorf("%d entries are left", n)
			}
		},
		"OpenRegistration": func(b trial) {
			t := b.t
			b.set(func(g *api.ClusterConfig) { g.OpenRegistration = true })
			id := api.NewID()
			b.exec(t, `insert into auth.users (id, email) values ($1, 'late@example.com')`, id)
			if n := value[int](t, b.world, `select count(*)::int from public.user_roles where user_id = $1`, id); n != 1 {
				t.Errorf("got %d roles", n)
			}
		},
	}
	for field := range reflect.TypeFor[api.ClusterConfig]().Fields() {
		name := field.Name
		effect, here := effects[name]
		if _, there := elsewhere[name]; here == there {
			t.Errorf("%s: want one owner", name)
		}
		if !here {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBound(t)
			effect(trial{bound: b, t: t, admin: b.user(t, api.RoleAdmin)})
		})
	}
}

// trial is a world in which one setting is changed.
type trial struct {
	*bound
	t     *testing.T
	admin access.Identity
}

func (tr trial) set(change func(*api.ClusterConfig)) {
	tr.t.Helper()
	tr.configure(tr.t, tr.admin, change)
}

func (w *world) configure(t *testing.T, who access.Identity, change func(*api.ClusterConfig)) {
	t.Helper()
	must(w.UpdateClusterConfig(t.Context(), who, func(g api.ClusterConfig) (api.ClusterConfig, error) {
		change(&g)
		return g, g.Validate()
	}))(t)
}

func (b *bound) sweepAfter(t *testing.T, silence string) postgres.SweepResult {
	t.Helper()
	var r postgres.SweepResult
	b.exec(t, "update stark.node_leases set renewed_at = now() - $1::text::interval", silence)
	b.lead(t, func(ctx context.Context) {
		r = must(b.SweepNodes(postgres.SinceForTest(time.Now().Add(-time.Hour))(ctx)))(t)
	})
	return r
}

// Those that others act on reach them by the feed.
func TestSettingsReachEveryServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.user(t, api.RoleAdmin)
	second := feed(t, open(t, postgres.Config{URL: w.at.URL}))
	w.configure(t, admin, func(g *api.ClusterConfig) {
		g.HeartbeatIntervalMS, g.SchedulingPolicy, g.MaxPodsPerNode, g.EnablePreemption = 5000, api.PolicyBinpack, 7, false
		g.ScoreWeights.Bundle = new(3)
	})
	until(t, second, "the settings are there", func() bool {
		g := second.Config()
		return node.TimeoutsOf(g).Interval == 5*time.Second && g.SchedulingPolicy == api.PolicyBinpack && g.MaxPodsPerNode == 7 &&
			!g.EnablePreemption && g.ScoreWeights.Bundle != nil && *g.ScoreWeights.Bundle == 3
	})
	operator := w.user(t, api.RoleOperator)
	_, err := w.UpdateClusterConfig(t.Context(), operator, func(g api.ClusterConfig) (api.ClusterConfig, error) {
		g.OpenRegistration = true
		return g, nil
	})
	wantCode(t, err, fault.Forbidden)
	_, err = w.UpdateClusterConfig(t.Context(), w.user(t, api.RoleDeveloper), func(g api.ClusterConfig) (api.ClusterConfig, error) { return g, nil })
	wantCode(t, err, fault.Forbidden)
}

func TestANamespaceEmptiesItselfAndGoes(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	must(b.CreateNamespace(t.Context(), b.owner, api.CreateNamespaceRequest{Name: "old"}))(t)
	p := must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Namespace: "old"}))(t)
	waiting := must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Namespace: "old"}))(t)
	b.bind(t, p, b.node.ID)
	if n, gone, err := b.DeleteNamespace(t.Context(), b.owner, "old"); err != nil || gone || n.Phase != api.NamespaceTerminating {
		t.Fatalf("got %+v, %v, %v", n, gone, err)
	}
	if n, _, err := b.DeleteNamespace(t.Context(), b.owner, "old"); err != nil || n.Phase != api.NamespaceTerminating {
		t.Errorf("again: %+v, %v", n, err)
	}
	_, err := b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Namespace: "old"})
	wantCode(t, err, fault.NamespaceTerminating)
	end := func() (moved int) {
		b.lead(t, func(ctx context.Context) { moved = must(b.EndNamespaces(ctx))(t) })
		return moved
	}
	end()
	if got := must(b.GetPod(t.Context(), b.owner, p.ID))(t); got.Status != api.PodStopping || got.StopRequestedAt == nil {
		t.Errorf("got %+v", got)
	}
	if end(); value[int](t, b.world, "select count(*)::int from public.pods where namespace = 'old'") != 1 {
		t.Error("the pod that waited is still there")
	}
	b.ended(t, p)
	end()
	if end() != 0 || value[int](t, b.world, "select count(*)::int from public.namespaces where name = 'old'") != 0 {
		t.Error("the namespace is still there")
	}
	if h := must(b.PodHistory(t.Context(), b.owner, waiting.ID, 1, 0))(t); len(h) != 1 || h[0].Action != api.ActionDeleted {
		t.Errorf("got %+v", h)
	}
	_, err = b.EndNamespaces(t.Context())
	wantCode(t, err, fault.Stale)
}

// Also where rows are inserted as they are, by many at once.
func TestQuotaOfAClassIsExactUnderParallelInserts(t *testing.T) {
	t.Parallel()
	b := newBound(t)
	must(b.CreateNamespace(t.Context(), b.owner, api.CreateNamespaceRequest{
		Name: "shop", ResourceQuota: &api.ResourceQuota{PriorityClasses: map[string]api.Quota{"high-priority": {Pods: new(5)}}},
	}))(t)
	results := make(chan error, 20)
	for range 20 {
		conn := connect(t, b.at.Superuser)
		go func() {
			_, err := conn.Exec(t.Context(), `insert into public.pods (pack_id, created_by, namespace, priority_class_name)
				values ($1, $2, 'shop', 'high-priority')`, b.pod.PackID, b.owner.UserID)
			results <- err
		}()
	}
	made := 0
	for range 20 {
		if err := <-results; err == nil {
			made++
		}
	}
	if n := value[int](t, b.world, "select count(*)::int from public.pods where namespace = 'shop'"); made != 5 || n != 5 {
		t.Errorf("%d were made, %d are there", made, n)
	}
	// Other classes are not counted, nor what has ended.
	must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Namespace: "shop"}))(t)
	b.exec(t, "update public.pods set stop_requested_at = now() where namespace = 'shop'")
	must(b.CreatePod(t.Context(), b.owner, api.CreatePodRequest{PackID: b.pod.PackID, Namespace: "shop", PriorityClassName: "high-priority"}))(t)
}
