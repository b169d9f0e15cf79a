package client_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// TestCreatesAreRepeatedWithTheirKey loses the connection, is away, and answers then.
func TestCreatesAreRepeatedWithTheirKey(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get(client.HeaderIdempotencyKey))
		n := len(keys)
		mu.Unlock()
		switch n {
		case 1:
			panic(http.ErrAbortHandler) // closes the connection without an answer
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"success":false,"error":{"code":"SERVICE_UNAVAILABLE","message":"away"}}`))
		default:
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"success":true,"data":{"pod":{"id":"p"}}}`))
		}
	})
	p, err := s.client(t, nil).CreatePod(t.Context(), api.CreatePodRequest{PackName: "x"})
	if err != nil || p.ID != "p" {
		t.Fatalf("got %+v, %v", p, err)
	}
	if len(keys) != 3 || keys[0] == "" || keys[0] != keys[1] || keys[1] != keys[2] {
		t.Errorf("the requests had the keys %q, want one and the same", keys)
	}
	if _, err := s.client(t, nil).CreatePod(t.Context(), api.CreatePodRequest{PackName: "x"}); err != nil || keys[3] == keys[0] {
		t.Errorf("another pod has the key %q of the first, %v", keys[3], err)
	}
	if _, err := s.client(t, nil).CreatePod(client.WithIdempotencyKey(t.Context(), "mine"), api.CreatePodRequest{PackName: "x"}); err != nil || keys[4] != "mine" {
		t.Errorf("the key is %q, want that of the caller; %v", keys[4], err)
	}
}

func TestWhatIsDecidedIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, code := range []fault.Code{fault.Validation, fault.Conflict, fault.QuotaExceeded, fault.KeyReused, fault.RateLimited, fault.Internal} {
		var calls atomic.Int32
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(fault.Status(code))
			_, _ = w.Write([]byte(`{"success":false,"error":{"code":"` + string(code) + `","message":"no"}}`))
		})
		if _, err := s.client(t, nil).CreatePod(t.Context(), api.CreatePodRequest{PackName: "x"}); fault.CodeOf(err) != code || calls.Load() != 1 {
			t.Errorf("%s: got %v after %d requests, want one", code, err, calls.Load())
		}
	}
}

// TestOtherRequestsAreSentOnce asks what could happen twice, and what changes nothing.
func TestOtherRequestsAreSentOnce(t *testing.T) {
	t.Parallel()
	s := answering(t, http.StatusServiceUnavailable, `{"success":false,"error":{"code":"SERVICE_UNAVAILABLE","message":"away"}}`)
	if _, err := s.client(t, nil).Login(t.Context(), api.LoginRequest{}); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if _, err := s.client(t, nil).GetPod(t.Context(), "x"); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if len(s.seen) != 2 {
		t.Errorf("%d requests were sent, want 2", len(s.seen))
	}
}
