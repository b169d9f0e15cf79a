package dispatch_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/server/dispatch"
)

// Pages of the origins that are named may connect, and no others; "*" stands for
// any port, also for the one that goes unsaid.
func TestOrigins(t *testing.T) {
	t.Parallel()
	r := newRig(t, newFakeDB(), dispatch.Config{Origins: []string{"http://localhost:*", "https://stark.example"}})
	for origin, want := range map[string]int{
		"http://localhost:3000":         http.StatusSwitchingProtocols,
		"http://localhost":              http.StatusSwitchingProtocols,
		"HTTP://LOCALHOST:80":           http.StatusSwitchingProtocols,
		"https://stark.example":         http.StatusSwitchingProtocols,
		"https://stark.example:8443":    http.StatusForbidden,
		"http://stark.example":          http.StatusForbidden,
		"https://localhost":             http.StatusForbidden,
		"http://localhost.evil.example": http.StatusForbidden,
		"https://stark.example.evil":    http.StatusForbidden,
		"null":                          http.StatusForbidden,
		"file://":                       http.StatusForbidden,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http"+strings.TrimPrefix(r.url, "ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin,
		} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", origin, resp.StatusCode, want)
		}
	}
}
