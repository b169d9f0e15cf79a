package wsconn_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/wsconn"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// What a server says of when to come again reaches the agent, also from a proxy.
func TestABusyServerSaysWhenToComeAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   time.Duration
	}{
		"server": {http.StatusServiceUnavailable, `{"success":false,"error":{"code":"SERVICE_UNAVAILABLE","message":"full","retryAfter":7}}`, 7 * time.Second},
		"proxy":  {http.StatusTooManyRequests, "<html>", 3 * time.Second},
		"wrong":  {http.StatusNotFound, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer srv.Close()
			_, err := wsconn.Dialer{}.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/ws", "token")
			f, ok := errors.AsType[*fault.Error](err)
			if err == nil || errors.Is(err, agent.ErrRefused) || ok != (c.want > 0) {
				t.Fatalf("got %v", err)
			}
			if ok && f.RetryAfter != c.want {
				t.Errorf("got %s, want %s", f.RetryAfter, c.want)
			}
		})
	}
}
