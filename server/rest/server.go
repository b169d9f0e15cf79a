package rest

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// server is what the handlers share. Nothing in it changes after New but the
// caches, which guard themselves.
type server struct {
	Deps
	config   Config
	log      *slog.Logger
	api      huma.API
	engine   *gin.Engine
	roles    *roleCache
	metrics  *metrics
	probes   *prober
	apiRate  *limiter
	auth     *limiter
	spool    chan struct{} // one place for each upload under way
	watching *watching
	held     watch.Held // by pods, of nodes
}

// concurrentUploads bounds the disk that spooled bundles may take: this many
// times api.MaxBundleBytes.
const concurrentUploads = 16

// New puts the API together. The handler it gives needs a ReadHeaderTimeout and
// an IdleTimeout on the http.Server around it, and no ReadTimeout or WriteTimeout:
// requests set their own.
func New(d Deps) http.Handler {
	s := &server{Deps: d, config: d.Config.withDefaults(), log: d.Logger, spool: make(chan struct{}, concurrentUploads)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.Auth = patientAuth{IdentityProvider: d.Auth, ping: d.DB.Ping}
	if s.Metrics == nil {
		s.Metrics = prometheus.NewRegistry()
	}
	s.metrics = newMetrics(s.Metrics)
	s.roles = newRoleCache(d.DB, d.Store)
	s.probes = newProber(s)
	s.watching = &watching{users: map[string]int{}}
	s.apiRate = newLimiter(s.config.APIRate)
	s.auth = newLimiter(s.config.AuthRate)
	s.engine = s.newEngine()
	s.api = humagin.New(s.engine, s.humaConfig())
	s.routes()
	return s.engine
}

func (c Config) withDefaults() Config {
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.UploadTimeout == 0 {
		c.UploadTimeout = 10 * time.Minute
	}
	const longest = 5 * time.Minute
	if c.BundleURLTTL == 0 || c.BundleURLTTL > longest {
		c.BundleURLTTL = longest
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	return c
}

func (s *server) humaConfig() huma.Config {
	c := humaConfig(s.config.Version)
	c.Transformers = []huma.Transformer{s.transform}
	return c
}

// newEngine makes gin without its loggers and proxies: addresses come from peer.
func (s *server) newEngine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.ForwardedByClientIP = false
	e.ContextWithFallback = true
	e.MaxMultipartMemory = 1 << 20
	e.NoRoute(func(c *gin.Context) {
		s.abort(c, fault.New(fault.NotFound, "there is no %s %s", c.Request.Method, shown(c.Request.URL.Path)))
	})
	e.NoMethod(func(c *gin.Context) {
		s.abort(c, fault.New(fault.MethodNotAllowed, "%s does not take %s", shown(c.Request.URL.Path), c.Request.Method))
	})
	e.Use(s.correlate, s.observe, s.recover, s.secure, s.cors, s.authenticate, s.limit, s.media, s.watches)
	return e
}

// shown bounds what of a request is repeated in an answer.
func shown(path string) string {
	const most = 200
	if len(path) > most {
		return path[:most] + "..."
	}
	return path
}

func (s *server) routes() {
	s.authRoutes()
	s.userRoutes()
	s.packRoutes()
	s.nodeRoutes()
	s.drainRoutes()
	s.namespaceRoutes()
	s.settingsRoutes()
	s.tokenRoutes()
	s.podRoutes()
	s.clusterRoutes()
	s.eventRoutes()
	s.usageRoutes()
	s.healthRoutes()
	if s.WS != nil {
		s.engine.GET("/ws", gin.WrapH(s.WS))
	}
	if s.Tab != nil {
		for _, path := range []string{"/node", "/node/", "/node/embed", embedScript, "/node/assets/*file"} {
			s.engine.GET(path, gin.WrapH(s.Tab))
			s.engine.HEAD(path, gin.WrapH(s.Tab))
		}
	}
	s.documentStreams()
	s.serveOpenAPI()
}
