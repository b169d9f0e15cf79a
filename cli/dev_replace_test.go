package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// onePod is a server that has one pod, and answers without a network.
type onePod struct {
	t *testing.T

	mu    sync.Mutex
	pod   api.Pod
	asked []api.RollbackRequest
	// rollback changes the pod as it was asked to, or refuses.
	rollback func(p *api.Pod, r api.RollbackRequest) error
}

func (s *onePod) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := httptest.NewRecorder()
	answer := func(v any, err error) {
		if err != nil {
			w.WriteHeader(fault.Status(fault.CodeOf(err)))
			_ = json.NewEncoder(w).Encode(fault.ToEnvelope(err))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "data": v})
	}
	switch {
	case r.Method == http.MethodPost && path.Base(r.URL.Path) == "rollback":
		var ask api.RollbackRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			s.t.Error(err)
		}
		s.asked = append(s.asked, ask)
		err := s.rollback(&s.pod, ask)
		answer(api.Rollback{Pod: s.pod}, err)
	case r.Method == http.MethodGet && path.Base(r.URL.Path) == s.pod.ID:
		answer(map[string]any{"pod": s.pod}, nil)
	default:
		s.t.Errorf("nobody expects %s %s", r.Method, r.URL.Path)
		answer(nil, fault.New(fault.NotFound, "what is that?"))
	}
	return w.Result(), nil
}

func (s *onePod) rollout(out *strings.Builder) *rollout {
	c, err := client.New(client.Config{URL: "http://stark.example", HTTP: &http.Client{Transport: s}})
	if err != nil {
		s.t.Fatal(err)
	}
	d := &dev{client: c, out: &devOutput{stdout: out, stderr: out, width: func() int { return 200 }}}
	d.source.Name = "greeter"
	return &rollout{dev: d, current: s.pod}
}

func runningPod() api.Pod {
	return api.Pod{ID: "0190b2f5-7c1a-7d3e-9f00-000000000001", PackName: "greeter", PackVersion: "1.0.0", PackID: "one", Status: api.PodRunning}
}

// A version that is never ready is given up after a minute: the old one was not touched,
// the rollout is taken back, and the message says what a pack must do.
func TestDevGivesUpAVersionThatIsNeverReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &onePod{t: t, pod: runningPod()}
		s.rollback = func(p *api.Pod, r api.RollbackRequest) error {
			if p.Rollout = nil; r.TargetVersion != p.PackVersion {
				p.Rollout = &api.Rollout{PackID: "two", PackVersion: r.TargetVersion, Incarnation: 2}
			}
			return nil
		}
		var out strings.Builder
		begun := time.Now()
		err := s.rollout(&out).replace(t.Context(), api.Pack{ID: "two", Name: "greeter", Version: "1.0.0-dev.1"}, begun)
		if err == nil {
			t.Fatal("it was taken for ready")
		}
		for _, want := range []string{"greeter 1.0.0-dev.1 was not ready within 1m0s", "calls ready()", "greeter 1.0.0 goes on"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if waited := time.Since(begun); waited < readyTimeout || waited > readyTimeout+time.Second {
			t.Errorf("it waited %s", waited)
		}
		if len(s.asked) != 2 || s.asked[0].Now || s.asked[1].TargetVersion != "1.0.0" || s.asked[1].Now || s.pod.Rollout != nil {
			t.Errorf("asked for %+v, and left %+v", s.asked, s.pod.Rollout)
		}
		if !strings.Contains(out.String(), "the pack still loads") {
			t.Errorf("nothing was said in the meantime: %q", out.String())
		}
	})
}

// Where there is no room for a second copy the old one stops first, and that is said.
func TestDevHasNoRoomForASecondCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &onePod{t: t, pod: runningPod()}
		s.rollback = func(p *api.Pod, r api.RollbackRequest) error {
			if !r.Now {
				e := fault.New(fault.InvalidState, "the node has no room for both")
				e.Details = map[string]any{"resource": "memory"}
				return e
			}
			p.PackVersion, p.PackID, p.Status = r.TargetVersion, "two", api.PodScheduled
			time.AfterFunc(3*time.Second, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.pod.Status = api.PodRunning
			})
			return nil
		}
		var out strings.Builder
		r := s.rollout(&out)
		if err := r.replace(t.Context(), api.Pack{ID: "two", Name: "greeter", Version: "1.0.0-dev.1"}, time.Now()); err != nil {
			t.Fatal(err)
		}
		if len(s.asked) != 2 || s.asked[0].Now || !s.asked[1].Now || s.asked[1].TargetVersion != "1.0.0-dev.1" {
			t.Errorf("asked for %+v", s.asked)
		}
		text := out.String()
		if !strings.Contains(text, "no room beside the present version, which stops first") || !strings.Contains(text, "[ok] pod") || r.current.PackVersion != "1.0.0-dev.1" {
			t.Errorf("said %q, and has %+v", text, r.current)
		}
	})
}
