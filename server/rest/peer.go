package rest

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peer gives the address of who sent a request. X-Forwarded-For is read only
// when the connection comes from a configured proxy, and from its end: the last
// address that is not such a proxy's is the caller's, all before it is hearsay.
func (s *server) peer(r *http.Request) netip.Addr {
	addr := remote(r)
	if !s.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return addr
		}
		addr = next.Unmap()
		if !s.trusted(addr) {
			return addr
		}
	}
	return addr
}

func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

func (s *server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// local reports whether a request was made on this machine by a person or
// program, rather than relayed by a proxy or sent by a web page under another
// name.
func (s *server) local(r *http.Request) bool {
	for _, h := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host := r.Host
	if h, err := netip.ParseAddrPort(host); err == nil {
		host = h.Addr().String()
	} else if name, _, found := strings.Cut(host, ":"); found && !strings.HasPrefix(host, "[") {
		host = name
	}
	host = strings.Trim(host, "[]")
	named, err := netip.ParseAddr(host)
	return remote(r).IsLoopback() && (host == "localhost" || (err == nil && named.IsLoopback()))
}

// rateKey groups the addresses that one caller commands: a whole /64 of IPv6.
func rateKey(a netip.Addr) string {
	const network = 64
	if a.Is6() {
		if p, err := a.Prefix(network); err == nil {
			return p.String()
		}
	}
	return a.String()
}
