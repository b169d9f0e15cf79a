package server

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
)

// advertised is where other servers reach this one: as it was told, else the address it
// listens on. One that listens on all addresses names the one from which it reaches the
// database, which the others reach as well.
func (s *Server) advertised(ctx context.Context) string {
	if s.config.AdvertiseURL != "" {
		return s.config.AdvertiseURL
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		return s.URL()
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || !addr.IsUnspecified() {
		return s.URL()
	}
	host, err := localAddress(ctx, s.config.DatabaseURL)
	if err != nil {
		if host, err = os.Hostname(); err != nil {
			return s.URL()
		}
	}
	return "http://" + net.JoinHostPort(host, u.Port())
}

// localAddress gives our address on the way to a database. It sends nothing: a UDP
// socket that is connected knows its own address.
func localAddress(ctx context.Context, database string) (string, error) {
	const defaultPort = 5432
	u, err := url.Parse(database)
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		port = strconv.Itoa(defaultPort)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).IP.String(), nil
}
