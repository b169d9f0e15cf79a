package nodejs

import (
	_ "embed" // the types are part of the program
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// Types is the TypeScript declaration of the pack context, for new pack projects.
//
//go:embed types/stark.d.ts
var Types string

// Options configure an Executor. StateDir must be set.
type Options struct {
	NodePath string // default: node on PATH
	StateDir string // bundles, folders of pods and the host program live below it
	Logger   *slog.Logger

	WarmPool      int           // unassigned hosts kept ready, DefaultWarmPool for instance; 0 switches it off
	DefaultMemory api.Mebibytes // limit that the first warm hosts are made for; default 512
	MaxShared     int           // pods in one shared host; default 50

	// UnresponsiveAfter kills a pod whose event loop stood still for that long;
	// default 60 s, below 0 never. The pack's metadata can set another value as
	// unresponsiveAfterSeconds, where 0 means never.
	UnresponsiveAfter time.Duration
	CacheBytes        int64 // bound of the bundle cache; default 2 GiB
	Client            *http.Client
}

// storageTimeout bounds each step until a bundle begins to come: a storage that hangs
// must not cost a pod the whole time that a large download may take.
const storageTimeout = 15 * time.Second

// DefaultWarmPool is a good size of the warm pool.
const DefaultWarmPool = 2

func (o *Options) complete() error {
	if o.StateDir == "" {
		return errors.New("nodejs: StateDir must be given")
	}
	dir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return fmt.Errorf("nodejs: %w", err)
	}
	o.StateDir = dir
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.WarmPool = max(o.WarmPool, 0)
	if o.DefaultMemory <= 0 {
		o.DefaultMemory = 512
	}
	if o.MaxShared <= 0 {
		o.MaxShared = 50
	}
	if o.UnresponsiveAfter == 0 {
		o.UnresponsiveAfter = time.Minute
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 2 << 30
	}
	if o.Client == nil {
		o.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second,
			DialContext:         (&net.Dialer{Timeout: storageTimeout}).DialContext,
			TLSHandshakeTimeout: storageTimeout, ResponseHeaderTimeout: storageTimeout,
		}}
	}
	return nil
}
