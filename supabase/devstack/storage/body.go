package storage

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// maxJSON bounds every JSON request body, and user metadata likewise.
const maxJSON = 1 << 20

// bodyTimeout is how long a JSON body may take to arrive, and how long an
// upload may go without a byte.
const bodyTimeout = 30 * time.Second

// readJSON fills v from the body. Bodies of another type are no object for the
// real server either.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return invalidRequest("body must be object")
	}
	restore := limitReadTime(w)
	defer restore()
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return refuse(http.StatusRequestEntityTooLarge, "FastifyError", "InvalidRequest", "Request body is too large")
		}
		return malformedBody("Request body could not be read")
	}
	if len(data) == 0 {
		return malformedBody("Body cannot be empty when content-type is set to 'application/json'")
	}
	if !json.Valid(data) {
		return malformedBody("Body is not valid JSON but content-type is set to 'application/json'")
	}
	if string(data) == "null" || json.Unmarshal(data, &map[string]json.RawMessage{}) != nil {
		return invalidRequest("body must be object")
	}
	if err := json.Unmarshal(data, v); err != nil {
		if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return invalidRequest("body/%s must be %s", te.Field, te.Type)
		}
		return invalidRequest("body does not match its schema")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// The status line is out; a peer that left cannot be told anything.
	_ = json.NewEncoder(w).Encode(v)
}

type message struct {
	Message string `json:"message"`
}

// timestamp is a time as JavaScript prints it.
type timestamp time.Time

const timeLayout = "2006-01-02T15:04:05.000Z"

// MarshalJSON writes null for the zero time.
func (t timestamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + time.Time(t).UTC().Format(timeLayout) + `"`), nil
}

// limitReadTime gives the rest of the request body bodyTimeout to arrive. A
// writer without deadlines (a test recorder) has no network to wait for.
func limitReadTime(w http.ResponseWriter) (restore func()) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
	return func() { _ = c.SetReadDeadline(time.Time{}) }
}

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (t *timestamp) ScanTimestamptz(v pgtype.Timestamptz) error {
	*t = timestamp(v.Time)
	return nil
}
