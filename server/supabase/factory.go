package supabase

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	supa "github.com/supabase-community/supabase-go"
)

// Bounds on one call.
const (
	DefaultTimeout = 15 * time.Second
	maxAnswer      = 4 << 20 // bytes of a JSON answer
)

// Config tells where a project is and which keys open it.
type Config struct {
	URL        string        // e.g. http://127.0.0.1:54321
	AnonKey    string        // the publishable or the anon key
	ServiceKey string        // the secret or the service_role key
	Timeout    time.Duration // of one JSON call; DefaultTimeout when 0
}

// Factory builds clients for single calls. It is safe for concurrent use; the
// clients it builds are not shared.
type Factory struct {
	base    *url.URL
	config  Config
	plain   http.RoundTripper // shared by all calls, keeps connections
	timeout time.Duration
}

// NewFactory checks the configuration and makes a Factory. Nothing is sent.
func NewFactory(c Config) (*Factory, error) {
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil {
		return nil, errors.New("the Supabase URL cannot be parsed")
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || base.User != nil {
		return nil, errors.New("the Supabase URL must be http(s)://host without credentials")
	}
	if c.AnonKey == "" || c.ServiceKey == "" {
		return nil, errors.New("the Supabase keys are missing")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	return &Factory{base: base, config: c, plain: sharedTransport(), timeout: c.Timeout}, nil
}

// sharedTransport is one pool of connections for Auth and Storage.
var sharedTransport = sync.OnceValue(func() http.RoundTripper {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
	}
})

// Auth makes a supabase-go client whose Auth half speaks with the key of the
// service or the public one. It needs the HTTPClient of the call.
func (f *Factory) Auth(service bool) (*supa.Client, error) {
	client, err := supa.NewClient(f.base.String(), f.key(service), nil)
	if err != nil {
		return nil, fmt.Errorf("build the Supabase client: %w", err)
	}
	return client, nil
}

// HTTPClient gives the http.Client for the Auth half of one call: it ends with
// ctx and follows no redirect. The scope, where set, is added to the query: a
// gotrue-go logout knows none and would end every session of the user.
func (f *Factory) HTTPClient(ctx context.Context, scope string) http.Client {
	return http.Client{
		Transport:     bind(ctx, &callTransport{next: f.plain, dialect: AuthFault, scope: scope}),
		CheckRedirect: refuseRedirect,
		Timeout:       f.timeout,
	}
}

// Storage makes a supabase-go client whose Storage half speaks with a user's
// token, or as the service when token is "". Its requests must be made with
// NewRequest and given a context before Do: see StorageURL.
func (f *Factory) Storage(token string) (*supa.Client, error) {
	registerStorageScheme(f.plain)
	client, err := supa.NewClient(f.storageBase(), f.key(token == ""), &supa.ClientOptions{Headers: f.headers(token)})
	if err != nil {
		return nil, fmt.Errorf("build the Supabase client: %w", err)
	}
	return client, nil
}

// StorageURL is the address, for the client of Storage, of a path below
// /storage/v1; each segment is escaped.
func (f *Factory) StorageURL(segments ...string) string {
	return f.storageBase() + "/storage/v1" + escapePath(segments)
}

// ObjectURL is the address, for net/http, of a path below /storage/v1.
func (f *Factory) ObjectURL(segments ...string) string {
	return f.base.String() + "/storage/v1" + escapePath(segments)
}

// Header sets the credentials of a Storage request that is made with net/http.
func (f *Factory) Header(h http.Header, token string) {
	for k, v := range f.headers(token) {
		if v != "" {
			h.Set(k, v)
		}
	}
}

// StreamClient gives an http.Client for bundles: no time limit but the request's
// context, no redirects, errors of Storage as fault.Error.
func (f *Factory) StreamClient() *http.Client {
	return &http.Client{
		Transport:     &callTransport{next: f.plain, dialect: StorageFault, stream: true},
		CheckRedirect: refuseRedirect,
	}
}

// Timeout bounds one JSON call.
func (f *Factory) Timeout() time.Duration { return f.timeout }

func (f *Factory) key(service bool) string {
	if service {
		return f.config.ServiceKey
	}
	return f.config.AnonKey
}

// headers gives apikey always, and Authorization with the user's token or, for
// the older keys, which are JWTs, with the key itself.
func (f *Factory) headers(token string) map[string]string {
	if token != "" {
		return map[string]string{"apikey": f.config.AnonKey, "Authorization": "Bearer " + token}
	}
	key := f.config.ServiceKey
	return map[string]string{"apikey": key, "Authorization": "Bearer " + key}
}

func (f *Factory) storageBase() string { return storageSchemePrefix + f.base.String() }

func escapePath(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		for part := range strings.SplitSeq(s, "/") {
			b.WriteByte('/')
			b.WriteString(url.PathEscape(part))
		}
	}
	return b.String()
}

func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// ServiceKey opens the administrative half of Auth.
func (f *Factory) ServiceKey() string { return f.config.ServiceKey }
