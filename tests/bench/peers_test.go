package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestEachRowThatStandsBesideAPeerIsMeasuredWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var there []string
	for _, s := range b.peerStages() {
		for _, step := range s.steps {
			there = append(there, step.keys...)
		}
	}
	for _, key := range pairKeys() {
		if !slices.Contains(there, key) {
			t.Errorf("nothing measures %s", key)
		}
		if strings.HasPrefix(key, "pm2.") || strings.HasPrefix(key, "kube.") {
			continue
		}
		if !slices.ContainsFunc(rows, func(r row) bool { return r.key == key }) {
			t.Errorf("%s is no row of Stark", key)
		}
	}
	for _, key := range there {
		if strings.HasPrefix(key, "kube.") && !slices.Contains(pairKeys(), key) {
			t.Errorf("%s stands beside nothing", key)
		}
	}
}

// What is measured on one side only is no comparison.
func TestARunThatComparesNothingIsRefused(t *testing.T) {
	t.Parallel()
	for _, only := range []string{"stop", "pm2.stop", "stop,kube.read"} {
		err := run(t.Context(), []string{"-peers", "-only", only}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "stop,pm2.stop ") {
			t.Errorf("-only %s: %v", only, err)
		}
	}
	b := newBench(t)
	if b.only = []string{"stop", "pm2.stop"}; !b.pairsUp() {
		t.Error("a pair is refused")
	}
}

func TestWhatIsBuiltOfKubernetesIsWhatIsSaid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("kube/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"k8s.io/kubernetes v" + kubeVersion, "go.etcd.io/etcd/server/v3 v" + etcdVersion,
		"k8s.io/client-go => k8s.io/client-go v0" + strings.TrimPrefix(kubeVersion, "1"),
	} {
		if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
			return strings.TrimSuffix(strings.TrimSpace(line), " // indirect") == want
		}) {
			t.Errorf("tests/bench/kube/go.mod has no %q", want)
		}
	}
}

func TestKubernetesGetsTheSamePods(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{
		1: `{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"app1"},"name":"p"},"spec":{"containers":[{"image":"app","name":"app",
			"resources":{"limits":{"cpu":"150m","memory":"96Mi"},"requests":{"cpu":"150m","memory":"96Mi"}}}]}}`,
		0: `{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"app":"app0"},"name":"p"},"spec":{
			"affinity":{
				"nodeAffinity":{
					"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":10,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["z1","z2"]}]}}],
					"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd","nvme"]}]}]}},
				"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":5,"podAffinityTerm":{"topologyKey":"host","labelSelector":{"matchLabels":{"app":"app0"}}}}]}},
			"containers":[{"image":"app","name":"app","resources":{"limits":{"cpu":"100m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"64Mi"}}}],
			"tolerations":[{"key":"dedicated","operator":"Exists"}],
			"topologySpreadConstraints":[{"maxSkew":5,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"app0"}}}]}}`,
	} {
		sameJSON(t, string(kubeBody(kubePod("p", mixedPod(i)))), want)
	}
	nodes := crowd(4, 0).Nodes
	sameJSON(t, string(kubeBody(kubeNode(nodes[3]))), `{"apiVersion":"v1","kind":"Node",
		"metadata":{"name":"node-00003","labels":{"zone":"z3","disk":"hdd","host":"h3"}},
		"spec":{"taints":[{"key":"dedicated","value":"web","effect":"PreferNoSchedule"}]},
		"status":{
			"capacity":{"cpu":"64000m","memory":"262144Mi","ephemeral-storage":"1048576Mi","pods":"110"},
			"allocatable":{"cpu":"64000m","memory":"262144Mi","ephemeral-storage":"1048576Mi","pods":"110"},
			"conditions":[{"type":"Ready","status":"True","reason":"Bench"}]}}`)
}

// sameJSON compares two texts whatever the order of their keys.
func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var sorted [2]string
	for i, text := range []string{got, want} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		sorted[i] = string(again)
	}
	if sorted[0] != sorted[1] {
		t.Errorf("got  %s\nwant %s", sorted[0], sorted[1])
	}
}

func TestPairsThatNobodyAskedForAreNotShown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.figures["schedule.bound.1k"] = figure{Value: 20_000, Unit: "pods/s"}
	b.figures["kube.bound.1k"] = figure{Value: 250, Unit: "pods/s"}
	b.figures["server.ready"] = figure{Value: 150, Unit: "ms"}
	b.failed["kube.ready"] = errors.New("it did not start")
	var out strings.Builder
	if err := b.printPairs(&out, 0); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for want, there := range map[string]bool{"80.0 times": true, "it did not start": true, "kube.bound.5k": false, "PM2": false} {
		if strings.Contains(text, want) != there {
			t.Errorf("%q is shown: %t, want %t\n%s", want, !there, there, text)
		}
	}
}
