package storage

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// transfer is the body of move and copy.
type transfer struct {
	BucketID          string `json:"bucketId"`
	SourceKey         string `json:"sourceKey"`
	DestinationKey    string `json:"destinationKey"`
	DestinationBucket string `json:"destinationBucket"`
	CopyMetadata      *bool  `json:"copyMetadata"`
}

func (s *service) readTransfer(c *call) (a actor, t transfer, err error) {
	if a, err = s.caller(c.r); err != nil {
		return a, t, err
	}
	if err := readJSON(c.w, c.r, &t); err != nil {
		return a, t, err
	}
	for _, field := range []struct{ name, value string }{
		{"bucketId", t.BucketID}, {"sourceKey", t.SourceKey}, {"destinationKey", t.DestinationKey},
	} {
		if field.value == "" {
			return a, t, invalidRequest("body must have required property '%s'", field.name)
		}
	}
	if t.DestinationBucket == "" {
		t.DestinationBucket = t.BucketID
	}
	if err := checkKey(t.DestinationKey); err != nil {
		return a, t, err
	}
	for _, id := range []string{t.BucketID, t.DestinationBucket} {
		if _, err := s.bucketAs(c, serviceActor, id); err != nil {
			return a, t, err
		}
	}
	return a, t, nil
}

const moveRow = `update storage.objects set bucket_id = $3, name = $4, owner = coalesce($5::uuid, owner),
	owner_id = coalesce($6, owner_id), updated_at = now() where bucket_id = $1 and name = $2`

// moveObject renames the row; the file belongs to the version and stays where
// it is.
func moveObject(s *service, c *call) error {
	a, t, err := s.readTransfer(c)
	if err != nil {
		return err
	}
	move := func(ctx context.Context, tx pgx.Tx) error {
		if _, err := findObject(ctx, tx, t.BucketID, t.SourceKey); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, moveRow, t.BucketID, t.SourceKey, t.DestinationBucket, t.DestinationKey,
			a.ownerUUID(), a.ownerID())
		return met(tag, err, noSuchKey())
	}
	if err = s.db.try(c, a, move); err == nil {
		err = s.db.as(c, serviceActor, move)
	}
	if isUnique(err) {
		return duplicate("ResourceAlreadyExists")
	}
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, message{"Successfully moved"})
	return nil
}

// copyAnswer adds the two capital fields of an upload to the row.
type copyAnswer struct {
	Key string `json:"Key"`
	ID  string `json:"Id"`
	objectBody
}

func copyObject(s *service, c *call) error {
	a, t, err := s.readTransfer(c)
	if err != nil {
		return err
	}
	c.bucket, c.key = t.BucketID, t.SourceKey
	src, err := s.objectAs(c, a)
	if err != nil {
		return err
	}
	in := insertion{
		bucket: t.DestinationBucket, key: t.DestinationKey, owner: a, version: trialVersion,
		metadata: src.meta(), upsert: c.r.Header.Get("X-Upsert") == "true",
	}
	if t.CopyMetadata == nil || *t.CopyMetadata {
		in.user = src.UserMetadata
	}
	if err := s.db.try(c, a, in.attempt); err != nil {
		return err
	}
	in.metadata.LastModified = timestamp(s.now())
	if in.version, err = s.files.link(src.version()); errors.Is(err, fs.ErrNotExist) {
		return noSuchKey()
	} else if err != nil {
		return internal(err)
	}
	o, err := s.publish(c, in)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, copyAnswer{Key: o.BucketID + "/" + o.Name, ID: o.ID, objectBody: o.body()})
	return nil
}
