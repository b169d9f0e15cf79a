package auth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/supabase/devstack/patience"
)

// apiError is an answer that GoTrue would give. Reasons are those of a weak password.
type apiError struct {
	status  int
	code    string
	message string
	reasons []string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(status int, code, message string) *apiError {
	return &apiError{status: status, code: code, message: message}
}

func invalid(message string) *apiError {
	return fail(http.StatusBadRequest, "validation_failed", message)
}

func unexpected(message string) *apiError {
	return fail(http.StatusInternalServerError, "unexpected_failure", message)
}

const (
	versionHeader = "X-Supabase-Api-Version"
	newDialect    = "2024-01-01"
)

// writeError answers in the dialect that the request asks for. Anything that is not an apiError is a fault
// of ours: its text goes to the log, not to the caller.
func (s *service) writeError(w http.ResponseWriter, r *http.Request, err error) {
	if body, status, ok := raised(err); ok {
		writeJSON(w, status, body)
		return
	}
	api, ok := errors.AsType[*apiError](err)
	if pgErr, isPg := errors.AsType[*pgconn.PgError](err); isPg && (pgErr.Code == "22021" || pgErr.Code == "22P05") {
		// Postgres stores no NUL, however it is written.
		api, ok = invalid("The request holds a character that cannot be stored"), true
	}
	if !ok && patience.Away(r.Context()) {
		api, ok = fail(http.StatusGatewayTimeout, "request_timeout", "Processing this request timed out, please retry after a moment."), true
	}
	if !ok {
		s.logFailure(r.Context(), r.URL.Path, err)
		api = unexpected("Unexpected failure, please check server logs for more information")
	}
	body := map[string]any{}
	modern := r.Header.Get(versionHeader) == newDialect
	if modern {
		w.Header().Set(versionHeader, newDialect)
		body["code"], body["message"] = api.code, api.message
	} else {
		body["code"], body["error_code"], body["msg"] = api.status, api.code, api.message
	}
	if api.code == "weak_password" {
		body["weak_password"] = map[string]any{"reasons": api.reasons}
	}
	if !modern || api.code != "weak_password" {
		w.Header().Set("X-Sb-Error-Code", api.code)
	}
	if api.status >= http.StatusInternalServerError && !modern {
		body["error_id"] = uuid.NewString()
	}
	writeJSON(w, api.status, body)
}

func (s *service) logFailure(ctx context.Context, path string, err error) {
	if errors.Is(err, context.Canceled) {
		return // the caller went away
	}
	s.log.ErrorContext(ctx, "request failed", slog.String("path", path), slog.Any("error", err))
}

// public are the SQLSTATEs whose text is meant for the caller: what the application's own SQL raised on purpose
// in a hook or a trigger, and what one of its constraints refuses.
var public = []string{"P0001", "23000", "23001", "23502", "23503", "23505", "23514", "23P01"}

// raised recognises such errors. SQLSTATEs PTnnn carry the HTTP status.
func raised(err error) (body map[string]any, status int, ok bool) {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return nil, 0, false
	}
	status = http.StatusInternalServerError
	if rest, isStatus := strings.CutPrefix(pgErr.Code, "PT"); isStatus {
		if n, err := strconv.Atoi(rest); err == nil && n >= 400 && n < 600 {
			status = n
		}
	} else if !slices.Contains(public, pgErr.Code) {
		return nil, 0, false
	}
	body = map[string]any{"code": pgErr.Code, "message": pgErr.Message}
	if pgErr.Detail != "" {
		body["detail"] = pgErr.Detail
	}
	if pgErr.Hint != "" {
		body["hint"] = pgErr.Hint
	}
	return body, status, true
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller who has gone misses only his own answer
}
