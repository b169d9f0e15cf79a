package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// fault is an answer that is not a success, in PostgREST's form.
type fault struct {
	status    int
	challenge string // WWW-Authenticate
	Code      string `json:"code"`
	Details   any    `json:"details"`
	Hint      any    `json:"hint"`
	Message   string `json:"message"`
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

func refuse(status int, code, message string) *fault {
	return &fault{status: status, Code: code, Message: message}
}

func (f *fault) because(format string, args ...any) *fault {
	f.Details = fmt.Sprintf(format, args...)
	return f
}

func unreadable(part, text string) *fault {
	return refuse(http.StatusBadRequest, "PGRST100", "failed to parse "+part+" ("+shorten(text)+")")
}

func invalidBody(message string) *fault { return refuse(http.StatusBadRequest, "PGRST102", message) }

func notSatisfiable() *fault {
	return refuse(http.StatusRequestedRangeNotSatisfiable, "PGRST103", "Requested range not satisfiable")
}

func notSingular(rows int64) *fault {
	return refuse(http.StatusNotAcceptable, "PGRST116", "Cannot coerce the result to a single JSON object").
		because("The result contains %d rows", rows)
}

func noColumn(relation, column string) *fault {
	return refuse(http.StatusBadRequest, "PGRST204",
		"Could not find the '"+shorten(column)+"' column of '"+relation+"' in the schema cache")
}

// statuses maps SQLSTATEs to HTTP; the longest prefix counts, and what is not listed is the caller's fault.
var statuses = map[string]int{
	"08": 503, "09": 500, "0L": 403, "0P": 403, "21000": 500, "23503": 409, "23505": 409, "25": 500, "25006": 405,
	"28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500, "42883": 404, "42P01": 404, "42P17": 500,
	"53": 503, "53400": 500, "54": 500, "55": 500, "57": 500, "57P01": 503, "58": 500, "F0": 500, "HV": 500,
	"P0": 500, "P0001": 400, "XX": 500,
}

// ofPostgres is what Postgres said; known tells whether the caller is more than anon.
func ofPostgres(e *pgconn.PgError, known bool) *fault {
	f := refuse(http.StatusBadRequest, e.Code, e.Message)
	if e.Detail != "" {
		f.Details = e.Detail
	}
	if e.Hint != "" {
		f.Hint = e.Hint
	}
	for n := len(e.Code); n > 0; n-- {
		if status, ok := statuses[e.Code[:n]]; ok {
			f.status = status
			break
		}
	}
	noRole := e.Code == "22023" && strings.HasPrefix(e.Message, "role") && strings.HasSuffix(e.Message, "does not exist")
	if rest, ok := strings.CutPrefix(e.Code, "PT"); ok {
		if n, err := strconv.Atoi(rest); err == nil && n >= 200 && n < 600 {
			f.status = n
		}
	}
	switch {
	case noRole, e.Code == "42501" && !known:
		f.status, f.challenge = http.StatusUnauthorized, "Bearer"
	case e.Code == "42501":
		f.status = http.StatusForbidden
	}
	return f
}

// writeFault answers with any error. What is neither a fault nor from Postgres stays in the log.
func (s *service) writeFault(ctx context.Context, w http.ResponseWriter, err error, known bool) {
	f, ok := errors.AsType[*fault](err)
	if e, isPg := errors.AsType[*pgconn.PgError](err); !ok && isPg {
		f, ok = ofPostgres(e, known), true
	}
	if !ok {
		f = refuse(http.StatusServiceUnavailable, "PGRST000", "Database connection error. Retrying the connection.")
	}
	if f.status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.Logger.ErrorContext(ctx, "rest request failed", slog.String("code", f.Code), slog.String("error", err.Error()))
	}
	h := w.Header()
	if f.challenge != "" {
		h.Set("WWW-Authenticate", f.challenge)
	}
	h.Set("Proxy-Status", "PostgREST; error="+f.Code)
	h.Set("Content-Type", jsonType)
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(f) // a caller who has gone misses only his own answer
}

// shorten bounds what an answer repeats of the caller's input.
func shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
