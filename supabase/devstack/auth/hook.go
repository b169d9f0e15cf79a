package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// runHook asks the custom access token function for the claims. It runs in the transaction of the sign-in,
// as supabase_auth_admin, and may take two seconds.
func (s *service) runHook(ctx context.Context, tx pgx.Tx, r *http.Request, g grant, claims map[string]any) (map[string]any, error) {
	ip := ""
	if remote := remoteIP(r); remote != nil {
		ip = *remote
	}
	event, err := json.Marshal(map[string]any{
		"user_id": g.user.ID, "claims": claims, "authentication_method": g.method,
		"metadata": map[string]any{
			"uuid": uuid.NewString(), "time": s.now().UTC().Format(time.RFC3339Nano),
			"name": "customize-access-token", "ip_address": ip,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("hook: %w", err)
	}
	output, err := s.callHook(ctx, tx, event)
	if err != nil {
		return nil, err
	}
	return checkHookOutput(output)
}

func (s *service) callHook(ctx context.Context, tx pgx.Tx, event []byte) (json.RawMessage, error) {
	limit := strconv.FormatInt(hookLimit.Milliseconds(), 10)
	if _, err := tx.Exec(ctx, "set local statement_timeout = "+limit); err != nil {
		return nil, fmt.Errorf("hook: %w", err)
	}
	var output json.RawMessage
	err := tx.QueryRow(ctx, "select "+s.Hook.Sanitize()+"($1::jsonb)", string(event)).Scan(&output)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		if pgErr.Code == "57014" {
			return nil, s.hookFailed(ctx, "Failed to run the hook within 2 seconds", err)
		}
		if _, _, meant := raised(err); meant {
			return nil, err
		}
		return nil, s.hookFailed(ctx, "Error running hook", err)
	}
	if err != nil {
		return nil, fmt.Errorf("hook: %w", err)
	}
	if _, err := tx.Exec(ctx, "set local statement_timeout to default"); err != nil {
		return nil, fmt.Errorf("hook: %w", err)
	}
	return output, nil
}

func (s *service) hookFailed(ctx context.Context, message string, err error) error {
	s.logFailure(ctx, "hook "+s.Hook.Sanitize(), err)
	return unexpected(message)
}

// required are the claims without which nobody could use a token, with the check of each.
var required = map[string]func(any) bool{
	"aud": isAudience, "exp": isNumber, "iat": isNumber, "sub": isString, "email": isString, "phone": isString,
	"role": isString, "aal": isString, "session_id": isString, "is_anonymous": isBool,
}

func isString(v any) bool { _, ok := v.(string); return ok }
func isBool(v any) bool   { _, ok := v.(bool); return ok }

func isNumber(v any) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	_, err := n.Int64()
	return err == nil
}

func isAudience(v any) bool {
	_, list := v.([]any)
	return list || isString(v)
}

func checkHookOutput(output json.RawMessage) (map[string]any, error) {
	var parsed struct {
		Claims map[string]any `json:"claims"`
		Error  *struct {
			HTTPCode int    `json:"http_code"`
			Message  string `json:"message"`
		} `json:"error"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	decoder.UseNumber() // exp and iat stay whole numbers
	if err := decoder.Decode(&parsed); err != nil {
		return nil, unexpected("Error unmarshaling JSON output.")
	}
	if parsed.Error != nil && (parsed.Error.Message != "" || parsed.Error.HTTPCode != 0) {
		status := parsed.Error.HTTPCode
		if status < 400 || status > 599 {
			status = http.StatusInternalServerError
		}
		return nil, fail(status, "unknown", parsed.Error.Message)
	}
	for name, valid := range required {
		if value, ok := parsed.Claims[name]; !ok || !valid(value) {
			return nil, unexpected("output claims do not conform to the expected schema: " + name)
		}
	}
	return parsed.Claims, nil
}
