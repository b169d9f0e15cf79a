package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// fault is an answer that is not a success. status is what the body says;
// http is what the status line says, which the real server keeps at 400 for
// nearly everything.
type fault struct {
	http    int
	status  int
	name    string
	code    string
	message string
	cause   error
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.message + ": " + f.cause.Error()
	}
	return f.message
}

func (f *fault) Unwrap() error { return f.cause }

func refuse(status int, name, code, message string) *fault {
	return &fault{http: http.StatusBadRequest, status: status, name: name, code: code, message: message}
}

func noSuchBucket() *fault {
	return refuse(http.StatusNotFound, "Bucket not found", "NoSuchBucket", "Bucket not found")
}

func noSuchKey() *fault {
	return refuse(http.StatusNotFound, "not_found", "NoSuchKey", "Object not found")
}

func duplicate(code string) *fault {
	return refuse(http.StatusConflict, "Duplicate", code, "The resource already exists")
}

func accessDenied(message string) *fault {
	return refuse(http.StatusForbidden, "Unauthorized", "AccessDenied", message)
}

func invalidRequest(format string, args ...any) *fault {
	return refuse(http.StatusBadRequest, "Error", "InvalidRequest", fmt.Sprintf(format, args...))
}

func malformedBody(message string) *fault {
	return refuse(http.StatusBadRequest, "FastifyError", "InvalidRequest", message)
}

func invalidKey(key string) *fault {
	return refuse(http.StatusBadRequest, "InvalidKey", "InvalidKey", "Invalid key: "+shorten(key))
}

func invalidBucketName() *fault {
	return refuse(http.StatusBadRequest, "Invalid Input", "InvalidBucketName", "Bucket name invalid")
}

func invalidMIME(mime string) *fault {
	return refuse(http.StatusUnsupportedMediaType, "invalid_mime_type", "InvalidMimeType",
		"mime type "+shorten(mime)+" is not supported")
}

func invalidJWT(message string) *fault {
	return refuse(http.StatusBadRequest, "InvalidJWT", "InvalidJWT", message)
}

func invalidSignature() *fault {
	return refuse(http.StatusBadRequest, "InvalidSignature", "InvalidSignature", "Invalid signature")
}

func tooLarge() *fault {
	return refuse(http.StatusRequestEntityTooLarge, "Payload too large", "EntityTooLarge",
		"The object exceeded the maximum allowed size")
}

func notEmpty() *fault {
	return refuse(http.StatusConflict, "ResourceNotEmpty", "ResourceNotEmpty",
		"The bucket you tried to delete is not empty")
}

func notEnabled(feature string) *fault {
	return refuse(http.StatusConflict, "FeatureNotEnabled", "FeatureNotEnabled",
		"The feature "+feature+" is not enabled for this resource")
}

func invalidRange() *fault {
	return &fault{
		http: http.StatusRequestedRangeNotSatisfiable, status: http.StatusRequestedRangeNotSatisfiable,
		name: "invalid_range", code: "InvalidRange", message: "invalid range provided",
	}
}

func internal(cause error) *fault {
	return &fault{
		http: http.StatusInternalServerError, status: http.StatusInternalServerError,
		name: "Internal", code: "InternalError", message: "Internal server error", cause: cause,
	}
}

// databaseTimeout is a status line of its own: clients try again on it.
func databaseTimeout(cause error) *fault {
	return &fault{
		http: http.StatusGatewayTimeout, status: http.StatusGatewayTimeout,
		name: "DatabaseTimeout", code: "DatabaseTimeout", message: "The connection to the database timed out", cause: cause,
	}
}

func databaseError(message string, cause error) *fault {
	return &fault{
		http: http.StatusInternalServerError, status: http.StatusInternalServerError,
		name: "DatabaseError", code: "DatabaseError", message: message, cause: cause,
	}
}

// statusDatabaseTimeout is the real server's own status for a slow statement.
const statusDatabaseTimeout = 544

// asFault turns any error into an answer. It is the one place that reads
// SQLSTATEs, except where an operation gives a unique violation its own code.
func asFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return internal(err)
	}
	switch {
	case pg.Code == "42501":
		return accessDenied(pg.Message)
	case pg.Code == "23505":
		return duplicate("KeyAlreadyExists")
	case pg.Code == "23503":
		return noSuchBucket()
	case pg.Code == "22021", pg.Code == "22P05":
		// A NUL in a text or a document, which Postgres does not store.
		return invalidRequest("the request holds a character that cannot be stored")
	case pg.Code == "57014":
		return &fault{
			http: statusDatabaseTimeout, status: statusDatabaseTimeout, name: "DatabaseTimeout",
			code: "DatabaseTimeout", message: "The connection to the database timed out", cause: err,
		}
	case strings.HasPrefix(pg.Code, "57P"), strings.HasPrefix(pg.Code, "08"), strings.HasPrefix(pg.Code, "53"):
		return internal(err)
	}
	return databaseError(pg.Message, err)
}

// isUnique tells a unique violation, whose code depends on the operation.
func isUnique(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23505"
}

type faultBody struct {
	StatusCode string `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
	Code       string `json:"code"`
}

func (s *service) writeFault(ctx context.Context, w http.ResponseWriter, err error) {
	f := asFault(err)
	if f.status >= http.StatusInternalServerError && ctx.Err() == nil {
		s.log.ErrorContext(ctx, "storage request failed", slog.String("code", f.code), slog.String("error", err.Error()))
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Last-Modified", "Cache-Control", "Content-Disposition", "Expires"} {
		h.Del(name)
	}
	writeJSON(w, f.http, faultBody{
		StatusCode: strconv.Itoa(f.status), Error: f.name, Message: f.message, Code: f.code,
	})
}

// shorten bounds what an answer repeats of the caller's input.
func shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

func isForeignKey(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23503"
}
