// Package server is the control plane as one process: its configuration, and the
// wiring of REST, dispatcher, database and loops. It owns who is started and
// stopped in which order, and decides nothing about pods, nodes or users.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is where the server listens unless told otherwise.
const DefaultPort = 8480

// Rate is a number of requests within a time; Requests 0 means without limit.
type Rate struct {
	Requests int
	Per      time.Duration
}

// String writes a rate as LoadConfig reads it.
func (r Rate) String() string {
	if r.Requests == 0 {
		return "off"
	}
	return strconv.Itoa(r.Requests) + "/" + r.Per.String()
}

// Config is everything that the environment decides. Sources tells for settings
// with several names which one was found.
type Config struct {
	Version string // of the program, told by /health; set by main, not by the environment

	Host string
	Port int
	// Listener is used instead of opening Host and Port, for a caller that had to find a
	// port that is free: by the time that the server opened it somebody else could have it.
	// Run closes it. It is set by main, not by the environment.
	Listener net.Listener
	// SessionReview is how often the server asks about the sessions of all open sockets, for
	// an end that nobody announced; dispatch's own unless set. The environment does not set
	// it: it is for who has to know that an end was announced.
	SessionReview time.Duration
	// AdvertiseURL is where the other servers reach this one; "" leaves it to
	// AdvertisedURL.
	AdvertiseURL string

	SupabaseURL       string
	SupabasePublicURL string // as agents reach it; SupabaseURL unless set
	AnonKey           string
	ServiceKey        string
	JWTSecret         string // switches HS256 on
	JWTIssuer         string // <SupabaseURL>/auth/v1 unless set
	JWTAudience       string

	DatabaseURL       string
	ListenDatabaseURL string // session or direct connection; DatabaseURL unless set
	DatabasePoolSize  int

	CORSOrigins    []string
	EmbedOrigins   []string // of sites that may ask their users for tabs; none at first
	TrustedProxies []netip.Prefix
	APIRate        Rate
	AuthRate       Rate
	SetupCode      string // made at start when empty
	MetricsToken   string // of GET /metrics; "" lets only this machine read them
	// OpenRegistration sets whether people may make accounts for themselves; nil
	// leaves that as the database has it, which is no at first.
	OpenRegistration *bool
	RequestTimeout   time.Duration
	ShutdownGrace    time.Duration
	LogLevel         slog.Level

	HeartbeatInterval time.Duration
	BundleURLTTL      time.Duration

	Sources map[string]string // setting -> name of the variable that gave it
}

// Address is host:port to listen on.
func (c Config) Address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// Loopback reports whether only this machine can reach the server.
func (c Config) Loopback() bool {
	if strings.EqualFold(c.Host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(c.Host)
	return err == nil && addr.IsLoopback()
}

// LogValue writes what may be logged: no key, no password.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("address", c.Address()),
		slog.String("supabaseUrl", c.SupabaseURL),
		slog.String("database", redactURL(c.DatabaseURL)),
		slog.String("apiRate", c.APIRate.String()),
		slog.String("authRate", c.AuthRate.String()),
		slog.Bool("hs256", c.JWTSecret != ""),
		slog.Any("sources", c.Sources),
	)
}

func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// LoadConfig reads the environment through getenv, fills in defaults, and tells
// all faults together in one error.
func LoadConfig(getenv func(string) string) (Config, error) {
	l := &loader{getenv: getenv, sources: map[string]string{}}
	c := Config{
		Host:              l.text("host", "127.0.0.1", "STARK_HOST"),
		Port:              l.integer("port", DefaultPort, 0, 65535, "STARK_PORT", "PORT"),
		AdvertiseURL:      l.optionalAddress("advertiseUrl", "STARK_ADVERTISE_URL"),
		SupabaseURL:       l.address("supabaseUrl", "SUPABASE_URL"),
		AnonKey:           l.required("anonKey", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"),
		ServiceKey:        l.required("serviceKey", "SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
		JWTSecret:         l.text("jwtSecret", "", "SUPABASE_JWT_SECRET"),
		JWTAudience:       l.text("jwtAudience", "authenticated", "STARK_JWT_AUDIENCE"),
		DatabaseURL:       l.database("databaseUrl", true, "STARK_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"),
		ListenDatabaseURL: l.database("listenDatabaseUrl", false, "STARK_LISTEN_DATABASE_URL"),
		DatabasePoolSize:  l.integer("databasePoolSize", 10, 2, 500, "STARK_DATABASE_POOL_SIZE"),
		CORSOrigins:       l.list("corsOrigins", "http://localhost:*,http://127.0.0.1:*", "STARK_CORS_ORIGINS", "CORS_ORIGINS"),
		EmbedOrigins:      l.origins("embedOrigins", "STARK_EMBED_ORIGINS"),
		TrustedProxies:    l.prefixes("trustedProxies", "STARK_TRUSTED_PROXIES"),
		APIRate:           l.rate("apiRate", Rate{Requests: 600, Per: time.Minute}, "STARK_RATE_LIMIT_API"),
		AuthRate:          l.rate("authRate", Rate{Requests: 30, Per: time.Minute}, "STARK_RATE_LIMIT_AUTH"),
		OpenRegistration:  l.flag("openRegistration", "STARK_OPEN_REGISTRATION"),
		MetricsToken:      l.text("metricsToken", "", "STARK_METRICS_TOKEN"),
		SetupCode:         l.text("setupCode", "", "STARK_SETUP_CODE"),
		RequestTimeout:    l.duration("requestTimeout", 30*time.Second, time.Second, 10*time.Minute, "STARK_REQUEST_TIMEOUT"),
		ShutdownGrace:     l.duration("shutdownGrace", 15*time.Second, time.Second, 10*time.Minute, "STARK_SHUTDOWN_GRACE"),
		LogLevel:          l.level("logLevel", "STARK_LOG_LEVEL", "LOG_LEVEL"),
		HeartbeatInterval: l.duration("heartbeatInterval", 0, time.Second, 5*time.Minute, "STARK_HEARTBEAT_INTERVAL"),
		BundleURLTTL:      l.duration("bundleUrlTtl", 5*time.Minute, 30*time.Second, 5*time.Minute, "STARK_BUNDLE_URL_TTL"),
	}
	c.JWTIssuer = l.text("jwtIssuer", strings.TrimRight(c.SupabaseURL, "/")+"/auth/v1", "STARK_JWT_ISSUER")
	if c.SupabasePublicURL = l.text("supabasePublicUrl", "", "STARK_SUPABASE_PUBLIC_URL"); c.SupabasePublicURL == "" {
		c.SupabasePublicURL = c.SupabaseURL
	}
	if c.ListenDatabaseURL == "" {
		c.ListenDatabaseURL = c.DatabaseURL
	}
	c.Sources = l.sources
	l.checkSecrets(c)
	return c, l.err()
}

// loader reads settings one by one and gathers faults.
type loader struct {
	getenv  func(string) string
	sources map[string]string
	faults  []string
}

func (l *loader) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *loader) err() error {
	if len(l.faults) == 0 {
		return nil
	}
	return errors.New("the configuration is not usable:\n  - " + strings.Join(l.faults, "\n  - "))
}

// find gives the first variable that is set; its value is never in a fault, for
// it may be a secret.
func (l *loader) find(setting string, names ...string) (value, name string) {
	for _, name := range names {
		if v := strings.TrimSpace(l.getenv(name)); v != "" {
			l.sources[setting] = name
			return v, name
		}
	}
	return "", names[0]
}

func (l *loader) text(setting, fallback string, names ...string) string {
	if v, _ := l.find(setting, names...); v != "" {
		return v
	}
	return fallback
}

func (l *loader) required(setting string, names ...string) string {
	v, _ := l.find(setting, names...)
	if v == "" {
		l.fault("set %s", strings.Join(names, " or "))
	}
	return v
}

func (l *loader) address(setting string, names ...string) string {
	if l.required(setting, names...) == "" {
		return ""
	}
	return l.optionalAddress(setting, names...)
}

func (l *loader) optionalAddress(setting string, names ...string) string {
	v, _ := l.find(setting, names...)
	if v == "" {
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		l.fault("%s must be http(s)://host without credentials", l.sources[setting])
	}
	return strings.TrimRight(v, "/")
}

func (l *loader) database(setting string, must bool, names ...string) string {
	v, name := l.find(setting, names...)
	if v == "" {
		if must {
			l.fault("set %s", strings.Join(names, " or "))
		}
		return ""
	}
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		l.fault("%s must be postgres://user@host/database", name)
	}
	return v
}

func (l *loader) integer(setting string, fallback, low, high int, names ...string) int {
	v, name := l.find(setting, names...)
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		l.fault("%s must be a whole number from %d to %d", name, low, high)
		return fallback
	}
	return n
}

// flag reads true or false; absent is neither.
func (l *loader) flag(setting string, names ...string) *bool {
	v, name := l.find(setting, names...)
	if v == "" {
		return nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		l.fault("%s must be true or false", name)
	}
	return &on
}

func (l *loader) duration(setting string, fallback, low, high time.Duration, names ...string) time.Duration {
	v, name := l.find(setting, names...)
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		l.fault("%s must be a duration such as %s, from %s to %s", name, max(fallback, low), low, high)
		return fallback
	}
	return d
}

// rate reads "600/1m"; "off" means without limit.
func (l *loader) rate(setting string, fallback Rate, names ...string) Rate {
	v, name := l.find(setting, names...)
	if v == "" {
		return fallback
	}
	if strings.EqualFold(v, "off") {
		return Rate{}
	}
	count, per, ok := strings.Cut(v, "/")
	n, err := strconv.Atoi(count)
	d, derr := time.ParseDuration(per)
	if !ok || err != nil || derr != nil || n < 1 || d < time.Second {
		l.fault("%s must be a rate such as %s, or off", name, fallback)
		return fallback
	}
	return Rate{Requests: n, Per: d}
}

func (l *loader) list(setting, fallback string, names ...string) []string {
	var out []string
	for item := range strings.SplitSeq(l.text(setting, fallback, names...), ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, strings.TrimRight(item, "/"))
		}
	}
	return out
}

// origins reads origins that go into a policy: each one whole, at most with any port.
func (l *loader) origins(setting, name string) []string {
	out := l.list(setting, "", name)
	for _, o := range out {
		base := strings.TrimSuffix(o, ":*")
		u, err := url.Parse(base)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || base != u.Scheme+"://"+u.Host || strings.ContainsAny(base, " ;'\"*") {
			l.fault("%s: %q is no origin such as https://app.example.com or http://localhost:*; name each site, with commas between", name, o)
			return nil
		}
	}
	return out
}

func (l *loader) prefixes(setting string, names ...string) []netip.Prefix {
	v, name := l.find(setting, names...)
	var out []netip.Prefix
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if addr, err := netip.ParseAddr(item); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			l.fault("%s must be addresses or networks such as 10.0.0.0/8, with commas between", name)
			return nil
		}
		out = append(out, prefix.Masked())
	}
	return out
}

func (l *loader) level(setting string, names ...string) slog.Level {
	v, name := l.find(setting, names...)
	if v == "" {
		return slog.LevelInfo
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(v)); err != nil {
		l.fault("%s must be debug, info, warn or error", name)
	}
	return level
}

// checkSecrets refuses secrets that would not protect anything.
func (l *loader) checkSecrets(c Config) {
	const shortest = 32 // bytes, of an HS256 secret
	if c.JWTSecret != "" && len(c.JWTSecret) < shortest {
		l.fault("SUPABASE_JWT_SECRET must have at least %d characters", shortest)
	}
	if c.AnonKey != "" && c.AnonKey == c.ServiceKey {
		l.fault("%s and %s hold the same key", l.sources["anonKey"], l.sources["serviceKey"])
	}
	const shortestCode = 8
	if c.SetupCode != "" && len(c.SetupCode) < shortestCode {
		l.fault("STARK_SETUP_CODE must have at least %d characters", shortestCode)
	}
	const shortestToken = 16
	if c.MetricsToken != "" && len(c.MetricsToken) < shortestToken {
		l.fault("STARK_METRICS_TOKEN must have at least %d characters", shortestToken)
	}
	if len(c.CORSOrigins) > 0 {
		for _, o := range c.CORSOrigins {
			if o != "*" && !strings.HasPrefix(o, "http://") && !strings.HasPrefix(o, "https://") {
				l.fault("STARK_CORS_ORIGINS must hold origins such as https://stark.example.com")
				return
			}
		}
	}
}
