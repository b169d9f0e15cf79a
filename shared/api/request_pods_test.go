package api_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestFaultsOfManyPodsNameTheirItem(t *testing.T) {
	t.Parallel()
	good := api.CreatePodRequest{PackName: "hello"}
	items := make([]api.CreatePodRequest, 20)
	for i := range items {
		items[i] = good
	}
	items[17] = api.CreatePodRequest{PackName: "hello", Labels: map[string]string{"-": "x"}, RestartPolicy: "Sometimes"}
	items[3] = api.CreatePodRequest{}
	err := (&api.CreatePodsRequest{Items: items}).Validate()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Validation || len(f.Details) != 3 {
		t.Fatalf("got %v with %+v", err, f)
	}
	for _, path := range []string{"items[3].packId", "items[17].restartPolicy", "items[17].labels.-"} {
		if _, ok := f.Details[path].(fault.Field); !ok {
			t.Errorf("no fault at %s in %v", path, f.Details)
		}
	}
	if !strings.Contains(err.Error(), "items[17].restartPolicy: ") {
		t.Errorf("the message says %q", err)
	}
	items[3], items[17] = good, good
	if err := (&api.CreatePodsRequest{Items: items}).Validate(); err != nil {
		t.Errorf("of good ones: %v", err)
	}
}

func TestFaultsOfDecodingNameTheirItem(t *testing.T) {
	t.Parallel()
	for item, want := range map[string]map[string]string{
		`{"packName":"b","replicas":5}`:   {"items[1].replicas": "UNKNOWN_FIELD"},
		`{"packName":"b","PackName":"c"}`: {"items[1].PackName": "UNKNOWN_FIELD"},
		`{"packName":"b","packName":"c"}`: {"items[1].packName": "DUPLICATE"},
		`{"packName":5}`:                  {"items[1].packName": "INVALID_TYPE"},
		`[]`:                              {"items[1]": "INVALID_TYPE"},
		`"b"`:                             {"items[1]": "INVALID_TYPE"},
		`{"packName":"b","labels":{"a":1,"b":"c"}}`:                {"items[1].labels.a": "INVALID_TYPE"},
		`{"packName":"b","env":[]}`:                                {"items[1].env": "INVALID_TYPE"},
		`{"packName":"b","metadata":{"a":"\u0000"}}`:               {"items[1].metadata.a": "INVALID_FORMAT"},
		`{"packName":"b","resourceRequests":{"cpu":"x"}}`:          {"items[1].resourceRequests.cpu": "INVALID_FORMAT"},
		`{"packName":"b","resourceRequests":{"cpu":{}}}`:           {"items[1].resourceRequests.cpu": "INVALID_TYPE"},
		`{"packName":"b","activeDeadlineSeconds":1e30}`:            {"items[1].activeDeadlineSeconds": "INVALID_TYPE"},
		`{"packName":"b","tolerations":[{},{"key":[]}]}`:           {"items[1].tolerations[1].key": "INVALID_TYPE"},
		`{"packName":5,"replicas":5},null,{"resourceLimits":true}`: {"items[1].packName": "INVALID_TYPE", "items[1].replicas": "UNKNOWN_FIELD", "items[3].resourceLimits": "INVALID_TYPE"},
	} {
		t.Run(item, func(t *testing.T) {
			t.Parallel()
			var r api.CreatePodsRequest
			wantFields(t, api.Decode([]byte(`{"items":[{"packName":"a"},`+item+`]}`), &r), want)
		})
	}
}

// Of a request that is wrong throughout some faults are told, and all of it is read once.
func TestVeryManyFaultsOfDecoding(t *testing.T) {
	t.Parallel()
	for _, item := range []string{`0`, `{"x":0}`, `{"labels":0}`} {
		var r api.CreatePodsRequest
		err := api.Decode([]byte(`{"items":[`+strings.Repeat(item+",", api.MaxBulkPods-1)+item+`]}`), &r)
		if f, ok := errors.AsType[*fault.Error](err); !ok || len(f.Details) != 100 || !strings.HasPrefix(f.Message, "items[0]") {
			t.Errorf("%s: %.200v", item, err)
		}
	}
}

func TestBoundsOfManyPods(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]int{"items: at least one": 0, "items: must have at most 5000": api.MaxBulkPods + 1} {
		err := (&api.CreatePodsRequest{Items: make([]api.CreatePodRequest, n)}).Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d items: %v", n, err)
		}
	}
	// Of very many faulty items some are named.
	err := (&api.CreatePodsRequest{Items: make([]api.CreatePodRequest, api.MaxBulkPods)}).Validate()
	if f, ok := errors.AsType[*fault.Error](err); !ok || len(f.Details) != 20 {
		t.Errorf("%d faults are named, want 20", len(f.Details))
	}
}

func TestAtItem(t *testing.T) {
	t.Parallel()
	quota := &fault.Error{Code: fault.QuotaExceeded, Message: "no room", Details: map[string]any{"used": 3, "pods": fault.Field{Code: "X", Message: "y"}}}
	f, ok := errors.AsType[*fault.Error](api.AtItem("items[2]", quota))
	if !ok || f.Code != fault.QuotaExceeded || f.Message != "items[2]: no room" || f.Details["used"] != 3 {
		t.Errorf("got %+v", f)
	}
	if _, ok := f.Details["items[2].pods"]; !ok || quota.Message != "no room" || len(quota.Details) != 2 {
		t.Errorf("got %+v of %+v", f, quota)
	}
	if plain := errors.New("x"); !errors.Is(api.AtItem("items[2]", plain), plain) {
		t.Error("an error that is no fault has changed")
	}
}
