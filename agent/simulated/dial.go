package simulated

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/stark-orchestrator/stark/agent"
	"github.com/stark-orchestrator/stark/agent/wsconn"
)

// traffic counts the frames of a fleet.
type traffic struct {
	framesIn, framesOut, bytesIn, bytesOut atomic.Int64
}

// line is the connection of one agent to the server: it counts, and can be cut.
type line struct {
	dialer  wsconn.Dialer
	traffic *traffic
	now     atomic.Pointer[cable]
	isCut   atomic.Bool // by cut, and not registered since
}

// Dial implements agent.Dialer.
func (l *line) Dial(ctx context.Context, url, token string) (agent.Conn, error) {
	conn, err := l.dialer.Dial(ctx, url, token)
	if err != nil {
		return nil, err
	}
	c := &cable{Conn: conn, traffic: l.traffic}
	l.now.Store(c)
	return c, nil
}

// cut breaks the connection that there is, without a word to the server.
func (l *line) cut() {
	if c := l.now.Load(); c != nil {
		l.isCut.Store(true)
		_ = c.Close(agent.CloseGoingAway, "") // it may be gone already
	}
}

// cable is one connection.
type cable struct {
	agent.Conn
	traffic *traffic
}

func (c *cable) Read(ctx context.Context) ([]byte, error) {
	frame, err := c.Conn.Read(ctx)
	if err == nil {
		c.traffic.framesIn.Add(1)
		c.traffic.bytesIn.Add(int64(len(frame)))
	}
	return frame, err
}

func (c *cable) Write(ctx context.Context, frame []byte) error {
	err := c.Conn.Write(ctx, frame)
	if err == nil {
		c.traffic.framesOut.Add(1)
		c.traffic.bytesOut.Add(int64(len(frame)))
	}
	return err
}

// client gives an HTTP client that dials from a local address; the zero address leaves
// it to the machine.
func client(from netip.Addr) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	return &http.Client{Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
}
