package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

func TestManyPodsInOneRequest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var asked []api.CreatePodsRequest
	h.db.createPods = func(r api.CreatePodsRequest) ([]string, error) {
		asked = append(asked, r)
		if len(r.Items) == 3 {
			return nil, api.AtItem("items[2]", fault.New(fault.QuotaExceeded, "no room"))
		}
		return make([]string, len(r.Items)), nil
	}
	post := func(body any) request {
		return request{method: http.MethodPost, path: "/api/pods/bulk", token: "good-developer", body: body}
	}
	items := func(n int, more string) string {
		return `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"packName":"hello"`+more+`},`, n), ",") + `]}`
	}
	var out api.CreatedPods
	h.do(post(items(2, ""))).want(http.StatusCreated, &out)
	if len(out.PodIDs) != 2 || len(asked) != 1 || asked[0].Items[1].PackName != "hello" {
		t.Errorf("got %v, asked for %+v", out, asked)
	}
	// More than other requests may have, and no more than this one.
	pad := fmt.Sprintf(`,"annotations":{"a":%q}`, strings.Repeat("x", 2000))
	h.do(post(items(1500, pad))).want(http.StatusCreated, &out)
	if len(out.PodIDs) != 1500 {
		t.Errorf("%d ids", len(out.PodIDs))
	}
	h.do(post(items(4900, pad))).fails(http.StatusRequestEntityTooLarge, fault.PayloadTooLarge)

	b := h.do(post(`{"items":[{"packName":"hello"},{"packName":"hello","restartPolicy":"Sometimes"}]}`)).fails(http.StatusBadRequest, fault.Validation)
	if field(t, b, "items[1].restartPolicy") == "" {
		t.Errorf("details %v", b.Details)
	}
	h.do(post(`{"items":[]}`)).fails(http.StatusBadRequest, fault.Validation)
	h.do(post(`{"items":[{"packName":"hello","surprise":1}]}`)).fails(http.StatusBadRequest, fault.Validation)
	if b := h.do(post(items(3, ""))).fails(http.StatusForbidden, fault.QuotaExceeded); !strings.HasPrefix(b.Message, "items[2]: ") {
		t.Errorf("message %q", b.Message)
	}

	// Repeated with its key it is one request, also where its body is a large one.
	large := post(items(1500, pad))
	h.keyed("k", large).want(http.StatusCreated, nil)
	before := len(asked)
	if again := h.keyed("k", large); again.status != http.StatusCreated || again.header.Get("Idempotency-Replayed") != "true" || len(asked) != before {
		t.Errorf("again: %d, asked %d times more", again.status, len(asked)-before)
	}
	if asked[before-1].ID == "" {
		t.Error("a request with a key has no id")
	}
	large.token = "good-viewer"
	h.do(large).fails(http.StatusForbidden, fault.Forbidden)
}
