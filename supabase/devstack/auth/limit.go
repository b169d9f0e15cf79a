package auth

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// tokenBurst calls of /token go through at once; each further one needs as much time as refills a place.
	tokenBurst  = 30
	tokenRefill = 10 * time.Second
	// mostCallers bounds what is remembered; beyond it all of them start afresh.
	mostCallers = 10_000
)

// limiter counts the calls of each caller, who is named by a header that the gateway sets.
type limiter struct {
	header string // empty switches it off

	mu      sync.Mutex
	callers map[string]*rate.Limiter
}

// check refuses a call beyond the limit. Callers without the header are not counted.
func (l *limiter) check(r *http.Request, now time.Time) error {
	if l.header == "" {
		return nil
	}
	name, _, _ := strings.Cut(r.Header.Get(l.header), ",")
	if name = strings.TrimSpace(name); name == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.callers) >= mostCallers || l.callers == nil {
		l.callers = map[string]*rate.Limiter{}
	}
	caller, known := l.callers[name]
	if !known {
		caller = rate.NewLimiter(rate.Every(tokenRefill), tokenBurst)
		l.callers[name] = caller
	}
	if !caller.AllowN(now, 1) {
		return fail(http.StatusTooManyRequests, "over_request_rate_limit", "Request rate limit reached")
	}
	return nil
}
