package auth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	refreshInterval  = 10 * time.Minute
	unknownKIDPeriod = 30 * time.Second
	retryPeriod      = 2 * time.Second // while the endpoint is down
	fetchTimeout     = 5 * time.Second
	maxKeySet        = 256 << 10             // bytes
	limiterPatience  = 50 * time.Millisecond // who may not fetch now is refused: waiting would hold requests up
)

// keySet is the project's public keys. Refreshing replaces them, a failed refresh
// keeps them, and an unknown key id leads to a fetch at most once per period.
type keySet struct {
	lookup keyfunc.Keyfunc
	source *keySource
}

func newKeySet(ctx context.Context, c Config) (*keySet, error) {
	if c.RefreshInterval == 0 {
		c.RefreshInterval = refreshInterval
	}
	if c.UnknownKIDPeriod == 0 {
		c.UnknownKIDPeriod = unknownKIDPeriod
	}
	source := &keySource{
		next: http.DefaultTransport, period: c.UnknownKIDPeriod,
		limit: rate.NewLimiter(rate.Every(c.UnknownKIDPeriod), 1),
	}
	tolerate := true
	kf, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{c.JWKSURL}, keyfunc.Override{
		Client: &http.Client{
			Transport:     source,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPTimeout:               fetchTimeout,
		NoErrorReturnFirstHTTPReq: &tolerate,
		RateLimitWaitMax:          limiterPatience,
		RefreshInterval:           c.RefreshInterval,
		RefreshUnknownKID:         source.limit,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				c.Logger.WarnContext(ctx, "the keys of access tokens could not be refreshed; the known ones stay", slog.Any("error", err))
			}
		},
	})
	if err != nil {
		return nil, errors.New("the address of the JWKS cannot be used")
	}
	return &keySet{lookup: kf, source: source}, nil
}

// find gives the public key that a token names.
func (k *keySet) find(ctx context.Context, t *jwt.Token) (any, error) {
	if kid, ok := t.Header["kid"].(string); !ok || kid == "" {
		return nil, errors.New("the token names no key")
	}
	key, err := k.lookup.KeyfuncCtx(ctx)(t)
	if err == nil {
		return key, nil
	}
	if k.source.down.Load() {
		e := fault.Wrap(err, fault.Unavailable, "access tokens cannot be checked now")
		e.RetryAfter = retryPeriod
		return nil, e
	}
	return nil, err
}

// keySource fetches the key set, bounded, and remembers whether that works: it
// tells an outage from a forged key id, and lets a recovered endpoint be asked
// soon.
type keySource struct {
	next   http.RoundTripper
	limit  *rate.Limiter
	period time.Duration
	down   atomic.Bool
}

// RoundTrip fetches once.
func (s *keySource) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.down.Store(true)
		s.limit.SetLimit(rate.Every(min(retryPeriod, s.period)))
		return resp, err
	}
	s.down.Store(false)
	s.limit.SetLimit(rate.Every(s.period))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxKeySet), resp.Body}
	return resp, nil
}
