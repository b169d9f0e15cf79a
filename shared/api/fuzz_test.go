package api_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// requests makes one of each body that the API takes.
var requests = []func() validator{
	func() validator { return new(api.CreatePodRequest) }, func() validator { return new(api.RollbackRequest) },
	func() validator { return new(api.CreatePackRequest) }, func() validator { return new(api.UpdatePackRequest) },
	func() validator { return new(api.RegisterNodeRequest) }, func() validator { return new(api.UpdateNodeRequest) },
	func() validator { return new(api.DrainNodeRequest) }, func() validator { return new(api.CreateJoinTokenRequest) },
	func() validator { return new(api.LeaveNodeRequest) }, func() validator { return new(api.CreateNamespaceRequest) },
	func() validator { return new(api.UpdateNamespaceRequest) }, func() validator { return new(api.SetMemberRequest) },
	func() validator { return new(api.UpdateClusterConfigRequest) }, func() validator { return new(api.UpdatePriorityClassRequest) },
	func() validator { return new(api.PriorityClass) }, func() validator { return new(api.RegisterRequest) },
	func() validator { return new(api.LoginRequest) }, func() validator { return new(api.RefreshRequest) },
	func() validator { return new(api.CreateUserRequest) }, func() validator { return new(api.GrantRolesRequest) },
}

// FuzzRequests decodes and validates each body: a refusal is a validation fault that
// names a field, and what is taken is taken again when it is written anew.
func FuzzRequests(f *testing.F) {
	for i := range requests {
		for _, seed := range []string{
			`{}`, `{"name":"a","version":"1.0.0","runtimeTag":"node"}`, `{"packName":"a","labels":{"a":"b"},"tolerations":[{"key":"a","operator":"Exists"}]}`,
			`{"packId":"0190b2f5-7c1a-7d3e-9f00-000000000001","resourceRequests":{"cpu":"500m","memory":"1Gi"},"env":{"A":"1"},"metadata":{"a":{"b":[null]}}}`,
			`{"scheduling":{"nodeSelector":{"a":"b"},"affinity":{}},"activeDeadlineSeconds":1}`, `{"name":"n","runtimeType":"node","allocatable":{"cpu":1,"memory":1,"storage":1,"pods":1}}`,
			`{"taints":[{"key":"a","effect":"NoSchedule"}],"namespaces":["a"]}`, `{"email":"a@b.example","password":"Abcdefg1"}`, `{"roles":["viewer"]}`, `{"ttlSeconds":60,"uses":1}`,
			`{"resourceQuota":{"hard":{"pods":1}},"limitRange":{"max":{"cpu":1}}}`, `{"name":"p","value":1,"preemptionPolicy":"Never"}`,
			`{"packName":"a","tolerations":[{"key":"a","operator":"Equal","value":"b","effect":"NoExecute","tolerationSeconds":5},{"operator":"Exists"}]}`,
			`{"packName":"a","scheduling":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}],"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}]},"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{}}]}}}`,
			`{"packName":"a","scheduling":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{},"namespaceSelector":{},"namespaces":["b"],"topologyKey":"zone"}]},"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","minDomains":2,"labelSelector":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}]}}`,
			`{"a":1,"a":2}`, `{"NAME":"x"}`, `{"name":"\u0000"}`, `[`, `null`, ``, `{"name":{}}`, "{\"name\":\"\xff\"}", `{"metadata":{"":{"":{}}}}`, `{}{}`,
		} {
			f.Add(i, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		fresh := requests[((which%len(requests))+len(requests))%len(requests)]
		r := fresh()
		err := api.Decode(data, r)
		if err == nil {
			err = r.Validate()
		}
		if err != nil {
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != fault.Validation || len(e.Details) == 0 || e.Message == "" {
				t.Fatalf("%T: %q gives %v, want a validation fault with a field", r, data, err)
			}
			return
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("%T: %q cannot be written: %v", r, data, err)
		}
		again := fresh()
		if err := errors.Join(api.Decode(written, again), again.Validate()); err != nil {
			t.Fatalf("%T: %q is written as %s, which gives %v", r, data, written, err)
		}
		if twice, err := json.Marshal(again); err != nil || !reflect.DeepEqual(written, twice) {
			t.Fatalf("%T: %s is written anew as %s, %v", r, written, twice, err)
		}
	})
}
