package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server/storage"
)

// Whoever asks, agent or user, reaches Storage by its public address.
func TestSignedAddressesArePublic(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"signedURL":"/object/sign/pack-bundles/x.js?token=t"}`)
	}))
	t.Cleanup(srv.Close)
	bundles, err := storage.New(srv.URL, "anon", "service")
	if err != nil {
		t.Fatal(err)
	}
	public := publicBundles{Client: bundles, inner: srv.URL, outer: "https://public.example"}
	address, _, err := public.SignedURL(t.Context(), "x.js", time.Minute)
	if err != nil || !strings.HasPrefix(address, "https://public.example/") || !strings.HasSuffix(address, "token=t") {
		t.Errorf("got %q, %v", address, err)
	}
}
