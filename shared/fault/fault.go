// Package fault is Stark's typed error: one code per kind of failure, the same
// from the database to the command line. It knows no transport; the HTTP status
// of a code is data that server/rest and shared/client both read.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code names a kind of failure on the wire.
type Code string

// The codes of the public API.
const (
	AuthenticationRequired Code = "AUTHENTICATION_REQUIRED"
	InvalidCredentials     Code = "UNAUTHORIZED"
	TokenExpired           Code = "TOKEN_EXPIRED"
	TokenInvalid           Code = "TOKEN_INVALID"
	UserNotFound           Code = "USER_NOT_FOUND"
	AuthenticationFailed   Code = "AUTHENTICATION_FAILED"
	Forbidden              Code = "FORBIDDEN"
	Validation             Code = "VALIDATION_ERROR"
	NotFound               Code = "NOT_FOUND"
	MethodNotAllowed       Code = "METHOD_NOT_ALLOWED"
	Conflict               Code = "CONFLICT"
	ReservedName           Code = "RESERVED_NAME"
	NamespaceTerminating   Code = "NAMESPACE_TERMINATING"
	QuotaExceeded          Code = "QUOTA_EXCEEDED"
	InvalidState           Code = "INVALID_STATE"
	SameVersion            Code = "SAME_VERSION"
	VersionNotFound        Code = "VERSION_NOT_FOUND"
	PayloadTooLarge        Code = "PAYLOAD_TOO_LARGE"
	UnsupportedMediaType   Code = "UNSUPPORTED_MEDIA_TYPE"
	RateLimited            Code = "RATE_LIMIT_EXCEEDED"
	Gone                   Code = "GONE"
	Stale                  Code = "STALE"                  // the decision or report is about an older incarnation, epoch or attempt
	KeyReused              Code = "IDEMPOTENCY_KEY_REUSED" // the key came with another request before
	InProgress             Code = "REQUEST_IN_PROGRESS"    // the first request with this key has not ended
	Timeout                Code = "TIMEOUT"
	Unavailable            Code = "SERVICE_UNAVAILABLE"
	Internal               Code = "INTERNAL_ERROR"
)

// Field is what is wrong with one field of the input.
type Field struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error is a failure with a code. Message is safe to show to the caller; Cause
// is for logs only and never leaves the process.
type Error struct {
	Code       Code
	Message    string
	Details    map[string]any // field path -> Field for Validation
	RetryAfter time.Duration  // for RateLimited and Unavailable; 0 means unknown
	Cause      error
}

// New makes an Error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error that keeps its cause for the log.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// Error tells code, message and cause; it is meant for logs.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf gives the code of the first Error in err's chain, Internal for any
// other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
