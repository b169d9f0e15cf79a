package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// registerPack makes a pack of a bundle that its owner has put into Storage
// themselves. Nothing of what they say of it is believed: the object is read, with
// their own rights, and must have the digest that its key names. The owner is in
// the key too, and Storage lets nobody write below another's.
func (s *server) registerPack(ctx context.Context, who caller, req api.CreatePackRequest) (api.Pack, error) {
	path := bundlePath(who.UserID, req.Name, req.Version, req.BundleSHA256)
	if req.BundlePath != "" && req.BundlePath != path {
		return api.Pack{}, api.InvalidField("bundlePath", fault.FieldInvalidValue, "must be %s", path)
	}
	pending, made, err := s.pendingPack(ctx, who, req)
	if left, ok := s.madeBefore(ctx, who, err); ok && left.BundleSHA256 == req.BundleSHA256 {
		return left, nil
	}
	if err != nil {
		return api.Pack{}, err
	}
	bundle, err := s.verifyBundle(ctx, who, path, req)
	var registered api.Pack
	if err == nil {
		registered, err = s.DB.CompletePack(ctx, who.Identity, pending.ID, bundle)
	}
	if err != nil && made {
		s.abandon(ctx, who, pending.ID)
	}
	return registered, err
}

func bundlePath(owner, name, version, digest string) string {
	return strings.Join([]string{owner, name, version, digest + ".js"}, "/")
}

// pendingPack makes the row, or finds the one that its owner has made before, as
// by supabase-js, and whose bundle has not come yet. made tells which.
func (s *server) pendingPack(ctx context.Context, who caller, req api.CreatePackRequest) (pending api.Pack, made bool, err error) {
	pending, err = s.DB.CreatePack(ctx, who.Identity, newPack(who, req))
	if fault.CodeOf(err) != fault.Conflict {
		return pending, err == nil, err
	}
	page, lerr := s.DB.ListPacks(ctx, who.Identity, api.PackQuery{
		PageQuery: api.PageQuery{Page: 1, PageSize: 1}, Name: req.Name, Version: req.Version, OwnerID: who.UserID,
	})
	if lerr != nil || len(page.Items) == 0 || page.Items[0].Status != api.PackPending {
		return api.Pack{}, false, err
	}
	if found := page.Items[0]; found.RuntimeTag == req.RuntimeTag && found.Format == req.Format {
		return found, false, nil
	}
	return api.Pack{}, false, fault.New(fault.Conflict, "this version waits for a bundle of another runtime tag or format; delete it first")
}

// verifyBundle reads an object, and says which one it was if it is what was said.
// Its name is asked for before it is read: what takes its key later is another one.
func (s *server) verifyBundle(ctx context.Context, who caller, path string, req api.CreatePackRequest) (pack.Bundle, error) {
	none := pack.Bundle{}
	object, err := s.DB.BundleObject(ctx, who.Identity, path)
	if err != nil {
		return none, err
	}
	body, _, err := s.Bundles.Open(ctx, who.token, path)
	if fault.CodeOf(err) == fault.NotFound {
		return none, api.InvalidField("bundleSha256", fault.FieldInvalidValue, "there is no object %s in the bucket %s; upload it first, with your own token", path, api.BundleBucket)
	}
	if err != nil {
		return none, err
	}
	hash := sha256.New()
	size, err := io.Copy(hash, io.LimitReader(body, api.MaxBundleBytes+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return none, fault.Wrap(err, fault.Unavailable, "the bundle could not be read from Storage")
	}
	digest := hex.EncodeToString(hash.Sum(nil))
	switch {
	case size > api.MaxBundleBytes:
		return none, bundleTooLarge()
	case size == 0:
		return none, api.InvalidField("bundleSha256", fault.FieldEmpty, "the object is empty")
	case digest != req.BundleSHA256:
		return none, api.InvalidField("bundleSha256", fault.FieldInvalidValue, "the object has the digest %s; delete it, and upload the bundle again", digest)
	case req.BundleSize != 0 && req.BundleSize != size:
		return none, api.InvalidField("bundleSize", fault.FieldInvalidValue, "the object has %d bytes", size)
	default:
		return pack.Bundle{Path: path, SHA256: digest, Size: size, Object: object}, nil
	}
}

// abandon takes a pending row back, also when the caller has gone.
func (s *server) abandon(ctx context.Context, who caller, packID string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	if err := s.DB.AbandonPack(ctx, who.Identity, packID); err != nil {
		s.log.ErrorContext(ctx, "a pending pack could not be taken back", slog.String("packId", packID), errAttr(err))
	}
}

func newPack(who caller, req api.CreatePackRequest) api.Pack {
	return api.Pack{
		ID: who.objectID, Name: req.Name, Version: req.Version, RuntimeTag: req.RuntimeTag, OwnerID: who.UserID, Visibility: req.Visibility,
		Format: req.Format, Description: req.Description, Metadata: emptyMap(req.Metadata),
	}
}
