package rest_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestRollback(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var asked api.RollbackRequest
	h.db.rollbackPod = func(_ access.Identity, id string, r api.RollbackRequest) (api.Rollback, error) {
		asked = r
		switch r.TargetVersion {
		case "9.0.0":
			return api.Rollback{}, fault.New(fault.VersionNotFound, "there is no version 9.0.0")
		case "2.0.0":
			return api.Rollback{}, fault.New(fault.SameVersion, "the pod is at version 2.0.0 already")
		}
		return api.Rollback{PodID: id, PreviousVersion: "2.0.0", NewVersion: "1.0.0", PackID: otherID, PackName: "app", Pod: somePod()}, nil
	}
	path := "/api/pods/" + someID + "/rollback"
	var out api.Rollback
	h.do(request{method: "POST", path: path, token: "good-developer", body: map[string]any{"targetVersion": "1.0.0", "now": true, "reason": "slow"}}).
		want(http.StatusOK, &out)
	if out.NewVersion != "1.0.0" || out.PodID != someID || asked != (api.RollbackRequest{TargetVersion: "1.0.0", Now: true, Reason: "slow"}) {
		t.Errorf("asked %+v, got %+v", asked, out)
	}
	h.do(request{method: "POST", path: path, token: "good-developer", body: map[string]any{}}).want(http.StatusOK, nil)
	for _, c := range []struct {
		body   map[string]any
		status int
		code   fault.Code
	}{
		{map[string]any{"targetVersion": "9.0.0"}, http.StatusNotFound, fault.VersionNotFound},
		{map[string]any{"targetVersion": "2.0.0"}, http.StatusBadRequest, fault.SameVersion},
		{map[string]any{"targetVersion": "latest"}, http.StatusBadRequest, fault.Validation},
		{map[string]any{"targetVersion": 1}, http.StatusBadRequest, fault.Validation},
		{map[string]any{"version": "1.0.0"}, http.StatusBadRequest, fault.Validation},
		{map[string]any{"reason": string(make([]byte, 2000))}, http.StatusBadRequest, fault.Validation},
	} {
		h.do(request{method: "POST", path: path, token: "good-developer", body: c.body}).fails(c.status, c.code)
	}
	h.do(request{method: "POST", path: "/api/pods/x/rollback", token: "good-developer", body: map[string]any{}}).fails(http.StatusBadRequest, fault.Validation)
	h.do(request{method: "POST", path: path, token: "good-viewer", body: map[string]any{}}).fails(http.StatusForbidden, fault.Forbidden)
}
