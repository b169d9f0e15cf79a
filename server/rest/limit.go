package rest

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// rateKeys bounds how many callers are remembered. Who is pushed out starts anew.
const rateKeys = 16384

// limiter is one token bucket per caller. It is safe for concurrent use.
type limiter struct {
	rate    Rate
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimiter(r Rate) *limiter {
	if r.Requests <= 0 || r.Per <= 0 {
		return &limiter{}
	}
	buckets, err := lru.New[string, *rate.Limiter](rateKeys)
	if err != nil {
		return &limiter{} // only for a size below one
	}
	return &limiter{rate: r, buckets: buckets}
}

func (l *limiter) off() bool { return l.buckets == nil }

// take counts one request of key. It gives what is left, and when not even this
// one was, how long to wait.
func (l *limiter) take(key string, now time.Time) (left int, wait time.Duration, allowed bool) {
	every := rate.Every(l.rate.Per / time.Duration(l.rate.Requests))
	fresh := rate.NewLimiter(every, l.rate.Requests)
	bucket := fresh
	if known, found, _ := l.buckets.PeekOrAdd(key, fresh); found {
		bucket = known
		l.buckets.Get(key) // marks it as used
	}
	if bucket.AllowN(now, 1) {
		return int(bucket.TokensAt(now)), 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return 0, time.Duration(missing / float64(every) * float64(time.Second)), false
}

// limit refuses callers that ask too often: by user where a valid token says who
// it is, else by the address of the peer.
func (s *server) limit(c *gin.Context) {
	l := s.limiterFor(c.Request.URL.Path)
	if l == nil || l.off() {
		c.Next()
		return
	}
	key := rateKey(s.peer(c.Request))
	if id, ok := sessionOf(c); ok && id.err == nil && id.identity.UserID != "" && !guessing(c.Request) {
		key = id.identity.UserID
	}
	left, wait, allowed := l.take(key, time.Now())
	h := c.Writer.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(l.rate.Requests))
	h.Set("RateLimit-Remaining", strconv.Itoa(left))
	reset := wait
	if allowed {
		reset = time.Duration(l.rate.Requests-left) * (l.rate.Per / time.Duration(l.rate.Requests))
	}
	h.Set("RateLimit-Reset", strconv.Itoa(int(math.Ceil(reset.Seconds()))))
	if !allowed {
		e := fault.New(fault.RateLimited, "too many requests")
		e.RetryAfter = max(wait, time.Second)
		s.metrics.limited.Inc()
		s.abort(c, e)
		return
	}
	c.Next()
}

// limiterFor gives nil for what is not limited: health, metrics, and the socket,
// which counts its own messages.
func (s *server) limiterFor(path string) *limiter {
	switch {
	case strings.HasPrefix(path, "/auth/"):
		return s.auth
	case strings.HasPrefix(path, "/api/"):
		return s.apiRate
	default:
		return nil
	}
}

// guessing reports whether a request could try passwords or codes: then the
// address counts, not whatever token comes along.
func guessing(r *http.Request) bool {
	switch r.URL.Path {
	case "/auth/login", "/auth/register", "/auth/refresh", "/auth/setup":
		return true
	default:
		return false
	}
}
