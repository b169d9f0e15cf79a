package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// crowd is a cluster of n nodes in ten zones, and pods of mixed shapes: a third have
// tolerations, affinities and spread constraints.
func crowd(n, pods int) Snapshot {
	s := Snapshot{Config: api.ClusterConfig{SchedulingPolicy: api.PolicySpread}}
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

func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 1000, 5000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := newIndex(crowd(n, 3000))
			pods := make([]*api.Pod, 3000)
			for i := range pods {
				pods[i] = new(mixedPod(i))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := pods[i%len(pods)]
				if waiting(x.pods[p.ID].pod) {
					x.decide(p, time.Now())
				} else {
					b.StopTimer()
					x = newIndex(crowd(n, 3000))
					b.StartTimer()
				}
			}
		})
	}
}

// The first pod of an application asks where its others are: what that costs on a cluster
// with a hundred thousand pods of others.
func BenchmarkNewTerm(b *testing.B) {
	s := crowd(10_000, 100_000)
	for i := range s.Pods {
		p := &s.Pods[i]
		p.NodeID, p.Status = new(s.Nodes[i%len(s.Nodes)].ID), api.PodRunning
	}
	x := newIndex(s)
	set := podSet{Parts: []podPart{{Labels: &api.LabelSelector{MatchLabels: map[string]string{"app": "app1"}}, Namespaces: []string{"default"}}}}
	b.ReportAllocs()
	for b.Loop() {
		clear(x.terms)
		x.termsOf = selectors[*term]{}
		if n := x.term(set).total; n != 5000 {
			b.Fatalf("%d pods are counted", n)
		}
	}
}

// A pod that fits nowhere is asked about again and again: what that costs on a full
// cluster, without and with a budget that keeps those who could make room.
func BenchmarkRefused(b *testing.B) {
	for _, budget := range []bool{false, true} {
		b.Run(fmt.Sprintf("budget=%t", budget), func(b *testing.B) {
			s := crowd(1000, 0)
			s.Config.EnablePreemption = true
			for i := range s.Nodes {
				for range 10 {
					p := mixedPod(3*len(s.Pods) + 1)
					p.NodeID, p.Status, p.ResourceRequests.CPU = new(s.Nodes[i].ID), api.PodRunning, 6400
					s.Pods = append(s.Pods, p)
				}
			}
			p := mixedPod(1)
			p.ID, p.Priority = "refused", 10
			if budget {
				s.Namespaces = []api.Namespace{{Name: "default", DisruptionBudget: &api.DisruptionBudget{}}}
			} else {
				p.Priority = 0
			}
			s.Pods = append(s.Pods, p)
			x := newIndex(s)
			b.ReportAllocs()
			for b.Loop() {
				if d := x.decide(new(p), time.Unix(1, 0)); d.NodeID != "" || len(d.Victims) > 0 {
					b.Fatalf("got %+v", d)
				}
			}
		})
	}
}
