package storage

import (
	"context"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// deleteObject locks the row as service_role and deletes it as the caller: a
// missing object is NoSuchKey, one that the caller may not delete (or see) is
// refused.
func deleteObject(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	if err := checkKey(c.key); err != nil {
		return err
	}
	var version string
	err = s.db.as(c, serviceActor, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := findBucket(ctx, tx, c.bucket); err != nil {
			return err
		}
		if err := lockKey(ctx, tx, c.bucket, c.key); err != nil {
			return err
		}
		o, err := findObject(ctx, tx, c.bucket, c.key)
		if err != nil {
			return err
		}
		version = o.version()
		if err := become(ctx, tx, c, a); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from storage.objects where bucket_id = $1 and name = $2`, c.bucket, c.key)
		return met(tag, err, accessDenied("Access denied"))
	})
	if err != nil {
		return err
	}
	s.files.remove(version)
	writeJSON(c.w, http.StatusOK, message{"Successfully deleted"})
	return nil
}

// maxDelete bounds one bulk request.
const maxDelete = 10000

// deleteObjects removes what the policies let the caller see and delete, and
// says nothing of the rest.
func deleteObjects(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	var in struct {
		Prefixes []string `json:"prefixes"`
	}
	if err := readJSON(c.w, c.r, &in); err != nil {
		return err
	}
	switch {
	case in.Prefixes == nil:
		return invalidRequest("body must have required property 'prefixes'")
	case len(in.Prefixes) == 0 || len(in.Prefixes) > maxDelete:
		return invalidRequest("body/prefixes must NOT have fewer than 1 items or more than %d", maxDelete)
	}
	var gone []object
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `delete from storage.objects where bucket_id = $1 and name = any($2)
			returning `+objectColumns, c.bucket, in.Prefixes)
		if err != nil {
			return err
		}
		gone, err = pgx.CollectRows(rows, scanObject)
		return err
	})
	if err != nil {
		return err
	}
	body := make([]objectBody, 0, len(gone))
	for _, o := range gone {
		s.files.remove(o.version())
		body = append(body, o.body())
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

// folders is how many folders the object files are spread over.
const folders = 256

// sweep removes files that no row names: what a crash left between a file and
// its row. It must run before the first request.
func (s *service) sweep(ctx context.Context) (removed int, err error) {
	for i := range folders {
		versions, err := s.files.versions(fmt.Sprintf("%02x", i))
		if err != nil {
			return removed, err
		}
		if len(versions) == 0 {
			continue
		}
		orphans, err := s.orphans(ctx, versions)
		if err != nil {
			return removed, err
		}
		s.files.remove(orphans...)
		removed += len(orphans)
	}
	return removed, nil
}

// orphans picks the versions without a row, as service_role.
func (s *service) orphans(ctx context.Context, versions []string) (orphans []string, err error) {
	err = pgx.BeginFunc(ctx, s.db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local role `+roleService); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select v from unnest($1::text[]) as v
			where not exists (select from storage.objects where version = v)`, versions)
		if err != nil {
			return err
		}
		orphans, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return orphans, err
}
