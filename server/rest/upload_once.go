package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// makePackOnce makes a pack at most once for the key of its request. The bundle comes
// behind the fields, so what was asked with a key is known in full only at its end:
// an answer is given again if the bundle has the digest that the answer tells.
func (s *server) makePackOnce(c *gin.Context, req api.CreatePackRequest, bundle io.Reader) {
	fields, err := json.Marshal(req)
	if err != nil {
		s.abort(c, err)
		return
	}
	w, sealed, err := s.claimOrWait(c, [][]byte{fields})
	switch {
	case err != nil:
		s.abort(c, err)
		return
	case sealed == nil:
		s.keepAnswer(c, w, func() { s.makePack(c, req, bundle) })
		return
	}
	first, err := w.Open(sealed)
	if err == nil && req.BundleSHA256 == "" {
		var told Envelope[onePack]
		if err = json.Unmarshal(first.Body, &told); err == nil {
			err = sameBundle(told.Data.Pack, bundle, idempotency.Reused())
		}
	}
	if err != nil {
		s.abort(c, tooLarge(err))
		return
	}
	replay(c, first)
}

// sameBundle reads a bundle to its end, and gives other unless it is that of p.
func sameBundle(p api.Pack, bundle io.Reader, other error) error {
	hash := sha256.New()
	size, err := io.Copy(hash, io.LimitReader(bundle, api.MaxBundleBytes+1))
	switch {
	case err != nil:
		return readFault(err)
	case size > api.MaxBundleBytes:
		return bundleTooLarge()
	case hex.EncodeToString(hash.Sum(nil)) != p.BundleSHA256:
		return other
	default:
		return nil
	}
}

// madeBefore gives the pack that an earlier try of this very request has left, where
// err says that there is one.
func (s *server) madeBefore(ctx context.Context, who caller, err error) (api.Pack, bool) {
	if who.objectID == "" || fault.CodeOf(err) != fault.Conflict {
		return api.Pack{}, false
	}
	p, err := s.DB.GetPack(ctx, who.Identity, who.objectID)
	return p, err == nil
}
