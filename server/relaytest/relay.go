// Package relaytest is a TCP relay on loopback whose faults a test commands: it can
// stop passing bytes on without closing anything, as a machine that has frozen does,
// reset its connections, refuse new ones, and lose one question or one answer. It
// knows no protocol.
package relaytest

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"time"
)

// Dial opens the far side of a connection.
type Dial func(ctx context.Context) (net.Conn, error)

// To dials one address.
func To(address string) Dial {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	}
}

// loss is what is lost of the next exchange.
type loss int

const (
	lostNothing  loss = iota
	lostQuestion      // the far side never gets it
	lostAnswer        // the far side has done what it was asked; nobody learns of it
)

// Relay is one listening relay. Its methods are safe for concurrent use.
type Relay struct {
	listener net.Listener
	dial     Dial
	cancel   context.CancelFunc
	ctx      context.Context //nolint:containedctx // the life of the relay: Close ends it
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[*pair]struct{}
	thawed chan struct{} // open while frozen
	refuse bool
	delay  time.Duration // of each chunk, each way
	lose   loss
}

// pair is one connection through the relay.
type pair struct{ near, far net.Conn }

func (p *pair) reset() {
	for _, c := range []net.Conn{p.near, p.far} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as of a machine that has gone
		}
		_ = c.Close()
	}
}

// New listens on a free port of loopback until Close.
func New(ctx context.Context, dial Dial) (*Relay, error) { return NewAt(ctx, "127.0.0.1", dial) }

// NewAt is New on another address of this machine.
func NewAt(ctx context.Context, host string, dial Dial) (*Relay, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, dial: dial, conns: map[*pair]struct{}{}, thawed: make(chan struct{})}
	close(r.thawed)
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.wg.Go(r.accept)
	return r, nil
}

// Addr is host:port of the relay.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// URL is address with the relay in place of its host.
func (r *Relay) URL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u.Host = r.Addr()
	return u.String(), nil
}

// Close ends the relay and its connections.
func (r *Relay) Close() error {
	r.cancel()
	err := r.listener.Close()
	r.Cut()
	r.wg.Wait()
	return err
}

// Freeze stops passing bytes on; nothing is closed. New connections are taken, and
// nobody answers on them.
func (r *Relay) Freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.thawed:
		r.thawed = make(chan struct{})
	default:
	}
}

// Thaw passes on what has waited.
func (r *Relay) Thaw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.thawed:
	default:
		close(r.thawed)
	}
}

// Refuse says whether new connections are closed at once.
func (r *Relay) Refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = on
}

// Delay holds every chunk up for d.
func (r *Relay) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Cut resets every connection and tells how many there were.
func (r *Relay) Cut() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.conns)
	for p := range r.conns {
		p.reset()
	}
	return n
}

// LoseQuestion resets the connection that asks something next, before the far side
// has heard of it.
func (r *Relay) LoseQuestion() { r.arm(lostQuestion) }

// LoseAnswer resets the connection on which something is answered next: what was
// asked is done, and whoever asked cannot know.
func (r *Relay) LoseAnswer() { r.arm(lostAnswer) }

func (r *Relay) arm(l loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = l
}

// Armed reports whether the loss that was asked for is yet to happen.
func (r *Relay) Armed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lose != lostNothing
}

func (r *Relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		refuse := r.refuse
		r.mu.Unlock()
		if refuse {
			(&pair{near, near}).reset()
			continue
		}
		r.wg.Go(func() { r.connect(near) })
	}
}

func (r *Relay) connect(near net.Conn) {
	far, err := r.dial(r.ctx)
	if err != nil {
		(&pair{near, near}).reset()
		return
	}
	p := &pair{near, far}
	r.mu.Lock()
	r.conns[p] = struct{}{}
	r.mu.Unlock()
	if r.ctx.Err() != nil {
		p.reset() // Close may have looked before it was there
	}
	var ways sync.WaitGroup
	ways.Go(func() { r.copy(p, far, near, lostQuestion) })
	ways.Go(func() { r.copy(p, near, far, lostAnswer) })
	ways.Wait()
	_, _ = near.Close(), far.Close()
	r.mu.Lock()
	delete(r.conns, p)
	r.mu.Unlock()
}

var errLost = errors.New("lost")

// copy passes one way on; its end is passed on too, behind the gate.
func (r *Relay) copy(p *pair, to, from net.Conn, way loss) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if r.pass(n, way) != nil {
			p.reset()
			return
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// pass waits until a chunk may go on, or says that it is lost.
func (r *Relay) pass(n int, way loss) error {
	r.mu.Lock()
	gate, delay := r.thawed, r.delay
	lost := n > 0 && r.lose == way
	if lost {
		r.lose = lostNothing
	}
	r.mu.Unlock()
	if lost {
		return errLost
	}
	select {
	case <-gate:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	if delay <= 0 {
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}
