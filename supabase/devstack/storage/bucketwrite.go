package storage

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// readBucket reads what POST and PUT send: who asks, and the body.
func (s *service) readBucket(c *call) (a actor, in bucketInput, err error) {
	if a, err = s.caller(c.r); err != nil {
		return a, in, err
	}
	return a, in, readJSON(c.w, c.r, &in)
}

// done runs fn as a and, when all went well, answers with a message.
func (s *service) done(c *call, a actor, text string, fn func(context.Context, pgx.Tx) error) error {
	if err := s.db.as(c, a, fn); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, message{text})
	return nil
}

// met turns a statement that met no row into missing.
func met(tag pgconn.CommandTag, err error, missing *fault) error {
	if err == nil && tag.RowsAffected() == 0 {
		return missing
	}
	return err
}

func createBucket(s *service, c *call) error {
	a, in, err := s.readBucket(c)
	if err != nil {
		return err
	}
	if in.Name == "" {
		return invalidRequest("body must have required property 'name'")
	}
	if in.ID == "" {
		in.ID = in.Name
	}
	if in.Type != "" && in.Type != "STANDARD" {
		return notEnabled("bucket type " + shorten(in.Type))
	}
	for _, name := range []string{in.ID, in.Name} {
		if err := checkBucketName(name); err != nil {
			return err
		}
	}
	size, types, err := in.limits(s.maxBytes)
	if err != nil {
		return err
	}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into storage.buckets
			(id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)
			values ($1, $2, $3::uuid, $4, $5, $6, $7)`,
			in.ID, in.Name, a.ownerUUID(), a.ownerID(), in.Public != nil && *in.Public, size, types)
		return err
	})
	if isUnique(err) {
		return duplicate("BucketAlreadyExists")
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]string{"name": in.Name})
	return nil
}

func updateBucket(s *service, c *call) error {
	a, in, err := s.readBucket(c)
	if err != nil {
		return err
	}
	size, types, err := in.limits(s.maxBytes)
	if err != nil {
		return err
	}
	return s.done(c, a, "Successfully updated", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update storage.buckets set public = coalesce($2, public),
			file_size_limit = case when $3 then $4::bigint else file_size_limit end,
			allowed_mime_types = case when $5 then $6::text[] else allowed_mime_types end,
			updated_at = now() where id = $1`,
			c.bucket, in.Public, len(in.FileSizeLimit) > 0, size, len(in.AllowedMIMETypes) > 0, types)
		return met(tag, err, noSuchBucket())
	})
}

// deleteBucket counts objects as service_role, so that a caller who cannot see
// them does not orphan them; this tells anybody that the bucket is not empty,
// as the real server does.
func deleteBucket(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	return s.done(c, serviceActor, "Successfully deleted", func(ctx context.Context, tx pgx.Tx) error {
		var used bool
		err := tx.QueryRow(ctx, `select exists (select from storage.objects where bucket_id = $1)`, c.bucket).Scan(&used)
		if err == nil && used {
			return notEmpty()
		}
		if err != nil {
			return err
		}
		if err := become(ctx, tx, c, a); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from storage.buckets where id = $1`, c.bucket)
		if isForeignKey(err) {
			return notEmpty()
		}
		return met(tag, err, noSuchBucket())
	})
}

// emptyBatch bounds one transaction of emptyBucket.
const emptyBatch = 1000

// emptyBucket asks the policies with one object that the caller sees, then
// removes everything that was there as service_role.
func emptyBucket(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	visible := false
	err = s.db.try(c, a, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := findBucket(ctx, tx, c.bucket); err != nil {
			return err
		}
		var deleted int
		err := tx.QueryRow(ctx, `with seen as (select id from storage.objects where bucket_id = $1 limit 1),
			gone as (delete from storage.objects where id in (select id from seen) returning 1)
			select exists (select from seen), (select count(*) from gone)`, c.bucket).Scan(&visible, &deleted)
		if err == nil && visible && deleted == 0 {
			return accessDenied("Access denied")
		}
		return err
	})
	for more := visible; err == nil && more; {
		var versions []string
		versions, err = s.deleteBatch(c)
		more = len(versions) == emptyBatch
		s.files.remove(versions...)
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, message{"Empty bucket has been queued. Completion may take up to an hour."})
	return nil
}

func (s *service) deleteBatch(c *call) (versions []string, err error) {
	err = s.db.as(c, serviceActor, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `delete from storage.objects where id in
			(select id from storage.objects where bucket_id = $1 limit $2) returning coalesce(version, '')`,
			c.bucket, emptyBatch)
		if err != nil {
			return err
		}
		versions, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return versions, err
}
