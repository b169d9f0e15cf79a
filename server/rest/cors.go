package rest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// embedScript is for the pages of every origin: it holds nothing of anybody, and which
// sites get further is decided by the policy of the page that it opens.
const embedScript = "/node/embed.js"

// cors lets pages of configured origins call the API, and refuses others with an
// envelope. Requests without Origin are none of its business.
func (s *server) cors(c *gin.Context) {
	origin := c.GetHeader("Origin")
	if origin == "" || c.FullPath() == embedScript {
		c.Next()
		return
	}
	h := c.Writer.Header()
	h.Add("Vary", "Origin")
	if !s.originAllowed(origin, c.Request.Host) {
		s.abort(c, fault.New(fault.Forbidden, "the origin %s may not call this server", shown(origin)))
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "X-Correlation-ID, ETag, Idempotency-Replayed, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset")
	if c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != "" {
		h.Add("Vary", "Access-Control-Request-Method")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, X-Correlation-ID, X-Request-ID, If-Match, Idempotency-Key")
		h.Set("Access-Control-Max-Age", "86400")
		c.AbortWithStatus(http.StatusNoContent)
		return
	}
	c.Next()
}

// originAllowed compares whole origins. A page of this server itself is always
// welcome; "*" stands for a port, or alone for everybody.
func (s *server) originAllowed(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil {
		return false
	}
	if strings.EqualFold(u.Host, host) {
		return true
	}
	for _, allowed := range s.config.CORSOrigins {
		if allowed == "*" || strings.EqualFold(allowed, origin) {
			return true
		}
		if base, ok := strings.CutSuffix(allowed, ":*"); ok && strings.EqualFold(base, u.Scheme+"://"+u.Hostname()) {
			return true
		}
	}
	return false
}
