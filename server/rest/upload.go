package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	maxJSONBundle = 16 << 20  // of a pack sent as plain JSON, which is held in memory
	maxFormField  = 256 << 10 // one form field before the file
	maxFormFields = 16
	formOverhead  = 1 << 20 // what a form may weigh beyond its bundle
	bundleType    = "application/javascript"
	cleanupTime   = 10 * time.Second
)

// createPack takes a pack and its bundle, as a form or as JSON, or registers one
// whose bundle lies in Storage. It is a plain gin handler because the bundle streams.
func (s *server) createPack(c *gin.Context) {
	cancel := s.deadline(c, s.config.UploadTimeout)
	defer cancel()
	if !s.admit(c, may(access.Create, access.Pack)) {
		return
	}
	select {
	case s.spool <- struct{}{}:
		defer func() { <-s.spool }()
	default:
		e := fault.New(fault.Unavailable, "too many uploads are under way")
		e.RetryAfter = retryLater * time.Second
		s.abort(c, e)
		return
	}
	req, bundle, err := s.readPack(c)
	switch {
	case err != nil:
		s.abort(c, tooLarge(err))
	case c.GetHeader(idempotency.Header) == "":
		s.makePack(c, req, bundle)
	default:
		s.makePackOnce(c, req, bundle)
	}
}

func (s *server) makePack(c *gin.Context, req api.CreatePackRequest, bundle io.Reader) {
	ctx := c.Request.Context()
	who := callerFrom(ctx)
	var pack api.Pack
	var err error
	if req.BundleSHA256 != "" {
		pack, err = s.registerPack(ctx, who, req)
	} else {
		pack, err = s.storePack(ctx, who, req, bundle)
	}
	if err != nil {
		s.abort(c, tooLarge(err))
		return
	}
	completePack(&pack)
	if tag := etagOf(onePack{Pack: pack}); tag != "" {
		c.Header("ETag", tag)
	}
	answer(c, http.StatusCreated, onePack{Pack: pack})
}

// readPack gives the valid request and the bundle that follows it.
func (s *server) readPack(c *gin.Context) (api.CreatePackRequest, io.Reader, error) {
	kind, params, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil {
		return api.CreatePackRequest{}, nil, fault.New(fault.UnsupportedMediaType, "send multipart/form-data or application/json")
	}
	limit := int64(maxJSONBundle)
	if kind == "multipart/form-data" {
		limit = api.MaxBundleBytes + formOverhead
	}
	if c.Request.ContentLength > limit {
		return api.CreatePackRequest{}, nil, bundleTooLarge()
	}
	body := http.MaxBytesReader(c.Writer, c.Request.Body, limit)
	if kind == "multipart/form-data" {
		if params["boundary"] == "" {
			return api.CreatePackRequest{}, nil, api.InvalidField("Content-Type", fault.FieldInvalidFormat, "must name the boundary of the form")
		}
		return readForm(multipart.NewReader(body, params["boundary"]))
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return api.CreatePackRequest{}, nil, readFault(err)
	}
	var req api.CreatePackRequest
	if err := api.Decode(data, &req); err != nil {
		return req, nil, err
	}
	if err := req.Validate(); err != nil {
		return req, nil, err
	}
	if req.BundleContent == "" && req.BundleSHA256 == "" {
		return req, nil, api.InvalidField("bundleContent", fault.FieldRequired, "is required, or bundleSha256 of an object in Storage; a form takes the bundle as a file")
	}
	return req, strings.NewReader(req.BundleContent), nil
}

// readForm reads the fields up to the file, and gives the file unread.
func readForm(form *multipart.Reader) (api.CreatePackRequest, io.Reader, error) {
	var req api.CreatePackRequest
	for range maxFormFields {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return req, nil, api.InvalidField("bundle", fault.FieldRequired, "the form must end with the file bundle")
		}
		if err != nil {
			return req, nil, readFault(err)
		}
		if part.FormName() == "bundle" {
			return req, &lastPart{part: part, form: form}, req.Validate()
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
		switch {
		case err != nil:
			return req, nil, readFault(err)
		case len(value) > maxFormField:
			return req, nil, api.InvalidField(part.FormName(), fault.FieldTooLarge, "must be at most %d bytes", maxFormField)
		case !utf8.Valid(value) || bytes.ContainsRune(value, 0):
			return req, nil, api.InvalidField(part.FormName(), fault.FieldInvalidFormat, "must be UTF-8 without NUL characters")
		}
		if err := setFormField(&req, part.FormName(), string(value)); err != nil {
			return req, nil, err
		}
	}
	return req, nil, api.InvalidField("input", fault.FieldTooManyEntries, "the form has more than %d fields", maxFormFields)
}

// lastPart reads the bundle, and holds it to be the end of the form: a field that
// came after it would be dropped without a word.
type lastPart struct {
	part *multipart.Part
	form *multipart.Reader
}

// Read reads the bundle.
func (l *lastPart) Read(b []byte) (int, error) {
	n, err := l.part.Read(b)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch next, ferr := l.form.NextPart(); {
	case errors.Is(ferr, io.EOF):
		return n, err
	case ferr != nil:
		return n, ferr
	default:
		return n, api.InvalidField(next.FormName(), fault.FieldNotAllowed, "must stand before the bundle")
	}
}

func setFormField(req *api.CreatePackRequest, name, value string) error {
	switch name {
	case "name":
		req.Name = value
	case "version":
		req.Version = value
	case "runtimeTag":
		req.RuntimeTag = api.RuntimeTag(value)
	case "visibility":
		req.Visibility = api.Visibility(value)
	case "format":
		req.Format = api.ModuleFormat(value)
	case "description":
		req.Description = value
	case "metadata":
		if err := json.Unmarshal([]byte(value), &req.Metadata); err != nil {
			return api.InvalidField("metadata", fault.FieldInvalidType, "must be a JSON object")
		}
	default:
		return api.InvalidField(name, fault.FieldUnknown, "is not a field of this form")
	}
	return nil
}

// storePack makes the pending row first, so that a pack which may not be is
// refused before its bundle travels, and completes it when the bundle lies in
// Storage. Whatever fails in between takes the row back.
func (s *server) storePack(ctx context.Context, who caller, req api.CreatePackRequest, bundle io.Reader) (api.Pack, error) {
	pending, err := s.DB.CreatePack(ctx, who.Identity, newPack(who, req))
	if left, ok := s.madeBefore(ctx, who, err); ok {
		if left.Status == api.PackReady {
			return left, sameBundle(left, bundle, err)
		}
		pending, err = left, nil
	}
	if err != nil {
		return api.Pack{}, err
	}
	ready, err := s.storeBundle(ctx, who, pending, bundle)
	if err != nil {
		s.abandon(ctx, who, pending.ID)
		return api.Pack{}, err
	}
	return ready, nil
}

// storeBundle spools the bundle while hashing it, because its key holds the
// digest, and uploads it with the user's own rights.
func (s *server) storeBundle(ctx context.Context, who caller, p api.Pack, bundle io.Reader) (api.Pack, error) {
	file, err := os.CreateTemp(s.config.SpoolDir, "stark-bundle-*") // mode 0600
	if err != nil {
		return api.Pack{}, err
	}
	defer func() {
		if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
			s.log.WarnContext(ctx, "a spooled bundle could not be removed", errAttr(err))
		}
	}()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(bundle, api.MaxBundleBytes+1))
	switch {
	case err != nil:
		return api.Pack{}, readFault(err)
	case size > api.MaxBundleBytes:
		return api.Pack{}, bundleTooLarge()
	case size == 0:
		return api.Pack{}, api.InvalidField("bundle", fault.FieldEmpty, "must not be empty")
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return api.Pack{}, err
	}
	b := pack.Bundle{SHA256: hex.EncodeToString(hash.Sum(nil)), Size: size}
	b.Path = bundlePath(p.OwnerID, p.Name, p.Version, b.SHA256)
	b.Object, err = s.Bundles.Put(ctx, who.token, b.Path, file, size, bundleType)
	if fault.CodeOf(err) == fault.Conflict || err == nil && b.Object == "" {
		// What lies there is of an upload that was cut off before its row was
		// completed, or says of itself what it is not: it is read.
		b, err = s.verifyBundle(ctx, who, b.Path, api.CreatePackRequest{BundleSHA256: b.SHA256})
	}
	if err != nil {
		return api.Pack{}, err
	}
	ready, err := s.DB.CompletePack(ctx, who.Identity, p.ID, b)
	if err != nil {
		s.removeBundle(ctx, b.Path)
		return api.Pack{}, err
	}
	s.metrics.bundles.Add(float64(size))
	return ready, nil
}

// removeBundle removes an object, also when the caller has gone.
func (s *server) removeBundle(ctx context.Context, path string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := s.Bundles.Delete(ctx, path); err != nil {
		s.log.WarnContext(ctx, "a bundle without a pack stays in Storage", slog.String("path", path), errAttr(err))
	}
}

func bundleTooLarge() error {
	return fault.New(fault.PayloadTooLarge, "a bundle may have at most %d bytes, %d when sent as JSON", api.MaxBundleBytes, maxJSONBundle)
}

// readFault tells a body that is too long or broken from one that stalls.
func readFault(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bundleTooLarge()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Timeout, "the upload did not arrive in time")
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	return fault.Wrap(err, fault.Validation, "the body could not be read to its end")
}

// tooLarge also catches what multipart wraps on its way.
func tooLarge(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return bundleTooLarge()
	}
	return err
}
