package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
)

func TestConditionsOfAHeartbeat(t *testing.T) {
	t.Parallel()
	good := api.NodeCondition{Type: api.ConditionDiskPressure, Status: true, Reason: "DiskNearlyFull", Message: "4 % free"}
	for name, tc := range map[string]struct {
		list []api.NodeCondition
		want string // part of the error, "" for none
	}{
		"none":           {nil, ""},
		"good":           {[]api.NodeCondition{good, {Type: "Hidden"}}, ""},
		"no type":        {[]api.NodeCondition{{}}, "conditions[0].type"},
		"type":           {[]api.NodeCondition{{Type: "disk-full"}}, "conditions[0].type"},
		"twice":          {[]api.NodeCondition{good, good}, "conditions[1].type"},
		"reason":         {[]api.NodeCondition{{Type: "Hidden", Reason: "a b"}}, "conditions[0].reason"},
		"message":        {[]api.NodeCondition{{Type: "Hidden", Message: "a\x00b"}}, "conditions[0].message"},
		"escape":         {[]api.NodeCondition{{Type: "Hidden", Message: "\x1b[31m"}}, "conditions[0].message"},
		"long message":   {[]api.NodeCondition{{Type: "Hidden", Message: strings.Repeat("x", 1025)}}, "conditions[0].message"},
		"too many types": {make([]api.NodeCondition, api.MaxConditions+1), "conditions"},
	} {
		err := api.ValidateConditions(tc.list)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestUsageOfAHeartbeat(t *testing.T) {
	t.Parallel()
	ok := api.NodeUsage{CPU: new(api.Millicores(100)), Memory: new(api.Mebibytes(10)), Pods: []api.PodUsage{{PodID: api.NewID(), Incarnation: 1, CPU: new(api.Millicores(5))}}}
	if err := ok.Validate(); err != nil {
		t.Errorf("good figures are refused: %v", err)
	}
	for field, bad := range map[string]api.NodeUsage{
		"usage.cpu":                 {CPU: new(api.Millicores(-1))},
		"usage.pods[0].podId":       {Pods: []api.PodUsage{{PodID: "x", Incarnation: 1}}},
		"usage.pods[0].incarnation": {Pods: []api.PodUsage{{PodID: api.NewID()}}},
		"usage.pods[0].memory":      {Pods: []api.PodUsage{{PodID: api.NewID(), Incarnation: 1, Memory: new(api.Mebibytes(-1))}}},
		"usage.pods":                {Pods: make([]api.PodUsage, api.MaxUsagePods+1)},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
