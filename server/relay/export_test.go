package relay

import (
	"context"
	"log/slog"
	"net"
	"net/http"
)

// NewOver is New with connections of another kind.
func NewOver(log *slog.Logger, db Database, local Source, dial func(context.Context, string, string) (net.Conn, error)) *Relay {
	r := New(Config{DB: db, Local: local, Logger: log})
	r.client.Transport.(*http.Transport).DialContext = dial
	return r
}

// CloseIdle closes connections that nobody uses.
func (r *Relay) CloseIdle() { r.client.CloseIdleConnections() }
