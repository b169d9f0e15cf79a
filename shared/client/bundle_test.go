package client_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// TestBundleIsWhatThePackSays fetches a bundle, one that somebody has changed, and one
// that is gone; the token does not go to Storage.
func TestBundleIsWhatThePackSays(t *testing.T) {
	t.Parallel()
	const digest = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b" // of "code"
	var s *server
	stored, status := "code", http.StatusOK
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.RequestURI, "/storage") {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, stored)
			return
		}
		_, _ = fmt.Fprintf(w, `{"success":true,"data":{"url":"%s/storage/x?token=t","sha256":"%s","size":4,"expiresAt":"2026-01-01T00:00:00Z"}}`, s.URL, digest)
	})
	c := s.client(t, client.StaticToken("secret"))
	if code, err := c.DownloadBundle(t.Context(), "id"); err != nil || string(code) != "code" {
		t.Errorf("got %q, %v", code, err)
	}
	if at := s.last(t); at.token != "" {
		t.Errorf("Storage was shown %q", at.token)
	}
	stored = "other"
	if _, err := c.DownloadBundle(t.Context(), "id"); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("got %v, want another bundle to be refused", err)
	}
	status = http.StatusBadRequest
	if _, err := c.DownloadBundle(t.Context(), "id"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
}
