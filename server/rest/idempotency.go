package rest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/idempotency"
)

const (
	headerReplayed = "Idempotency-Replayed"

	// waitForFirst is how long a repeated request waits for the first one.
	waitForFirst = 10 * time.Second
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second

	// holdFor is how long a request that is not heard of keeps others from being made in
	// its place: its server may have died.
	holdFor = 30 * time.Second
)

func idempotencyParam() *huma.Param {
	longest := idempotency.MaxKey
	return &huma.Param{
		Name: idempotency.Header, In: "header",
		Description: "a key of the caller's own, such as a UUID: the same request with the same key within 24 hours is answered as the first was " +
			"(" + headerReplayed + ": true) and changes nothing; another request with it is refused with IDEMPOTENCY_KEY_REUSED",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &longest},
	}
}

// onceWithBody runs a request of a JSON operation at most once for its key, if it has
// one.
func (s *server) onceWithBody(c *gin.Context, next func()) {
	if c.GetHeader(idempotency.Header) == "" {
		next()
		return
	}
	limit := bodyLimit(c.FullPath())
	body, err := io.ReadAll(io.LimitReader(c.Request.Body, limit+1))
	rest := c.Request.Body
	c.Request.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	if err != nil || int64(len(body)) > limit { // the operation finds the same, and says it
		next()
		return
	}
	w, ok := s.claim(c, body)
	if !ok {
		return
	}
	s.keepAnswer(c, w, next)
}

// claim makes the request the one that is made for its key. When it is not, it has
// been answered: as the first was, or with a refusal.
func (s *server) claim(c *gin.Context, asked ...[]byte) (idempotency.Write, bool) {
	w, sealed, err := s.claimOrWait(c, asked)
	switch {
	case err != nil:
		s.abort(c, err)
		return w, false
	case sealed == nil:
		return w, true
	}
	answer, err := w.Open(sealed)
	if err != nil {
		s.abort(c, err)
		return w, false
	}
	replay(c, answer)
	return w, false
}

// claimOrWait gives the write when it is this request's to make, or the answer of the
// first one, sealed.
func (s *server) claimOrWait(c *gin.Context, asked [][]byte) (idempotency.Write, []byte, error) {
	ctx := c.Request.Context()
	who := callerFrom(ctx)
	asked = append([][]byte{[]byte(c.Request.Method), []byte(c.Request.URL.Path)}, asked...)
	w, err := idempotency.New(who.UserID, c.GetHeader(idempotency.Header), holdFor, asked...)
	if err != nil {
		return w, nil, err
	}
	pause, giveUp := firstPause, time.Now().Add(waitForFirst)
	for {
		got, err := s.DB.ClaimWrite(ctx, w)
		switch {
		case err != nil:
			return w, nil, err
		case got.Other:
			return w, nil, idempotency.Reused()
		case got.Sealed != nil:
			return w, got.Sealed, nil
		case got.Mine:
			who.objectID = got.ObjectID
			c.Request = c.Request.WithContext(context.WithValue(ctx, callerKey{}, who))
			return w, nil, nil
		case time.Now().After(giveUp):
			return w, nil, idempotency.InProgress()
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, longestPause)
		case <-ctx.Done():
			return w, nil, idempotency.InProgress()
		}
	}
}

func replay(c *gin.Context, a idempotency.Answer) {
	h := c.Writer.Header()
	h.Set(headerReplayed, "true")
	if a.ETag != "" {
		h.Set("ETag", a.ETag)
	}
	if len(a.Body) == 0 {
		c.Status(a.Status)
		c.Writer.WriteHeaderNow()
		return
	}
	c.Data(a.Status, a.ContentType, a.Body)
}

// keepAnswer runs what answers a claimed request, and keeps a success. What a refusal
// leaves is nothing; after a failure of ours the next try finds out what there is.
func (s *server) keepAnswer(c *gin.Context, w idempotency.Write, next func()) {
	tee := &teeWriter{ResponseWriter: c.Writer}
	c.Writer = tee
	status := http.StatusInternalServerError // when next does not return
	ctx := context.WithoutCancel(c.Request.Context())
	release := s.holdWrite(ctx, w)
	defer func() {
		c.Writer = tee.ResponseWriter
		release()
		if err := s.endWrite(ctx, w, status, tee); err != nil {
			s.log.WarnContext(ctx, "an answer was not kept for a repeated request", slog.Int("status", status), errAttr(err))
		}
	}()
	next()
	status = tee.Status()
}

func (s *server) endWrite(ctx context.Context, w idempotency.Write, status int, tee *teeWriter) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	switch {
	case status < http.StatusMultipleChoices:
		sealed, err := w.Seal(idempotency.Answer{
			Status: status, ContentType: tee.Header().Get("Content-Type"), ETag: tee.Header().Get("ETag"), Body: tee.body.Bytes(),
		})
		if err != nil || sealed == nil {
			return errors.Join(err, s.DB.ReleaseWrite(ctx, w, false))
		}
		return s.DB.AnswerWrite(ctx, w, sealed)
	case status < http.StatusInternalServerError:
		return s.DB.ReleaseWrite(ctx, w, true)
	default:
		return s.DB.ReleaseWrite(ctx, w, false)
	}
}

// holdWrite keeps the claim of a request that takes long; what it gives ends that.
func (s *server) holdWrite(ctx context.Context, w idempotency.Write) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(holdFor / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if _, err := s.DB.ClaimWrite(ctx, w); err != nil && ctx.Err() == nil {
				s.log.DebugContext(ctx, "a claim was not held", errAttr(err)) // the next tick tries again
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// teeWriter keeps what is written, up to what can be kept.
type teeWriter struct {
	gin.ResponseWriter
	body bytes.Buffer
}

// Write writes and keeps.
func (t *teeWriter) Write(b []byte) (int, error) {
	t.keep(b)
	return t.ResponseWriter.Write(b)
}

// WriteString writes and keeps.
func (t *teeWriter) WriteString(text string) (int, error) {
	t.keep([]byte(text))
	return t.ResponseWriter.WriteString(text)
}

// keep takes one byte more than may be kept, so that what is too long is seen to be.
func (t *teeWriter) keep(b []byte) {
	t.body.Write(b[:min(len(b), max(0, idempotency.MaxAnswer+1-t.body.Len()))])
}
