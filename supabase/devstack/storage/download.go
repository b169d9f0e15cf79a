package storage

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// downloadAny serves public buckets to anybody and private ones to callers who
// may see the object.
func downloadAny(s *service, c *call) error {
	b, err := s.bucketAs(c, serviceActor, c.bucket)
	if err != nil {
		return err
	}
	if b.Public {
		return s.serve(c, serviceActor)
	}
	return s.serveCaller(c)
}

func downloadAuthenticated(s *service, c *call) error {
	if _, err := s.bucketAs(c, serviceActor, c.bucket); err != nil {
		return err
	}
	return s.serveCaller(c)
}

func downloadPublic(s *service, c *call) error {
	if err := s.requirePublic(c); err != nil {
		return err
	}
	return s.serve(c, serviceActor)
}

func (s *service) requirePublic(c *call) error {
	b, err := s.bucketAs(c, serviceActor, c.bucket)
	if err == nil && !b.Public {
		return noSuchBucket()
	}
	return err
}

func (s *service) serveCaller(c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	return s.serve(c, a)
}

func (s *service) objectAs(c *call, a actor) (o object, err error) {
	if err := checkKey(c.key); err != nil {
		return object{}, err
	}
	err = s.db.as(c, a, func(ctx context.Context, tx pgx.Tx) error {
		o, err = findObject(ctx, tx, c.bucket, c.key)
		return err
	})
	return o, err
}

// openTries bounds how often a reader finds a row whose file is replaced before it is
// open: each further try needs one more replacement in between.
const openTries = 1000

// openAs opens the file of an object. One that is not there although its row has not
// changed since is lost.
func (s *service) openAs(c *call, a actor) (o object, f *os.File, err error) {
	for last, try := "", 0; try < openTries; try++ {
		if o, err = s.objectAs(c, a); err != nil {
			return o, nil, err
		}
		if f, err = s.files.open(o.version()); err == nil {
			return o, f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return o, nil, internal(err)
		}
		if o.version() == last {
			break
		}
		last = o.version()
	}
	return o, nil, noSuchKey()
}

func (s *service) serve(c *call, a actor) error {
	o, f, err := s.openAs(c, a)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return internal(err)
	}
	if err := checkRange(c.r, info.Size()); err != nil {
		return err
	}
	m := o.meta()
	setObjectHeaders(c.w.Header(), m)
	setDisposition(c.w.Header(), c.r, c.key)
	restore := limitWriteTime(c.w, info.Size())
	defer restore()
	modified := time.Time(m.LastModified)
	if modified.IsZero() {
		modified = o.UpdatedAt
	}
	http.ServeContent(c.w, c.r, "", modified, f)
	return nil
}

func setObjectHeaders(h http.Header, m metadata) {
	h.Set("Content-Type", m.MIME)
	if m.MIME == "" {
		h.Set("Content-Type", defaultMIME)
	}
	if m.ETag != "" {
		h.Set("ETag", m.ETag)
	}
	if m.CacheControl != "" {
		h.Set("Cache-Control", m.CacheControl)
	}
	h.Set("X-Robots-Tag", "none")
	// The type is the uploader's word; a browser must not guess a worse one.
	h.Set("X-Content-Type-Options", "nosniff")
}

// setDisposition answers ?download and ?download=name.
func setDisposition(h http.Header, r *http.Request, key string) {
	q := r.URL.Query()
	if !q.Has("download") {
		return
	}
	name := q.Get("download")
	if name == "" {
		name = path.Base(key)
	}
	escaped := escapeSegment(name)
	h.Set("Content-Disposition", "attachment; filename="+escaped+"; filename*=UTF-8''"+escaped+";")
}

// checkRange refuses a single range that starts past the end, in Storage's own
// words. Several ranges at once are not served: the whole object is.
func checkRange(r *http.Request, size int64) error {
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || strings.Contains(spec, ",") {
		r.Header.Del("Range")
		return nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	start, errStart := strconv.ParseInt(first, 10, 64)
	end, errEnd := strconv.ParseInt(last, 10, 64)
	switch {
	case !ok, first == "" && errEnd != nil, first != "" && errStart != nil, last != "" && errEnd != nil:
		r.Header.Del("Range")
	case first == "" && (end == 0 || size == 0), first != "" && start >= size, first != "" && last != "" && end < start:
		return invalidRange()
	}
	return nil
}

// slowestRate is the transfer rate below which a download is cut.
const slowestRate = 32 << 10

func limitWriteTime(w http.ResponseWriter, size int64) (restore func()) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(bodyTimeout + time.Duration(size/slowestRate)*time.Second))
	return func() { _ = c.SetWriteDeadline(time.Time{}) }
}
