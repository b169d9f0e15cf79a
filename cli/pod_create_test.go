package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
)

// Many pods that no node can take are told after the grace of one.
func TestRefusedPodsShareTheirGrace(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/explain") {
			fmt.Fprintf(w, `{"success":true,"data":{"podId":"p","verdict":{"reason":%q,"message":"1 Insufficient cpu"}}}`, api.ReasonUnschedulable)
			return
		}
		fmt.Fprint(w, `{"success":true,"data":{"pod":{"id":"p","status":"pending"}}}`)
	}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = new(app).waitPlaced(t.Context(), c, "p", began.Add(-unplacedGrace), time.Minute)
	if exitCode(err) != exitNotPlaced || time.Since(began) >= unplacedGrace {
		t.Errorf("got %v after %s, want the refusal at once", err, time.Since(began))
	}
}
