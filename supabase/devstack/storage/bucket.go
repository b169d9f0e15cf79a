package storage

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// bucket is one row of storage.buckets.
type bucket struct {
	ID               string
	Name             string
	OwnerID          *string
	Public           bool
	FileSizeLimit    *int64
	AllowedMIMETypes []string
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

const bucketColumns = `id, name, owner_id, coalesce(public, false), file_size_limit, allowed_mime_types, created_at, updated_at`

type bucketBody struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	Owner            string    `json:"owner"`
	Public           bool      `json:"public"`
	Type             string    `json:"type,omitempty"`
	FileSizeLimit    *int64    `json:"file_size_limit"`
	AllowedMIMETypes []string  `json:"allowed_mime_types"`
	CreatedAt        timestamp `json:"created_at"`
	UpdatedAt        timestamp `json:"updated_at"`
}

func (b bucket) body() bucketBody {
	body := bucketBody{
		ID: b.ID, Name: b.Name, Public: b.Public, FileSizeLimit: b.FileSizeLimit,
		AllowedMIMETypes: b.AllowedMIMETypes, CreatedAt: timestamp(b.CreatedAt), UpdatedAt: timestamp(b.UpdatedAt),
	}
	if b.OwnerID != nil {
		body.Owner = *b.OwnerID
	}
	return body
}

func findBucket(ctx context.Context, tx pgx.Tx, id string) (bucket, error) {
	rows, err := tx.Query(ctx, `select `+bucketColumns+` from storage.buckets where id = $1`, id)
	if err != nil {
		return bucket{}, err
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[bucket])
	if errors.Is(err, pgx.ErrNoRows) {
		return bucket{}, noSuchBucket()
	}
	return b, err
}

// bucketAs reads a bucket as a; most operations look it up as service_role.
func (s *service) bucketAs(c *call, a actor, id string) (b bucket, err error) {
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		b, err = findBucket(ctx, tx, id)
		return err
	})
	return b, err
}

// listing is the query string of GET /bucket.
type listing struct {
	limit, offset any
	column, order string
	search        string
}

func parseListing(r *http.Request) (listing, error) {
	q := r.URL.Query()
	l := listing{column: "name", order: "asc", search: q.Get("search")}
	for name, dst := range map[string]*any{"limit": &l.limit, "offset": &l.offset} {
		if q.Get(name) == "" {
			continue
		}
		n, err := strconv.ParseInt(q.Get(name), 10, 32)
		if err != nil || n < 0 {
			return l, invalidRequest("querystring/%s must be integer", name)
		}
		*dst = n
	}
	if column := q.Get("sortColumn"); column != "" {
		switch column {
		case "id", "name", "created_at", "updated_at":
			l.column = column
		default:
			return l, invalidRequest("querystring/sortColumn must be equal to one of the allowed values")
		}
	}
	var err error
	l.order, err = parseOrder(q.Get("sortOrder"), "querystring/sortOrder")
	return l, err
}

func parseOrder(order, field string) (string, error) {
	switch order {
	case "", "asc":
		return "asc", nil
	case "desc":
		return "desc", nil
	}
	return "", invalidRequest("%s must be equal to one of the allowed values", field)
}

func listBuckets(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	l, err := parseListing(c.r)
	if err != nil {
		return err
	}
	body := []bucketBody{}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select `+bucketColumns+` from storage.buckets
			where position(lower($3) in lower(name)) > 0
			order by `+l.column+` `+l.order+` limit $1 offset $2`, l.limit, l.offset, l.search)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[bucket])
		for _, b := range found {
			row := b.body()
			row.Type = "STANDARD"
			body = append(body, row)
		}
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

func getBucket(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	b, err := s.bucketAs(c, a, c.bucket)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, b.body())
	return nil
}

// bucketInput is the body of POST and PUT; absent and null differ in a PUT.
type bucketInput struct {
	ID               string          `json:"id"`
	Name             string          `json:"name"`
	Type             string          `json:"type"`
	Public           *bool           `json:"public"`
	FileSizeLimit    json.RawMessage `json:"file_size_limit"`
	AllowedMIMETypes json.RawMessage `json:"allowed_mime_types"`
}

// limits reads the two options; nil stands for no limit.
func (in bucketInput) limits(maxBytes int64) (size *int64, types []string, err error) {
	if size, err = in.sizeLimit(); err != nil {
		return nil, nil, err
	}
	if size != nil && *size > maxBytes {
		return nil, nil, tooLarge()
	}
	if len(in.AllowedMIMETypes) > 0 {
		if err := json.Unmarshal(in.AllowedMIMETypes, &types); err != nil {
			return nil, nil, invalidRequest("body/allowed_mime_types must be array")
		}
	}
	for _, t := range types {
		if !mimePattern.MatchString(t) {
			return nil, nil, invalidMIME(t)
		}
	}
	return size, types, nil
}

func (in bucketInput) sizeLimit() (*int64, error) {
	if len(in.FileSizeLimit) == 0 || string(in.FileSizeLimit) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(in.FileSizeLimit, &text) == nil {
		n, err := parseSize(text)
		return &n, err
	}
	var n int64
	if err := json.Unmarshal(in.FileSizeLimit, &n); err != nil || n < 0 {
		return nil, invalidRequest("body/file_size_limit must be integer")
	}
	if n == 0 {
		return nil, nil
	}
	return &n, nil
}
