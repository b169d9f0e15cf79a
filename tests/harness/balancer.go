package harness

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/server/relaytest"
)

// Balancer spreads TCP connections over servers in turn, as a load balancer of layer
// four does: it asks /ready of each, sends nothing new to one that does not say yes,
// and tries the next where one does not answer. Connections that exist are left alone.
type Balancer struct {
	relay *relaytest.Relay
	stop  context.CancelFunc
	done  chan struct{}

	mu    sync.Mutex
	hosts []string
	down  map[string]bool
	turn  int
}

const (
	healthEvery   = 200 * time.Millisecond
	healthTimeout = time.Second
)

func newBalancer(ctx context.Context) (*Balancer, error) {
	b := &Balancer{done: make(chan struct{}), down: map[string]bool{}}
	var err error
	if b.relay, err = relaytest.New(ctx, b.dial); err != nil {
		return nil, err
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	go b.watch(ctx)
	return b, nil
}

// URL is where the servers are reached together.
func (b *Balancer) URL() string { return "http://" + b.relay.Addr() }

// Relay is the way through the balancer, for faults.
func (b *Balancer) Relay() *relaytest.Relay { return b.relay }

func (b *Balancer) add(url string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hosts = append(b.hosts, strings.TrimPrefix(url, "http://"))
}

func (b *Balancer) close() error {
	b.stop()
	<-b.done
	return b.relay.Close()
}

// next lists the hosts in the order in which one connection tries them.
func (b *Balancer) next() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	var up, down []string
	for i := range b.hosts {
		host := b.hosts[(b.turn+i)%len(b.hosts)]
		if b.down[host] {
			down = append(down, host)
		} else {
			up = append(up, host)
		}
	}
	return append(up, down...)
}

func (b *Balancer) dial(ctx context.Context) (net.Conn, error) {
	errs := []error{errors.New("no server answers")}
	for _, host := range b.next() {
		conn, err := relaytest.To(host)(ctx)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (b *Balancer) watch(ctx context.Context) {
	defer close(b.done)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		b.mu.Lock()
		hosts := append([]string{}, b.hosts...)
		b.mu.Unlock()
		var wg sync.WaitGroup
		for _, host := range hosts {
			wg.Go(func() {
				up := answers(ctx, client, "http://"+host+"/ready")
				b.mu.Lock()
				defer b.mu.Unlock()
				b.down[host] = !up
			})
		}
		wg.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
