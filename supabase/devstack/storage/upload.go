package storage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// upload is one object on its way in.
type upload struct {
	actor   actor
	bucket  bucket
	trusted bool // a signed upload: its policies were asked when it was signed
	upsert  bool
	source  source
}

func uploadNew(s *service, c *call) error {
	return s.uploadAs(c, c.r.Header.Get("X-Upsert") == "true")
}

// uploadReplace is PUT, which creates a missing object.
func uploadReplace(s *service, c *call) error { return s.uploadAs(c, true) }

func (s *service) uploadAs(c *call, upsert bool) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	o, err := s.receive(c, upload{actor: a, upsert: upsert})
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, map[string]string{"Key": o.BucketID + "/" + o.Name, "Id": o.ID})
	return nil
}

// receive checks, tries, streams and writes, in this order: no byte is stored
// for a caller who may not upload it.
func (s *service) receive(c *call, u upload) (o object, err error) {
	if err := checkKey(c.key); err != nil {
		return object{}, err
	}
	if u.bucket, err = s.bucketAs(c, serviceActor, c.bucket); err != nil {
		return object{}, err
	}
	if u.source, err = openSource(c.r); err != nil {
		return object{}, err
	}
	if !allowsMIME(u.bucket.AllowedMIMETypes, u.source.mime) {
		return object{}, invalidMIME(u.source.mime)
	}
	limit := s.limit(u.bucket)
	if u.source.length > limit {
		return object{}, tooLarge()
	}
	in := u.insertion(c)
	if !u.trusted {
		err := s.db.try(c, u.actor, in.attempt)
		if err != nil {
			return object{}, err
		}
	}
	return s.store(c, u, in, limit)
}

func (s *service) limit(b bucket) int64 {
	if b.FileSizeLimit != nil {
		return min(*b.FileSizeLimit, s.maxBytes)
	}
	return s.maxBytes
}

// trialVersion is what policies see during an upload.
const trialVersion = "1"

func (u upload) insertion(c *call) insertion {
	m := metadata{MIME: u.source.mime}
	if u.source.length >= 0 {
		m.ContentLength = &u.source.length
	}
	return insertion{
		bucket: c.bucket, key: c.key, owner: u.actor, version: trialVersion,
		metadata: m, user: u.source.user, upsert: u.upsert,
	}
}

// store takes the bytes in and then makes them visible in one transaction.
func (s *service) store(c *call, u upload, in insertion, limit int64) (object, error) {
	file, err := s.files.create()
	if err != nil {
		return object{}, internal(err)
	}
	if err := copyBody(c, file, u.source.reader, limit); err != nil {
		file.abort()
		return object{}, err
	}
	size := file.size
	in.metadata = metadata{
		ETag: file.etag(), Size: &size, MIME: u.source.mime, CacheControl: u.source.cacheControl,
		LastModified: timestamp(s.now()), ContentLength: &size, HTTPStatusCode: http.StatusOK,
	}
	if in.version, err = file.commit(); err != nil {
		return object{}, internal(err)
	}
	return s.publish(c, in)
}

// publish writes the row of a finished file and drops the file that loses: the
// replaced one, or the new one when the row was refused.
func (s *service) publish(c *call, in insertion) (o object, err error) {
	var replaced string
	err = s.db.as(c, serviceActor, func(ctx context.Context, tx pgx.Tx) error {
		o, replaced, err = in.write(ctx, tx)
		return err
	})
	switch {
	case err == nil:
		s.files.remove(replaced)
	case !errors.Is(err, errCommit):
		s.files.remove(in.version)
	}
	return o, err
}

const copyBuffer = 64 << 10

// copyBody streams with a limit on the bytes and on the silence between them.
func copyBody(c *call, dst io.Writer, src io.Reader, limit int64) error {
	deadlines := http.NewResponseController(c.w)
	defer func() { _ = deadlines.SetReadDeadline(time.Time{}) }()
	buf := make([]byte, copyBuffer)
	for total := int64(0); ; {
		_ = deadlines.SetReadDeadline(time.Now().Add(bodyTimeout))
		n, err := src.Read(buf)
		if total += int64(n); total > limit {
			return tooLarge()
		}
		if _, werr := dst.Write(buf[:n]); werr != nil {
			return internal(werr)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f := invalidRequest("the request body ended early")
			f.cause = err
			return f
		}
	}
}

// drain takes in what is left of a refused upload, within bounds, so that a
// client which writes before it reads meets the answer and not a reset.
func drain(w http.ResponseWriter, r *http.Request, limit int64) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	c := http.NewResponseController(w)
	_ = c.Flush()
	_ = c.SetReadDeadline(time.Now().Add(drainTimeout))
	_, _ = io.CopyN(io.Discard, r.Body, limit)
	_ = c.SetReadDeadline(time.Time{})
}

const drainTimeout = 5 * time.Second
