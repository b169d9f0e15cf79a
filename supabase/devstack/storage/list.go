package storage

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	defaultListLimit = 100
	maxListLimit     = 10000
)

type listInput struct {
	Prefix *string `json:"prefix"`
	Limit  *int    `json:"limit"`
	Offset int     `json:"offset"`
	Search string  `json:"search"`
	SortBy struct {
		Column string `json:"column"`
		Order  string `json:"order"`
	} `json:"sortBy"`
}

// entry is a file or a folder; a folder has a name and nothing else.
type entry struct {
	Name           string     `json:"name"`
	ID             *string    `json:"id"`
	UpdatedAt      *timestamp `json:"updated_at"`
	CreatedAt      *timestamp `json:"created_at"`
	LastAccessedAt *timestamp `json:"last_accessed_at"`
	Metadata       *metadata  `json:"metadata"`
}

func parseLimit(limit *int) (int, error) {
	if limit == nil {
		return defaultListLimit, nil
	}
	if *limit < 1 {
		return 0, invalidRequest("body/limit must be >= 1")
	}
	return min(*limit, maxListLimit), nil
}

func (in *listInput) validate() (limit int, err error) {
	if in.Prefix == nil {
		return 0, invalidRequest("body must have required property 'prefix'")
	}
	if in.Offset < 0 {
		return 0, invalidRequest("body/offset must be >= 0")
	}
	switch in.SortBy.Column {
	case "":
		in.SortBy.Column = "name"
	case "name", "updated_at", "created_at", "last_accessed_at":
	default:
		return 0, invalidRequest("body/sortBy/column must be equal to one of the allowed values")
	}
	if in.SortBy.Order, err = parseOrder(in.SortBy.Order, "body/sortBy/order"); err != nil {
		return 0, err
	}
	return parseLimit(in.Limit)
}

// listObjects shows one level: folders first, then files. The prefix always
// is a folder.
func listObjects(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	var in listInput
	if err := readJSON(c.w, c.r, &in); err != nil {
		return err
	}
	limit, err := in.validate()
	if err != nil {
		return err
	}
	prefix := *in.Prefix
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	body := []entry{}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		// starts_with and not like: a key may hold the wildcard _.
		rows, err := tx.Query(ctx, `with found as (
				select *, path_tokens[$4] as part, cardinality(path_tokens) > $4 as folder
				from storage.objects where bucket_id = $1 and starts_with(lower(name), lower($2 || $3))),
			folders as (select part as name from found where folder group by part),
			files as (select * from found where not folder)
			select name, null::text, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
			from (select name from folders order by name `+folderOrder(in)+`) f
			union all
			select part, id::text, updated_at, created_at, last_accessed_at, metadata
			from (select * from files order by `+in.SortBy.Column+` `+in.SortBy.Order+`, name) o
			limit $5 offset $6`,
			c.bucket, prefix, in.Search, strings.Count(prefix, "/")+1, limit, in.Offset)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, scanEntry)
		body = append(body, found...)
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

func scanEntry(row pgx.CollectableRow) (entry, error) {
	return pgx.RowToStructByPos[entry](row)
}

// folderOrder sorts folders, which have no times, by name.
func folderOrder(in listInput) string {
	if in.SortBy.Column == "name" {
		return in.SortBy.Order
	}
	return "asc"
}

type listV2Input struct {
	Prefix        string `json:"prefix"`
	Limit         *int   `json:"limit"`
	Cursor        string `json:"cursor"`
	WithDelimiter bool   `json:"with_delimiter"`
	SortBy        struct {
		Column string `json:"column"`
		Order  string `json:"order"`
	} `json:"sortBy"`
}

type listV2Entry struct {
	Key string `json:"key,omitempty"`
	entry
}

type listV2Folder struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

type listV2Body struct {
	HasNext       bool           `json:"hasNext"`
	NextCursor    string         `json:"nextCursor,omitempty"`
	NextCursorKey string         `json:"nextCursorKey,omitempty"`
	Folders       []listV2Folder `json:"folders"`
	Objects       []listV2Entry  `json:"objects"`
}

// listObjectsV2 pages by the last name shown, which stays right while objects
// come and go; only the order by name is offered.
func listObjectsV2(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	var in listV2Input
	if err := readJSON(c.w, c.r, &in); err != nil {
		return err
	}
	limit, err := parseLimit(in.Limit)
	if err != nil {
		return err
	}
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return invalidRequest("body/cursor is not a cursor of this listing")
	}
	if column := in.SortBy.Column; column != "" && column != "name" {
		return invalidRequest("body/sortBy/column must be equal to one of the allowed values")
	}
	order, err := parseOrder(in.SortBy.Order, "body/sortBy/order")
	if err != nil {
		return err
	}
	page := listV2Body{Folders: []listV2Folder{}, Objects: []listV2Entry{}}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, listV2Query(order), c.bucket, in.Prefix, in.WithDelimiter, string(after), limit+1)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, scanEntry)
		page.fill(found, limit, in.WithDelimiter)
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, page)
	return nil
}

// listV2Query folds what lies behind the next slash into one row per folder,
// whose name ends in the slash. Objects have an id.
func listV2Query(order string) string {
	compare := ">"
	if order == "desc" {
		compare = "<"
	}
	return `with found as (
			select *, case when $3 and position('/' in substr(name, length($2) + 1)) > 0
				then $2 || split_part(substr(name, length($2) + 1), '/', 1) || '/' end as folder
			from storage.objects where bucket_id = $1 and starts_with(name, $2)),
		rows as (
			select folder as shown, null::text, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
			from found where folder is not null group by folder
			union all
			select name, id::text, updated_at, created_at, last_accessed_at, metadata from found where folder is null)
		select * from rows where $4 = '' or shown collate "C" ` + compare + ` $4
		order by shown collate "C" ` + order + ` limit $5`
}

func (p *listV2Body) fill(found []entry, limit int, delimited bool) {
	if len(found) > limit {
		found = found[:limit]
		p.HasNext = true
		p.NextCursorKey = found[limit-1].Name
		p.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(p.NextCursorKey))
	}
	for _, e := range found {
		switch {
		case e.ID == nil:
			p.Folders = append(p.Folders, listV2Folder{Key: strings.TrimSuffix(e.Name, "/"), Name: e.Name})
		case delimited:
			p.Objects = append(p.Objects, listV2Entry{Key: e.Name, entry: e})
		default:
			p.Objects = append(p.Objects, listV2Entry{entry: e})
		}
	}
}
