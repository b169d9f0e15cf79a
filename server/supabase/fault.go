package supabase

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// retryLater is what callers are told where Supabase gives no time itself.
const retryLater = 2 * time.Second

// answer holds the keys of all three dialects: the gateway sends message alone;
// GoTrue code (a number, or a string in its newer dialect) with error_code and
// msg or message; Storage statusCode (a string, or a number for unknown routes),
// error, message and code.
type answer struct {
	Code       json.RawMessage `json:"code"`
	ErrorCode  string          `json:"error_code"`
	Msg        string          `json:"msg"`
	Message    string          `json:"message"`
	StatusCode json.RawMessage `json:"statusCode"`
	Weak       struct {
		Reasons []string `json:"reasons"`
	} `json:"weak_password"`
}

func parse(body []byte) answer {
	var a answer
	if json.Unmarshal(body, &a) != nil {
		return answer{}
	}
	return a
}

// code gives the word that says what went wrong, or "".
func (a answer) code() string {
	if a.ErrorCode != "" {
		return a.ErrorCode
	}
	var s string
	if json.Unmarshal(a.Code, &s) == nil {
		return s
	}
	return ""
}

func (a answer) status(fallback int) int {
	var s string
	if json.Unmarshal(a.StatusCode, &s) == nil {
		if n, err := strconv.Atoi(s); err == nil {
			return n
		}
	}
	var n int
	if json.Unmarshal(a.StatusCode, &n) == nil && n != 0 {
		return n
	}
	return fallback
}

func field(path, code, message string) *fault.Error {
	e := fault.New(fault.Validation, "%s: %s", path, message)
	e.Details = map[string]any{path: fault.Field{Code: code, Message: message}}
	return e
}

func unavailable(service string, status int, code string) *fault.Error {
	e := fault.Wrap(&upstreamError{service: service, status: status, code: code}, fault.Unavailable, "%s is not available", service)
	e.RetryAfter = retryLater
	return e
}

// upstreamError keeps for the log what the service said, without its text.
type upstreamError struct {
	service string
	status  int
	code    string
}

// Error names service, status and code.
func (e *upstreamError) Error() string {
	return e.service + " answered " + strconv.Itoa(e.status) + " " + e.code
}

// AuthFault turns an error answer of GoTrue, or of the gateway before it, into a
// fault. It decides on the code, never on the text.
func AuthFault(status int, body []byte) *fault.Error {
	a := parse(body)
	cause := &upstreamError{service: "Supabase Auth", status: status, code: a.code()}
	wrap := func(code fault.Code, message string) *fault.Error { return fault.Wrap(cause, code, "%s", message) }
	switch a.code() {
	case "invalid_credentials":
		return wrap(fault.InvalidCredentials, "wrong e-mail or password")
	case "user_already_exists", "email_exists", "conflict":
		return wrap(fault.Conflict, "a user with this e-mail exists already")
	case "weak_password":
		return field("password", fault.FieldTooShort, "the password is too weak for this project")
	case "same_password":
		return field("password", fault.FieldInvalidValue, "the new password must differ from the old one")
	case "validation_failed", "bad_json", "email_address_invalid":
		return wrap(fault.Validation, "Supabase Auth refused the input")
	case "email_not_confirmed":
		return wrap(fault.Forbidden, "the e-mail address is not confirmed yet")
	case "user_banned":
		return wrap(fault.Forbidden, "this account is locked")
	case "signup_disabled", "email_provider_disabled":
		return wrap(fault.Forbidden, "sign-up is switched off for this project")
	case "refresh_token_not_found", "refresh_token_already_used", "session_not_found", "session_expired", "bad_jwt", "no_authorization":
		return wrap(fault.TokenInvalid, "the session is no longer valid")
	case "user_not_found":
		return wrap(fault.UserNotFound, "there is no such user")
	case "over_request_rate_limit", "over_email_send_rate_limit":
		e := wrap(fault.RateLimited, "Supabase Auth asks to slow down")
		e.RetryAfter = time.Minute
		return e
	}
	switch {
	case status == http.StatusTooManyRequests:
		e := wrap(fault.RateLimited, "Supabase Auth asks to slow down")
		e.RetryAfter = time.Minute
		return e
	case status == http.StatusForbidden && a.code() == "unknown":
		return wrap(fault.Forbidden, "the project's access token hook refused the sign-in")
	}
	return unavailable("Supabase Auth", status, a.code())
}

// StorageFault turns an error answer of Storage into a fault. Its HTTP status is
// 400 for nearly everything, so the code decides.
func StorageFault(status int, body []byte) *fault.Error {
	a := parse(body)
	cause := &upstreamError{service: "Supabase Storage", status: a.status(status), code: a.code()}
	wrap := func(code fault.Code, message string) *fault.Error { return fault.Wrap(cause, code, "%s", message) }
	switch a.code() {
	case "NoSuchKey":
		return wrap(fault.NotFound, "the object does not exist")
	case "NoSuchBucket":
		return wrap(fault.Unavailable, "the bucket for bundles does not exist: the migrations have not been applied")
	case "KeyAlreadyExists", "ResourceAlreadyExists", "BucketAlreadyExists":
		return wrap(fault.Conflict, "the object exists already")
	case "AccessDenied":
		return wrap(fault.Forbidden, "Storage refuses this object to the caller")
	case "EntityTooLarge":
		return wrap(fault.PayloadTooLarge, "the object is too large for the bucket")
	case "InvalidMimeType":
		return wrap(fault.UnsupportedMediaType, "the bucket does not take this content type")
	case "InvalidKey":
		return wrap(fault.Validation, "the object's name is not allowed")
	case "InvalidJWT":
		return wrap(fault.TokenInvalid, "the signed URL is not valid")
	}
	if a.status(status) == http.StatusNotFound && a.code() == "" {
		return unavailable("Supabase Storage", status, "unknown route")
	}
	return unavailable("Supabase Storage", status, a.code())
}
