package scheduler

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stark-orchestrator/stark/shared/api"
)

// TestPickAgreesWithTheScan lets a cluster live: nodes come, change and go, pods are
// bound, leave and are nominated, of few shapes and of many. Before each pod that is
// planned the node that is picked is compared with the one that a scan of all gives,
// and so are the nodes that fit, the scores, and the words where none does.
func TestPickAgreesWithTheScan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), x: newIndex(Snapshot{})}
		w.x.config = w.config()
		for i := range rapid.IntRange(1, 150).Draw(t, "nodes") {
			w.putNode(i)
		}
		for step := range rapid.IntRange(1, 300).Draw(t, "steps") {
			w.step()
			if why := w.compare(step); why != "" {
				t.Fatalf("step %d: %s", step, why)
			}
		}
	})
}

// world is an index that changes at random.
type world struct {
	*rand.Rand
	x    *index
	next int
}

func (w *world) one(of ...string) string { return of[w.IntN(len(of))] }

func (w *world) config() api.ClusterConfig {
	c := api.ClusterConfig{EnablePreemption: w.IntN(2) == 0}
	policies := []api.SchedulingPolicy{
		"", api.PolicySpread, api.PolicySpread, api.PolicyAffinity, api.PolicyBinpack, api.PolicyRandom, api.PolicyLeastLoaded,
	}
	c.SchedulingPolicy = policies[w.IntN(len(policies))]
	if w.IntN(2) == 0 {
		for _, weight := range []**int{
			&c.ScoreWeights.Policy, &c.ScoreWeights.Taints, &c.ScoreWeights.NodeAffinity, &c.ScoreWeights.PodAffinity,
			&c.ScoreWeights.TopologySpread, &c.ScoreWeights.Bundle,
		} {
			*weight = new(w.IntN(4))
		}
	}
	return c
}

func (w *world) putNode(i int) {
	n := api.Node{
		ID: fmt.Sprintf("n%d", i), Name: fmt.Sprintf("n%03d", i), RuntimeType: api.RuntimeNode, Status: api.NodeOnline, Shared: w.IntN(8) > 0,
		RegisteredBy: w.one("ann", "bob"), Labels: map[string]string{"host": fmt.Sprintf("h%d", i)}, Unschedulable: w.IntN(12) == 0,
		Allocatable: api.Capacity{CPU: api.Millicores(500 * (1 + w.IntN(4))), Memory: api.Mebibytes(1000 * (1 + w.IntN(2))), Storage: 100, Pods: 1 + w.IntN(12)},
	}
	if zone := w.one("", "a", "b", "c", "d"); zone != "" {
		n.Labels["zone"] = zone
	}
	if size := w.IntN(30); size > 0 {
		n.Labels["size"] = fmt.Sprint(size)
	}
	for range w.IntN(3) {
		effect := []api.TaintEffect{api.NoSchedule, api.PreferNoSchedule, api.PreferNoSchedule}[w.IntN(3)]
		n.Taints = append(n.Taints, api.Taint{Key: w.one("k", "l"), Effect: effect})
	}
	w.x.putNode(&n)
}

func (w *world) step() {
	switch i := w.IntN(200); w.IntN(12) {
	case 0:
		w.putNode(i)
	case 1:
		if w.IntN(3) == 0 {
			w.x.deleteNode(fmt.Sprintf("n%d", i))
		}
	case 2, 3:
		w.x.deletePod(fmt.Sprintf("p%d", w.IntN(w.next+1)))
	case 4:
		if e := w.x.pods[fmt.Sprintf("p%d", w.IntN(w.next+1))]; e != nil && holding(e.pod) {
			p := *e.pod
			p.Status = []api.PodStatus{api.PodRunning, api.PodStopping, api.PodStopped}[w.IntN(3)]
			w.x.putPod(&p)
		}
	default: // nothing but the next pod
	}
}

// compare plans the next pod by both ways, and says where they differ.
func (w *world) compare(step int) string {
	p := w.pod()
	w.x.putPod(&p)
	q := w.x.queryFor(&p)
	fits, slot, total, weights := w.x.scan(q)
	var parts []api.ScorePart
	if at := slices.Index(fits, slot); at >= 0 {
		scores := w.x.scoresAt(at)
		_, parts = w.x.apart(weights, &scores)
	}
	got := w.x.fitsOf(q, w.x.kindOf(q)).slots(nil)
	if !slices.Equal(got, fits) {
		return fmt.Sprintf("pod %+v fits %v, by the scan %v", p, got, fits)
	}
	b, gotWeights := w.x.pick(q)
	if b.slot != slot || gotWeights != weights {
		return fmt.Sprintf("pod %+v got %d of %d (%v), by the scan %d of %d (%v)", p, b.slot, b.total, gotWeights, slot, total, weights)
	}
	if slot != noSlot {
		if _, gotParts := w.x.apart(gotWeights, &b.scores); b.total != total || !reflect.DeepEqual(gotParts, parts) {
			return fmt.Sprintf("pod %+v got %d by %+v, by the scan %d by %+v", p, b.total, gotParts, total, parts)
		}
	}
	d := w.x.decide(&p, time.Unix(int64(1000+step), 0))
	if (d.NodeID == "") != (d.Verdict != nil) {
		return fmt.Sprintf("the plan of pod %+v is %+v", p, d)
	}
	return ""
}

// pod makes one of few shapes, mostly.
func (w *world) pod() api.Pod {
	w.next++
	p := api.Pod{
		ID: fmt.Sprintf("p%d", w.next), PackID: w.one("k1", "k2", "k3"), RuntimeTag: api.TagNode, Namespace: w.one("default", "default", "other"), Incarnation: 1,
		Status: api.PodPending, CreatedBy: w.one("ann", "bob"), CreatedAt: time.Unix(900, 0), Priority: int32(w.IntN(2)),
		Labels:           map[string]string{"app": w.one("a", "b")},
		ResourceRequests: api.Resources{CPU: api.Millicores(100 * w.IntN(4)), Memory: api.Mebibytes(100 * w.IntN(3))},
	}
	if w.IntN(3) == 0 {
		p.Tolerations = []api.Toleration{{Key: w.one("k", "l"), Operator: api.TolerationExists}}
	}
	if w.IntN(20) == 0 {
		p.NominatedNodeID = fmt.Sprintf("n%d", w.IntN(150))
	}
	w.wishOfNodes(&p.Scheduling)
	w.wishOfPods(&p)
	return p
}

func (w *world) wishOfNodes(s *api.Scheduling) {
	switch w.IntN(12) {
	case 0:
		s.NodeSelector = map[string]string{"zone": w.one("a", "b")}
	case 1:
		s.NodeName = fmt.Sprintf("n%03d", w.IntN(150))
	case 2, 3:
		s.NodeAffinity = &api.NodeAffinity{Preferred: []api.PreferredNode{
			{Weight: 10, Preference: api.NodeSelectorTerm{MatchExpressions: []api.Requirement{{Key: "zone", Operator: api.OpIn, Values: []string{"a"}}}}},
			{Weight: 7, Preference: api.NodeSelectorTerm{MatchExpressions: []api.Requirement{{Key: "size", Operator: api.OpGt, Values: []string{"12"}}}}},
		}}
	case 4: // more levels than are told apart
		s.NodeAffinity = &api.NodeAffinity{}
		for i := range 5 {
			s.NodeAffinity.Preferred = append(s.NodeAffinity.Preferred, api.PreferredNode{Weight: 1 << i, Preference: api.NodeSelectorTerm{
				MatchExpressions: []api.Requirement{{Key: "size", Operator: api.OpGt, Values: []string{fmt.Sprint(5 * i)}}, {Key: "zone", Operator: api.OpNotIn, Values: []string{w.one("a", "b", "c")}}},
			}})
		}
	case 5:
		s.NodeAffinity = &api.NodeAffinity{Required: &api.NodeSelector{NodeSelectorTerms: []api.NodeSelectorTerm{
			{MatchExpressions: []api.Requirement{{Key: "zone", Operator: api.OpExists}}},
		}}}
	default:
	}
}

func (w *world) wishOfPods(p *api.Pod) {
	term := func() api.PodAffinityTerm {
		return api.PodAffinityTerm{LabelSelector: &api.LabelSelector{MatchLabels: map[string]string{"app": w.one("a", "b")}}, TopologyKey: w.one("zone", "host", "size")}
	}
	s := &p.Scheduling
	switch w.IntN(16) {
	case 0:
		s.PodAntiAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term()}}
	case 1:
		s.PodAffinity = &api.PodAffinity{Required: []api.PodAffinityTerm{term()}}
	case 2, 3:
		s.PodAffinity = &api.PodAffinity{Preferred: []api.WeightedPodAffinityTerm{{Weight: 7, PodAffinityTerm: term()}}}
	case 4, 5:
		s.PodAntiAffinity = &api.PodAffinity{Preferred: []api.WeightedPodAffinityTerm{{Weight: 5, PodAffinityTerm: term()}, {Weight: 3, PodAffinityTerm: term()}}}
	default:
	}
	for range w.IntN(8) / 5 {
		c := api.TopologySpreadConstraint{MaxSkew: 1 + w.IntN(2), TopologyKey: w.one("zone", "size"), LabelSelector: term().LabelSelector}
		if w.IntN(3) == 0 {
			c.WhenUnsatisfiable = api.ScheduleAnyway
		} else if w.IntN(3) == 0 {
			c.MinDomains = new(1 + w.IntN(6))
		}
		s.TopologySpreadConstraints = append(s.TopologySpreadConstraints, c)
	}
}
