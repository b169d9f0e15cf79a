package rest_test

import (
	"net/http"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// A closing tab takes its leave by its credential, for the connection that it had.
func TestANodeLeaves(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const credential = api.NodeCredentialPrefix + "abc"
	h.db.leaveNode = func(shown, connection string) error {
		if shown != credential || connection != someID {
			return fault.New(fault.TokenInvalid, "the credential of the node is not, or no longer, good")
		}
		return nil
	}
	leave := func(token, connection string) reply {
		return h.do(request{method: "POST", path: "/api/nodes/leave", token: token, body: map[string]any{"connectionId": connection}})
	}
	leave(credential, someID).want(http.StatusOK, nil)
	leave(api.NodeCredentialPrefix+"other", someID).fails(http.StatusUnauthorized, fault.TokenInvalid)
	leave("good-admin", someID).fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	leave("", someID).fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	field(t, leave(credential, "the first one").fails(http.StatusBadRequest, fault.Validation), "connectionId")
}
