// Package logging makes Stark's loggers: slog records as JSON lines, with the
// correlation id of the context and without secrets. It owns the format and
// refuses to decide where records go or to keep a logger of its own.
package logging

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

const redacted = "[redacted]"

// The attributes that every record may carry.
const (
	KeyComponent     = "component"
	KeyCorrelationID = "correlationId"
	// KeyRecovered marks news that end what an earlier warning told.
	KeyRecovered = "recovered"
)

type contextKey struct{}

// WithCorrelationID returns a context whose records carry id.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, contextKey{}, id)
}

// CorrelationID gives the id of the context, or "".
func CorrelationID(ctx context.Context) string {
	id, _ := ctx.Value(contextKey{}).(string)
	return id
}

// maxCorrelationID bounds an id that comes from outside.
const maxCorrelationID = 128

// ValidCorrelationID reports whether an id from outside may stand in logs and
// headers: printable ASCII without spaces, of sane length.
func ValidCorrelationID(id string) bool {
	if id == "" || len(id) > maxCorrelationID {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// New makes a logger that writes JSON lines of at least level to w.
func New(w io.Writer, level slog.Leveler, component string) *slog.Logger {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: render})
	log := slog.New(handler{h})
	if component != "" {
		log = log.With(slog.String(KeyComponent, component))
	}
	return log
}

// ParseLevel reads debug, info, warn or error, in any case.
func ParseLevel(s string) (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(s))
	return l, err
}

// render hides secrets and writes durations as people read them: JSON would have
// nanoseconds without a unit.
func render(groups []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return Redact(groups, a)
}

// Redact hides values whose key names a secret; it is a ReplaceAttr function.
func Redact(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindGroup && secretKey(a.Key) {
		return slog.String(a.Key, redacted)
	}
	return a
}

// secretKey looks at the letters of the key alone, so that access_token,
// accessToken and Access-Token are one.
func secretKey(key string) bool {
	k := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(key))
	switch k {
	case "authorization", "cookie", "setcookie", "apikey", "jwt", "dsn", "databaseurl", "dburl", "signedurl":
		return true
	}
	for _, end := range []string{"password", "passwd", "secret", "token", "credential", "credentials", "privatekey", "servicerolekey", "secretkey", "anonkey"} {
		if strings.HasSuffix(k, end) {
			return true
		}
	}
	return false
}

// handler adds the correlation id of the context.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := CorrelationID(ctx); id != "" {
		r.AddAttrs(slog.String(KeyCorrelationID, id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name)}
}
