package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/core/scheduler"
	"github.com/stark-orchestrator/stark/shared/api"
)

// plans measures Plan and Explain by themselves, in the time of the CPU.
func (b *bench) plans() stage {
	var steps []step
	for _, n := range []int{100, 1000, 10000} {
		steps = append(steps, step{keys: []string{fmt.Sprintf("plan.pod.%d", n)}, measure: func(context.Context) error { b.plan(n); return nil }})
	}
	return stage{steps: append(steps, step{keys: []string{"explain"}, measure: func(context.Context) error { b.explain(); return nil }})}
}

func (b *bench) plan(n int) {
	const pods = 2000
	one, all := crowd(n, 1), crowd(n, pods)
	base := cpuOf(func() { scheduler.Plan(one, time.Now()) })
	took := cpuOf(func() { scheduler.Plan(all, time.Now()) })
	b.figures[fmt.Sprintf("plan.pod.%d", n)] = figure{
		Value: float64((took - base).Microseconds()) / (pods - 1), Unit: "us",
		Setup: fmt.Sprintf("CPU for each of %d pods on %d nodes, without reading the cluster in", pods, n),
	}
}

func (b *bench) explain() {
	s := crowd(5000, 10000)
	for i := range s.Pods {
		s.Pods[i].Status, s.Pods[i].NodeID = api.PodRunning, &s.Nodes[i%len(s.Nodes)].ID
	}
	p := mixedPod(0)
	p.ID, p.ResourceRequests.CPU = "big", 1_000_000
	var samples []time.Duration
	for range 20 {
		begin := time.Now()
		scheduler.Explain(s, p, begin)
		samples = append(samples, time.Since(begin))
	}
	b.latencies("explain", "a pod that fits nowhere, 5,000 nodes, 10,000 pods, index made anew", samples)
}

// cpuOf is the time of the CPU that f takes, of all threads.
func cpuOf(f func()) time.Duration {
	begin := cpuTime()
	f()
	return cpuTime() - begin
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// crowd is a cluster of n nodes in ten zones, and pods of mixed shapes: a third have
// tolerations, affinities and spread constraints.
func crowd(n, pods int) scheduler.Snapshot {
	s := scheduler.Snapshot{Config: api.ClusterConfig{SchedulingPolicy: api.PolicySpread}}
	for i := range n {
		node := api.Node{
			ID: fmt.Sprintf("node-%05d", i), Name: fmt.Sprintf("node-%05d", i), RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: true,
			Labels:      map[string]string{"zone": fmt.Sprintf("z%d", i%10), "disk": []string{"ssd", "hdd"}[i%2], "host": fmt.Sprintf("h%d", i)},
			Allocatable: api.Capacity{CPU: 64000, Memory: 1 << 18, Storage: 1 << 20, Pods: 110},
		}
		if i%3 == 0 {
			node.Taints = []api.Taint{{Key: "dedicated", Value: "web", Effect: []api.TaintEffect{api.NoSchedule, api.PreferNoSchedule}[i%2]}}
		}
		s.Nodes = append(s.Nodes, node)
	}
	for i := range pods {
		s.Pods = append(s.Pods, mixedPod(i))
	}
	return s
}

func mixedPod(i int) api.Pod {
	app := map[string]string{"app": fmt.Sprintf("app%d", i%20)}
	p := api.Pod{
		ID: fmt.Sprintf("pod-%06d", i), PackID: fmt.Sprintf("pack%d", i%20), RuntimeTag: api.TagNode, Status: api.PodPending, Incarnation: 1,
		Namespace: "default", CreatedBy: "ann", CreatedAt: time.Unix(int64(i), 0), Labels: app,
		ResourceRequests: api.Resources{CPU: api.Millicores(100 + i%7*50), Memory: api.Mebibytes(64 + i%5*32)},
	}
	if i%3 != 0 {
		return p
	}
	same := &api.LabelSelector{MatchLabels: app}
	p.Tolerations = []api.Toleration{{Key: "dedicated", Operator: api.TolerationExists}}
	p.Scheduling = api.Scheduling{
		NodeAffinity: &api.NodeAffinity{
			Required:  &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{{MatchExpressions: []api.Requirement{{Key: "disk", Operator: api.OpIn, Values: []string{"ssd", "nvme"}}}}}},
			Preferred: []api.PreferredNode{{Weight: 10, Preference: api.NodeSelectorTerm{MatchExpressions: []api.Requirement{{Key: "zone", Operator: api.OpIn, Values: []string{"z1", "z2"}}}}}},
		},
		PodAntiAffinity:           &api.PodAffinity{Preferred: []api.WeightedPodAffinityTerm{{Weight: 5, PodAffinityTerm: api.PodAffinityTerm{TopologyKey: "host", LabelSelector: same}}}},
		TopologySpreadConstraints: []api.TopologySpreadConstraint{{MaxSkew: 5, TopologyKey: "zone", LabelSelector: same}},
	}
	return p
}
