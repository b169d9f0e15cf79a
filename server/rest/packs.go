package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type listPacksInput struct {
	PageInput
	RuntimeTag string `query:"runtimeTag" doc:"node, browser or universal"`
	Search     string `query:"search" doc:"part of the name"`
	Name       string `query:"name" doc:"exact"`
	Version    string `query:"version" doc:"exact"`
	OwnerID    string `query:"ownerId"`
}

// packNameInput names a pack by its name. The parameter is called as in the
// routes beside it: gin wants one name for one place.
type packNameInput struct {
	Name string `path:"id" doc:"name of the pack"`
}

type updatePackInput struct {
	IDInput
	IfMatchInput
	Body Body[api.UpdatePackRequest, *api.UpdatePackRequest]
}

type onePack struct {
	Pack api.Pack `json:"pack"`
}

type packList struct {
	Packs    []api.Pack `json:"packs"`
	Total    int        `json:"total"`
	Page     int        `json:"page"`
	PageSize int        `json:"pageSize"`
}

type packVersions struct {
	Versions []api.PackVersion `json:"versions"`
}

type bundleURL struct {
	URL       string    `json:"url" doc:"opens the bundle without further credentials until expiresAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`
}

func (s *server) packRoutes() {
	read := may(access.Read, access.Pack)
	register(s, operation{method: http.MethodGet, path: "/api/packs", id: "listPacks", tag: "packs", rule: read, summary: "List packs, newest first"}, s.listPacks)
	register(s, operation{method: http.MethodGet, path: "/api/packs/{id}", id: "getPack", tag: "packs", rule: read, summary: "One version of a pack"}, s.getPack)
	register(s, operation{method: http.MethodGet, path: "/api/packs/{id}/versions", id: "getPackVersions", tag: "packs", rule: read, summary: "The versions of a pack, by its name"}, s.packVersions)
	register(s, operation{
		method: http.MethodGet, path: "/api/packs/{id}/bundle", id: "getPackBundle", tag: "packs", rule: read,
		summary: "A short-lived address of the bundle",
	}, s.packBundle)
	register(s, operation{
		method: http.MethodPatch, path: "/api/packs/{id}", id: "updatePack", tag: "packs", rule: may(access.Update, access.Pack),
		summary: "Change description, metadata or visibility", errors: []int{http.StatusConflict},
	}, s.updatePack)
	registerEmpty(s, operation{
		method: http.MethodDelete, path: "/api/packs/{id}", id: "deletePack", tag: "packs", rule: may(access.Delete, access.Pack),
		summary: "Remove a version of a pack and its bundle", errors: []int{http.StatusConflict},
	}, s.deletePack)
	s.engine.POST("/api/packs", s.createPack)
}

func (s *server) listPacks(ctx context.Context, who caller, in *listPacksInput) (packList, error) {
	q := api.PackQuery{
		PageQuery: in.query(), RuntimeTag: api.RuntimeTag(in.RuntimeTag), Search: in.Search,
		Name: in.Name, Version: in.Version, OwnerID: in.OwnerID,
	}
	if err := q.Validate(); err != nil {
		return packList{}, err
	}
	page, err := s.DB.ListPacks(ctx, who.Identity, q)
	if err != nil {
		page, err = remembered(s, who, err, func() (api.Page[api.Pack], error) { return s.recallPacks(who, q) })
	}
	if err != nil {
		return packList{}, err
	}
	for i := range page.Items {
		completePack(&page.Items[i])
	}
	return packList{Packs: emptyIfNil(page.Items), Total: page.Total, Page: q.Page, PageSize: q.PageSize}, nil
}

func (s *server) getPack(ctx context.Context, who caller, in *IDInput) (onePack, error) {
	id, err := in.uuid()
	if err != nil {
		return onePack{}, err
	}
	pack, err := s.DB.GetPack(ctx, who.Identity, id)
	if err != nil {
		pack, err = remembered(s, who, err, func() (api.Pack, error) { return find(s.Store.Packs, id, s.seesPack(who)) })
	}
	return packAnswer(pack, err)
}

func (s *server) packVersions(ctx context.Context, who caller, in *packNameInput) (packVersions, error) {
	versions, err := s.DB.PackVersions(ctx, who.Identity, in.Name)
	if err == nil && len(versions) == 0 {
		err = fault.New(fault.NotFound, "there is no pack of this name")
	}
	return packVersions{Versions: versions}, err
}

// packBundle signs as the service: that the database showed the pack is the right
// to read it.
func (s *server) packBundle(ctx context.Context, who caller, in *IDInput) (bundleURL, error) {
	one, err := s.getPack(ctx, who, in)
	if err != nil {
		return bundleURL{}, err
	}
	if one.Pack.Status != api.PackReady {
		return bundleURL{}, fault.New(fault.InvalidState, "the bundle of this pack has not arrived yet")
	}
	url, expires, err := s.Bundles.SignedURL(ctx, one.Pack.BundlePath, s.config.BundleURLTTL)
	return bundleURL{URL: url, ExpiresAt: expires.UTC(), SHA256: one.Pack.BundleSHA256, Size: one.Pack.BundleSize}, err
}

func (s *server) updatePack(ctx context.Context, who caller, in *updatePackInput) (onePack, error) {
	id, err := in.uuid()
	if err != nil {
		return onePack{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return onePack{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return onePack{}, err
	}
	return packAnswer(s.DB.UpdatePack(ctx, who.Identity, id, req))
}

// deletePack removes the row, which the database may refuse, and then the bundle,
// whose absence nobody would miss.
func (s *server) deletePack(ctx context.Context, who caller, in *changeInput) error {
	id, err := in.uuid()
	if err != nil {
		return err
	}
	path, err := s.DB.DeletePack(ctx, who.Identity, id)
	if err != nil {
		return err
	}
	if path != "" {
		s.removeBundle(ctx, path)
	}
	return nil
}

func packAnswer(p api.Pack, err error) (onePack, error) {
	completePack(&p)
	return onePack{Pack: p}, err
}

// completePack makes empty what would be null.
func completePack(p *api.Pack) { p.Metadata = emptyMap(p.Metadata) }
