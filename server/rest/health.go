package rest

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	probeTimeout = 2 * time.Second
	probeMaxAge  = time.Second // probes are open to all: asked often, they answer from memory
)

// check is one part of what the server depends on.
type check struct {
	Status    string `json:"status"` // "up" or "down"
	LatencyMS int64  `json:"latencyMs"`
	Error     string `json:"error,omitempty"` // a fault code, never a text
}

type health struct {
	Status    string           `json:"status"`
	Timestamp time.Time        `json:"timestamp"`
	Version   string           `json:"version"`
	Uptime    float64          `json:"uptime"` // seconds
	Checks    map[string]check `json:"checks"`
}

type readiness struct {
	Ready     bool      `json:"ready"`
	Timestamp time.Time `json:"timestamp"`
	Reason    string    `json:"reason,omitempty"`
}

type liveness struct {
	Alive     bool      `json:"alive"`
	Timestamp time.Time `json:"timestamp"`
}

// prober asks what the server depends on, at most once at a time.
type prober struct {
	start time.Time
	parts map[string]func(context.Context) error

	mu     sync.Mutex // held while probing: the others wait for the answer
	last   map[string]check
	probed time.Time
}

func newProber(s *server) *prober {
	return &prober{start: time.Now(), parts: map[string]func(context.Context) error{
		"database":  s.DB.Ping,
		"auth":      s.Auth.Health,
		"storage":   s.Bundles.Health,
		"readModel": s.readModel,
		"websocket": func(context.Context) error {
			if s.WS == nil {
				return fault.New(fault.Unavailable, "no WebSocket endpoint")
			}
			return nil
		},
	}}
}

// readModel reports whether the memory of the server follows the database.
func (s *server) readModel(context.Context) error {
	if s.Store == nil {
		return fault.New(fault.Unavailable, "no read model")
	}
	select {
	case <-s.Store.Synced():
	default:
		return fault.New(fault.Unavailable, "the read model is not filled yet")
	}
	if s.Store.Stale() {
		return fault.New(fault.Stale, "the read model is cut off")
	}
	return nil
}

func (p *prober) probe(ctx context.Context) map[string]check {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.probed) < probeMaxAge {
		return p.last
	}
	// One caller that goes away must not spoil the answer of those who wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := make(map[string]check, len(p.parts))
	for name, ask := range p.parts {
		wg.Go(func() {
			start := time.Now()
			c := check{Status: "up"}
			if err := ask(ctx); err != nil {
				c.Status, c.Error = "down", string(fault.CodeOf(err))
			}
			c.LatencyMS = time.Since(start).Milliseconds()
			mu.Lock()
			defer mu.Unlock()
			out[name] = c
		})
	}
	wg.Wait()
	p.last, p.probed = out, time.Now()
	return out
}

func (s *server) healthRoutes() {
	s.engine.GET("/health", s.health)
	s.engine.GET("/ready", s.ready)
	s.engine.GET("/live", func(c *gin.Context) {
		c.JSON(http.StatusOK, liveness{Alive: true, Timestamp: time.Now().UTC()})
	})
	serve := gin.WrapH(promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{}))
	s.engine.GET("/metrics", func(c *gin.Context) {
		if err := s.maySeeMetrics(c); err != nil {
			s.abort(c, err)
			return
		}
		serve(c)
	})
}

// maySeeMetrics lets those in who show the token; without one on the server, those
// on its machine.
func (s *server) maySeeMetrics(c *gin.Context) error {
	if s.config.MetricsToken == "" {
		if s.local(c.Request) {
			return nil
		}
		return fault.New(fault.Forbidden, "metrics are for the server's own machine; set STARK_METRICS_TOKEN to read them from another")
	}
	token, found := bearer(c.GetHeader("Authorization"))
	if !found {
		return fault.New(fault.AuthenticationRequired, "send the token of the metrics: Authorization: Bearer <token>")
	}
	if !sameSecret(s.config.MetricsToken, token) {
		return fault.New(fault.TokenInvalid, "this is not the token of the metrics")
	}
	return nil
}

// health tells how each part does. Auth and Storage being away degrades: pods go
// on, and who is signed in can go on.
func (s *server) health(c *gin.Context) {
	h := health{
		Status: "healthy", Timestamp: time.Now().UTC(), Version: s.config.Version,
		Uptime: time.Since(s.probes.start).Seconds(), Checks: s.probes.probe(c.Request.Context()),
	}
	status := http.StatusOK
	for name, part := range h.Checks {
		switch {
		case part.Status == "up":
		case name == "database" || name == "readModel":
			h.Status, status = "unhealthy", http.StatusServiceUnavailable
		case h.Status == "healthy":
			h.Status = "degraded"
		}
	}
	c.JSON(status, h)
}

// ready tells a load balancer whether to send requests here.
func (s *server) ready(c *gin.Context) {
	r := readiness{Ready: true, Timestamp: time.Now().UTC()}
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			r.Ready, r.Reason = false, "the server starts or stops"
		}
	}
	if r.Ready {
		checks := s.probes.probe(c.Request.Context())
		for _, name := range []string{"database", "readModel"} {
			if checks[name].Status != "up" {
				r.Ready, r.Reason = false, name+" is down"
			}
		}
	}
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	c.JSON(status, r)
}
