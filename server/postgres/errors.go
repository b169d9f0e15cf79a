package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// retryAfter is what a caller is told while the database is away.
const retryAfter = 2 * time.Second

// ownConflict is a unique violation that our own trigger raises, with a message
// that is written for the caller.
const ownConflict = "stark.pack_name_taken"

// raised maps the SQLSTATEs that our own triggers and functions raise; their
// messages are written for the caller.
var raised = map[string]fault.Code{
	"ST400": fault.Validation,
	"ST403": fault.Forbidden,
	"ST404": fault.NotFound,
	"ST409": fault.Conflict,
	"PT409": fault.Conflict, // HTTP 409 to Auth and PostgREST, too
	"STQUO": fault.QuotaExceeded,
	"STTRM": fault.NamespaceTerminating,
	"STINV": fault.InvalidState,
	"STSTL": fault.Stale,
	"STSAM": fault.SameVersion,
	"STVER": fault.VersionNotFound,
}

// builtin maps Postgres' own SQLSTATEs, with a message that tells nothing of SQL.
var builtin = map[string]struct {
	code    fault.Code
	message string
}{
	"42501": {fault.Forbidden, "you may not do this"},
	"23505": {fault.Conflict, "it exists already"},
	"23503": {fault.Conflict, "something that this needs does not exist, or something still needs this"},
	"23514": {fault.Validation, "a value is out of bounds"},
	"23502": {fault.Validation, "a value is missing"},
	"22P02": {fault.Validation, "a value is malformed"},
	"22001": {fault.Validation, "a value is too long"},
	"22003": {fault.Validation, "a number is out of range"},
	"22007": {fault.Validation, "a time is malformed"},
	"22008": {fault.Validation, "a time is out of range"},
	"22021": {fault.Validation, "a text holds characters that cannot be stored"},
	"22P05": {fault.Validation, "a text holds characters that cannot be stored"},
	"40001": {fault.Unavailable, "too many changes at once, try again"},
	"40P01": {fault.Unavailable, "too many changes at once, try again"},
	"55P03": {fault.Unavailable, "another change takes too long, try again"},
	"57014": {fault.Timeout, "the database took too long"},
	"25P03": {fault.Timeout, "the database took too long"},
}

// toFault turns any failure of a database call into a fault.Error that says
// which operation failed, but only to the log.
func toFault(op string, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	cause := fmt.Errorf("%s: %w", op, err)
	switch pgErr, ok := errors.AsType[*pgconn.PgError](err); {
	case ok:
		return pgFault(cause, pgErr)
	case errors.Is(err, pgx.ErrNoRows):
		return fault.Wrap(cause, fault.NotFound, "not found")
	case errors.Is(err, context.Canceled):
		return fault.Wrap(cause, fault.Timeout, "the request was given up")
	case connectionLost(err):
		return unavailable(cause)
	case errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err):
		return fault.Wrap(cause, fault.Timeout, "the database took too long")
	default:
		return fault.Wrap(cause, fault.Internal, "internal error")
	}
}

const checkViolation = "23514"

// fieldOf names the field that a check refused: our constraints are called
// <table>_<column>_<rule>.
func fieldOf(e *pgconn.PgError) map[string]any {
	name, ours := strings.CutPrefix(e.ConstraintName, e.TableName+"_")
	last := strings.LastIndexByte(name, '_')
	if !ours || last <= 0 {
		return nil
	}
	words := strings.Split(name[:last], "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:min(1, len(w))]) + w[min(1, len(w)):]
	}
	return map[string]any{strings.Join(words, ""): fault.Field{Code: fault.FieldInvalidValue, Message: "is malformed, too large or out of range"}}
}

func unavailable(cause error) *fault.Error {
	f := fault.Wrap(cause, fault.Unavailable, "the database is not available")
	f.RetryAfter = retryAfter
	return f
}

func pgFault(cause error, e *pgconn.PgError) *fault.Error {
	if code, ok := raised[e.Code]; ok {
		f := fault.Wrap(cause, code, "%s", e.Message)
		f.Details = details(code, e.Detail)
		return f
	}
	if e.ConstraintName == ownConflict {
		return fault.Wrap(cause, fault.Conflict, "%s", e.Message)
	}
	if b, ok := builtin[e.Code]; ok {
		f := fault.Wrap(cause, b.code, "%s", b.message)
		if e.Code == checkViolation {
			f.Details = fieldOf(e)
		}
		if b.code == fault.Unavailable {
			f.RetryAfter = retryAfter
		}
		return f
	}
	if gone(e.Code) {
		return unavailable(cause)
	}
	return fault.Wrap(cause, fault.Internal, "internal error")
}

// gone reports whether a SQLSTATE says that the server is away, going away, or
// will not have us now.
func gone(code string) bool {
	for _, class := range []string{"08", "53", "57P", "28"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// connectionLost reports whether a failure is about the connection and not the
// statement.
func connectionLost(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF)
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed")
}

// details reads the JSON that our triggers put into DETAIL. Anything else is
// dropped, as it may quote rows.
func details(code fault.Code, text string) map[string]any {
	if text == "" {
		return nil
	}
	if code == fault.Validation {
		var fields map[string]fault.Field
		if json.Unmarshal([]byte(text), &fields) != nil {
			return nil
		}
		m := make(map[string]any, len(fields))
		for k, v := range fields {
			m[k] = v
		}
		return m
	}
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) != nil {
		return nil
	}
	return m
}

// notFound names what was not found, where err says no more than that.
func notFound(err error, what string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.NotFound && errors.Is(f.Cause, pgx.ErrNoRows) {
		return fault.Wrap(f.Cause, fault.NotFound, "%s not found", what)
	}
	return err
}

// conflictOn gives the fault if err is the violation of this constraint.
func conflictOn(err error, constraint string) *fault.Error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Cause == nil {
		return nil
	}
	e, ok := errors.AsType[*pgconn.PgError](f.Cause)
	if !ok || e.ConstraintName != constraint {
		return nil
	}
	return f
}
