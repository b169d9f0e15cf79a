package main

import (
	"encoding/json"
	"fmt"

	"github.com/stark-orchestrator/stark/shared/api"
)

// object is one of Kubernetes, as JSON has it.
type object = map[string]any

// kubeNode is a node of crowd as a kubelet registers it.
func kubeNode(n api.Node) object {
	capacity := object{"cpu": fmt.Sprintf("%dm", n.Allocatable.CPU), "memory": fmt.Sprintf("%dMi", n.Allocatable.Memory), "ephemeral-storage": fmt.Sprintf("%dMi", n.Allocatable.Storage), "pods": fmt.Sprint(n.Allocatable.Pods)}
	return object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{"name": n.Name, "labels": n.Labels},
		"spec":     object{"taints": n.Taints},
		"status": object{
			"capacity": capacity, "allocatable": capacity,
			"conditions": []object{{"type": "Ready", "status": "True", "reason": "Bench"}},
		},
	}
}

// kubePod is a pod of mixedPod: the same requests, tolerations, affinities and constraints.
func kubePod(name string, p api.Pod) object {
	requests := object{"cpu": fmt.Sprintf("%dm", p.ResourceRequests.CPU), "memory": fmt.Sprintf("%dMi", p.ResourceRequests.Memory)}
	spec := object{"containers": []object{{"name": "app", "image": "app", "resources": object{"requests": requests, "limits": requests}}}}
	if len(p.Tolerations) > 0 {
		spec["tolerations"] = p.Tolerations
	}
	affinity := object{}
	if a := p.Scheduling.NodeAffinity; a != nil {
		affinity["nodeAffinity"] = object{"requiredDuringSchedulingIgnoredDuringExecution": a.Required, "preferredDuringSchedulingIgnoredDuringExecution": a.Preferred}
	}
	if a := p.Scheduling.PodAntiAffinity; a != nil {
		affinity["podAntiAffinity"] = object{"preferredDuringSchedulingIgnoredDuringExecution": a.Preferred}
	}
	if len(affinity) > 0 {
		spec["affinity"] = affinity
	}
	var spread []object
	for _, s := range p.Scheduling.TopologySpreadConstraints {
		spread = append(spread, object{"maxSkew": s.MaxSkew, "topologyKey": s.TopologyKey, "labelSelector": s.LabelSelector, "whenUnsatisfiable": "DoNotSchedule"})
	}
	if spread != nil {
		spec["topologySpreadConstraints"] = spread
	}
	return object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "labels": p.Labels}, "spec": spec}
}

// kubeBody is an object as it is sent; there is nothing in one that has no form as JSON.
func kubeBody(o object) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}
