package manifest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/cli/manifest"
	"github.com/stark-orchestrator/stark/shared/api"
)

const whole = `# what a team needs
apiVersion: stark.io/v1
kind: Namespace
metadata:
  name: team-a
  labels: {team: a}
spec:
  resourceQuota:
    hard: {pods: 10, cpu: "2", memory: 4Gi}
    priorityClasses:
      high-priority: {pods: 2}
  limitRange:
    max: {cpu: 1}
  disruptionBudget: {maxUnavailable: 1}
---
kind: PriorityClass
metadata: {name: shop}
value: 500
preemptionPolicy: Never
---
kind: Node
metadata: {name: worker-1, labels: {zone: a}}
spec:
  taints: [{key: gpu, value: "yes", effect: NoSchedule}]
---
kind: Pod
metadata:
  name: web
  namespace: team-a
  labels:
    app: web
spec:
  pack: greeter@1.0.0
  env:
    - {name: NAME, value: World}
  resources:
    requests: {cpu: 100m, memory: 64Mi}
    limits: {memory: 128Mi}
  restartPolicy: Always
  priorityClassName: shop
  nodeSelector: {stark.io/zone: a}
  tolerations:
    - {key: gpu, operator: Exists}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions: [{key: zone, operator: In, values: [a, b]}]
  topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
---
`

func TestParseEveryKind(t *testing.T) {
	t.Parallel()
	all, err := manifest.Parse("team.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Fatalf("got %d objects", len(all))
	}
	ns, class, node, pod := all[0], all[1], all[2], all[3]
	if ns.String() != "namespace/team-a" || *ns.Space.ResourceQuota.Hard.CPU != 2000 || *ns.Space.ResourceQuota.PriorityClasses["high-priority"].Pods != 2 ||
		ns.Space.DisruptionBudget.MaxUnavailable != 1 || *ns.Space.LimitRange.Max.CPU != 1 && *ns.Space.LimitRange.Max.CPU != 1000 {
		t.Errorf("got %+v", ns.Space)
	}
	if class.PriorityClass.Value != 500 || class.PriorityClass.PreemptionPolicy != api.PreemptNever {
		t.Errorf("got %+v", class.PriorityClass)
	}
	if len(*node.Node.Taints) != 1 || node.Node.Labels["zone"] != "a" || node.Where != "team.yaml:21" {
		t.Errorf("got %+v at %s", node.Node, node.Where)
	}
	p := pod.Pod
	if p.PackName != "greeter" || p.PackVersion != "1.0.0" || p.Namespace != "team-a" || p.Env["NAME"] != "World" || *p.ResourceRequests.CPU != 100 ||
		*p.ResourceLimits.Memory != 128 || p.Labels[manifest.NameLabel] != "web" || p.Scheduling.NodeSelector["stark.io/zone"] != "a" ||
		len(p.Scheduling.NodeAffinity.Required.NodeSelectorTerms) != 1 || len(p.Scheduling.TopologySpreadConstraints) != 1 || p.PriorityClassName != "shop" {
		t.Errorf("got %+v", p)
	}
	var again map[string]any
	if err := json.Unmarshal([]byte(pod.Applied()), &again); err != nil || again["kind"] != "Pod" {
		t.Errorf("got %v, %v", again, err)
	}
}

// Every fault names its line and column, and the next step where there is one.
func TestFaultsNameTheirPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":       {"kind: Pod\nspec:\n  pack: a\n  tolerationz: []\n", "f.yaml:4:3: spec.tolerationz is not known: did you mean tolerations?"},
		"unknown, far off":    {"kind: Namespace\nmetadata: {name: a, colour: red}\n", "f.yaml:2:21: metadata.colour is not known: want one of annotations, labels, name, namespace"},
		"unknown in a list":   {"kind: Pod\nspec:\n  pack: a\n  tolerations:\n    - key: a\n      operater: Exists\n", "f.yaml:6:7: spec.tolerations[0].operater is not known: did you mean operator?"},
		"wrong value":         {"kind: Pod\nspec:\n  pack: a\n  restartPolicy: Sometimes\n", "f.yaml:4:3: spec.restartPolicy"},
		"wrong type":          {"kind: Pod\nspec:\n  pack: a\n  activeDeadlineSeconds: soon\n", "f.yaml:4:3: spec.activeDeadlineSeconds must be an integer"},
		"wrong quantity":      {"kind: Pod\nspec:\n  pack: a\n  resources:\n    requests:\n      cpu: lots\n", "f.yaml:6:7: spec.resources.requests.cpu"},
		"request above limit": {"kind: Pod\nspec:\n  pack: a\n  resources:\n    requests: {cpu: 2}\n    limits: {cpu: 1}\n", "f.yaml:5:16: spec.resources.requests.cpu"},
		"label with dots":     {"kind: Pod\nmetadata:\n  labels:\n    a.b/c: 'no good!'\nspec: {pack: a}\n", "f.yaml:4:5: metadata.labels.a.b/c"},
		"bad taint":           {"kind: Node\nmetadata: {name: n}\nspec:\n  taints:\n  - key: a\n    effect: Never\n", "f.yaml:6:5: spec.taints[0].effect"},
		"affinity":            {"kind: Pod\nspec:\n  pack: a\n  affinity:\n    podAntiAffinity:\n      requiredDuringSchedulingIgnoredDuringExecution:\n      - labelSelector: {}\n", "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey"},
		"no pack":             {"kind: Pod\nspec: {}\n", "spec.pack is required"},
		"no kind":             {"spec: {}\n", "kind is required: one of Namespace, PriorityClass, Node, Pod"},
		"strange kind":        {"kind: Deployment\n", `f.yaml:1:1: kind "Deployment" is not known`},
		"strange version":     {"apiVersion: apps/v1\nkind: Pod\n", "f.yaml:1:1: apiVersion must be stark.io/v1"},
		"no object":           {"- a\n- b\n", "must be an object"},
		"nothing":             {"# nothing\n", "holds no object"},
		"syntax":              {"kind: Pod\nspec:\n  pack: a\n  env: {a: b\n", "f.yaml:4:"},
		"tab":                 {"kind: Pod\nspec:\n\tpack: a\n", "f.yaml:3:1"},
		"a key twice":         {"kind: Pod\nspec:\n  pack: a\n  pack: b\n", "f.yaml:4:3"},
		"version twice":       {"kind: Pod\nspec:\n  pack: a@1.0.0\n  version: 1.0.0\n", "f.yaml:4:3: spec.version is given twice"},
		"two documents":       {"kind: Pod\nspec: {}\n---\nkind: Pod\nspec:\n  pack: a\n  isolation: none\n", "f.yaml:7:3: spec.isolation"},
		"class":               {"kind: PriorityClass\nmetadata: {name: system-a}\nvalue: 2000000000\n", "f.yaml:3:1: value"},
	} {
		_, err := manifest.Parse("f.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("kind: Pod\nspec: &a {pack: *a}\n")
	f.Add("nodeAffinity:\n  requiredDuringSchedulingIgnoredDuringExecution:\n    nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: [1]}]}]\n")
	f.Add("kind: Node\nmetadata: {name: a}\nstatus: {allocatable: {cpu: 1, memory: 1Gi}, pods: 10}\n")
	f.Add("kind: [Pod]\n? {a: b}\n: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := manifest.Parse("f", []byte(text))
		if (err == nil) == (len(all) == 0) {
			t.Errorf("got %d objects and %v", len(all), err)
		}
		cluster, wrong := manifest.ParseCluster("f", []byte(text))
		if err == nil && len(cluster) != len(all) || (wrong == nil) == (len(cluster) == 0) {
			t.Errorf("as a cluster it has %d objects and %v, as a file %d and %v", len(cluster), wrong, len(all), err)
		}
		if _, _, _, err := manifest.ParseAffinity("f", []byte(text)); err != nil && !strings.Contains(err.Error(), "f") {
			t.Errorf("got %v, which names no file", err)
		}
	})
}
