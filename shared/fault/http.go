package fault

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strconv"
	"time"
)

// The HTTP statuses are written as numbers so that package net/http stays out
// of what a browser tab loads.
var statuses = map[Code]int{
	AuthenticationRequired: 401,
	InvalidCredentials:     401,
	TokenExpired:           401,
	TokenInvalid:           401,
	UserNotFound:           401,
	AuthenticationFailed:   401,
	Forbidden:              403,
	Validation:             400,
	NotFound:               404,
	MethodNotAllowed:       405,
	Conflict:               409,
	ReservedName:           400,
	NamespaceTerminating:   409,
	QuotaExceeded:          403,
	InvalidState:           400,
	SameVersion:            400,
	VersionNotFound:        404,
	PayloadTooLarge:        413,
	UnsupportedMediaType:   415,
	RateLimited:            429,
	Gone:                   410,
	Stale:                  409,
	KeyReused:              422,
	InProgress:             409,
	Timeout:                504,
	Unavailable:            503,
	Internal:               500,
}

// Status gives the HTTP status of a code; 500 for one it does not know.
func Status(code Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return 500
}

// Codes gives every known code and its HTTP status.
func Codes() map[Code]int { return maps.Clone(statuses) }

// Retryable reports whether the same request may succeed a little later.
func Retryable(err error) bool {
	switch CodeOf(err) {
	case RateLimited, Unavailable, Timeout, InProgress:
		return true
	default:
		return false
	}
}

// Envelope is the body of every failed answer.
type Envelope struct {
	Success bool `json:"success"` // always false
	Error   Body `json:"error"`
}

// Body is what the caller learns of a failure.
type Body struct {
	Code       Code           `json:"code"`
	Message    string         `json:"message"`
	Details    map[string]any `json:"details,omitempty"`
	RetryAfter int            `json:"retryAfter,omitempty"` // seconds
}

// ToEnvelope gives the body for err. What is no Error tells the caller nothing:
// its text may hold secrets and belongs in the log.
func ToEnvelope(err error) Envelope {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return Envelope{Error: Body{Code: Internal, Message: "an internal error occurred"}}
	}
	return Envelope{Error: Body{
		Code: e.Code, Message: e.Message, Details: e.Details,
		RetryAfter: int(math.Ceil(e.RetryAfter.Seconds())),
	}}
}

// FromHTTP rebuilds the Error of a failed answer from its status, its
// Retry-After header and its body. A body without an envelope, as a proxy sends
// it, gives the code that fits the status.
func FromHTTP(status int, retryAfter string, body []byte) *Error {
	e := &Error{}
	var envelope Envelope
	if json.Unmarshal(body, &envelope) == nil && envelope.Error.Code != "" {
		e = envelope.Error.Fault()
	} else {
		e.Code = codeOfStatus(status)
		e.Message = "the server answered with HTTP status " + strconv.Itoa(status)
	}
	if e.RetryAfter == 0 {
		if seconds, err := strconv.Atoi(retryAfter); err == nil && seconds > 0 {
			e.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return e
}

// urlError is *url.Error without its package, which a browser tab would have to load.
type urlError interface {
	error
	Timeout() bool
	Unwrap() error
}

// FromNetwork makes the Error of a request that got no answer. The cause of
// net/http names the whole URL; the message keeps the host alone.
func FromNetwork(err error, host string) *Error {
	if u, ok := errors.AsType[urlError](err); ok {
		err = u.Unwrap()
		if u.Timeout() {
			return Wrap(err, Timeout, "no answer from %s in time", host)
		}
	}
	return Wrap(err, Unavailable, "cannot reach %s", host)
}

// Fault rebuilds the Error that the body tells of.
func (b Body) Fault() *Error {
	return &Error{
		Code: b.Code, Message: b.Message, Details: typedDetails(b),
		RetryAfter: time.Duration(b.RetryAfter) * time.Second,
	}
}

// typedDetails turns the details of a validation fault back into Field values.
func typedDetails(b Body) map[string]any {
	if b.Code != Validation {
		return b.Details
	}
	for path, v := range b.Details {
		m, ok := v.(map[string]any)
		if !ok {
			continue
		}
		code, okCode := m["code"].(string)
		message, okMessage := m["message"].(string)
		if okCode && okMessage {
			b.Details[path] = Field{Code: code, Message: message}
		}
	}
	return b.Details
}

func codeOfStatus(status int) Code {
	switch status {
	case 400, 422:
		return Validation
	case 401:
		return AuthenticationFailed
	case 403:
		return Forbidden
	case 404:
		return NotFound
	case 405:
		return MethodNotAllowed
	case 409, 412:
		return Conflict
	case 410:
		return Gone
	case 413:
		return PayloadTooLarge
	case 415:
		return UnsupportedMediaType
	case 429:
		return RateLimited
	case 408, 504:
		return Timeout
	case 502, 503:
		return Unavailable
	default:
		return Internal
	}
}
