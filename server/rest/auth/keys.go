package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	refreshInterval  = 10 * time.Minute
	unknownKIDPeriod = 30 * time.Second
	retryPeriod      = 2 * time.Second // while the endpoint is down
	fetchTimeout     = 5 * time.Second
	maxKeySet        = 256 << 10 // bytes
)

// keySet is the project's public keys. Refreshing replaces them, a failed refresh
// keeps them, and an unknown key id leads to a fetch at most once per period.
// Nothing is remembered of key ids that are not in the set.
type keySet struct {
	known    keyfunc.Keyfunc // reads what is there
	fetching jwkset.Storage  // fetches for any key that is not there
	source   *keySource
	fetch    singleflight.Group // a rotation brings many at once, and one fetch serves all of them
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
	keys, err := jwkset.NewStorageFromHTTP(c.JWKSURL, jwkset.HTTPClientStorageOptions{
		Ctx: ctx,
		Client: &http.Client{
			Transport:     source,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPTimeout:               fetchTimeout,
		NoErrorReturnFirstHTTPReq: true,
		RefreshInterval:           c.RefreshInterval,
		RefreshErrorHandler: func(ctx context.Context, err error) {
			c.Logger.WarnContext(ctx, "the keys of access tokens could not be refreshed; the known ones stay", slog.Any("error", err))
		},
	})
	if err != nil {
		return nil, errors.New("the address of the JWKS cannot be used")
	}
	known, err := keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: keys})
	if err != nil {
		return nil, err
	}
	// The limit is kept in find: the library's would also cut off the fetch.
	fetching, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs: map[string]jwkset.Storage{c.JWKSURL: keys}, RefreshUnknownKID: rate.NewLimiter(rate.Inf, 1),
	})
	if err != nil {
		return nil, err
	}
	return &keySet{known: known, fetching: fetching, source: source}, nil
}

// find gives the public key that a token names.
func (k *keySet) find(ctx context.Context, t *jwt.Token) (any, error) {
	kid, ok := t.Header["kid"].(string)
	if !ok || kid == "" {
		return nil, errors.New("the token names no key")
	}
	key, err := k.known.KeyfuncCtx(ctx)(t)
	if err == nil || !errors.Is(err, jwkset.ErrKeyNotFound) {
		return key, err
	}
	k.look(ctx, kid)
	key, err = k.known.KeyfuncCtx(ctx)(t)
	if err != nil && k.source.down.Load() {
		e := fault.Wrap(err, fault.Unavailable, "access tokens cannot be checked now")
		e.RetryAfter = retryPeriod
		return nil, e
	}
	return key, err
}

// look fetches the keys, unless that was done a moment ago, and joins a fetch that
// is under way. It outlives the caller, since others wait for it too.
func (k *keySet) look(ctx context.Context, kid string) {
	done := k.fetch.DoChan("keys", func() (any, error) {
		if !k.source.limit.Allow() {
			return nil, nil //nolint:nilnil // what it found is in the set
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return k.fetching.KeyRead(ctx, kid)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// keySource fetches the key set, bounded, and remembers whether that works: it
// tells an outage from a forged key id, and lets a recovered endpoint be asked
// soon.
type keySource struct {
	next   http.RoundTripper
	limit  *rate.Limiter
	period time.Duration
	down   atomic.Bool

	fetched atomic.Uint64 // counts the sets that were read
}

// RoundTrip fetches once.
func (s *keySource) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if err == nil {
		err = readKeys(resp)
	}
	s.down.Store(err != nil)
	if err != nil {
		s.limit.SetLimit(rate.Every(min(retryPeriod, s.period)))
		return nil, err
	}
	s.fetched.Add(1)
	s.limit.SetLimit(rate.Every(s.period))
	return resp, nil
}

// readKeys reads the answer and refuses what is no key set: the library would take
// the apology of a proxy for a set without keys, and drop the known ones.
func readKeys(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("the answer is " + resp.Status)
	}
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); len(body) > maxKeySet || err != nil || set.Keys == nil {
		return errors.New("the answer is no key set")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}
