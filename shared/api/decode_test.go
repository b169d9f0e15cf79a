package api_test

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]map[string]string{
		` {"packName":"a","resourceLimits":{"cpu":"500m"}} `: nil,
		``:                                   {"input": "REQUIRED"},
		`null`:                               {"input": "REQUIRED"},
		`[]`:                                 {"input": "INVALID_TYPE"},
		`"x"`:                                {"input": "INVALID_TYPE"},
		`5`:                                  {"input": "INVALID_TYPE"},
		`true`:                               {"input": "INVALID_TYPE"},
		` -1.5e3 `:                           {"input": "INVALID_TYPE"},
		`{"packName":1}`:                     {"packName": "INVALID_TYPE"},
		`{"labels":[]}`:                      {"labels": "INVALID_TYPE"},
		`{"tolerations":{}}`:                 {"tolerations": "INVALID_TYPE"},
		`{"activeDeadlineSeconds":1.5}`:      {"activeDeadlineSeconds": "INVALID_TYPE"},
		`{"resourceLimits":{"cpu":true}}`:    {"resourceLimits.cpu": "INVALID_TYPE"},
		`{"resourceLimits":{"cpu":1.5}}`:     {"resourceLimits.cpu": "INVALID_TYPE"},
		`{"resourceLimits":{"memory":"1X"}}`: {"resourceLimits.memory": "INVALID_FORMAT"},
		`{"replicas":3}`:                     {"replicas": "UNKNOWN_FIELD"},
		`{} {}`:                              {"input": "INVALID_FORMAT"},

		// What encoding/json takes without a word.
		`{"packName":"a","packName":"b"}`:                     {"packName": "DUPLICATE"},
		`{"PackName":"a"}`:                                    {"PackName": "UNKNOWN_FIELD"},
		`{"packName":"a","PACKNAME":"b"}`:                     {"PACKNAME": "UNKNOWN_FIELD"},
		`{"env":{"A":"1","a":"2"}}`:                           nil,
		`{"env":{"A":"1","A":"2"}}`:                           {"env.A": "DUPLICATE"},
		`{"resourceLimits":{"cpu":1,"cpu":2}}`:                {"resourceLimits.cpu": "DUPLICATE"},
		`{"resourceLimits":{"CPU":1}}`:                        {"resourceLimits.CPU": "UNKNOWN_FIELD"},
		`{"tolerations":[{"key":"a"},{"key":"a","Key":"b"}]}`: {"tolerations[1].Key": "UNKNOWN_FIELD"},
		`{"metadata":{"a":[{"b":1,"b":2}]}}`:                  {"metadata.a[0].b": "DUPLICATE"},
		`{"scheduling":{"nodeSelector":{"z":"1","z":"2"}}}`:   {"scheduling.nodeSelector.z": "DUPLICATE"},
	} {
		var r api.CreatePodRequest
		t.Run(body, func(t *testing.T) { wantFields(t, api.Decode([]byte(body), &r), want) })
	}
	var r struct {
		B bool `json:"b"`
	}
	wantFields(t, api.Decode([]byte(`{"b":1}`), &r), map[string]string{"b": "INVALID_TYPE"})
	for _, body := range []string{`{"b":`, `{b:1}`, `{"b":true`} {
		if err := api.Decode([]byte(body), &r); fault.CodeOf(err) != fault.Validation {
			t.Errorf("Decode(%s) = %v, want a validation fault", body, err)
		}
	}
}

func TestMessageNamesTheFirstFaults(t *testing.T) {
	t.Parallel()
	r := api.ClusterConfig{}
	got := r.Validate().Error()
	if !strings.Contains(got, "defaultNamespace: is required") || !strings.Contains(got, "and 6 more") {
		t.Errorf("got %q, want the first faults and how many more", got)
	}
}
