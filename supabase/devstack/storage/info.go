package storage

import "net/http"

// infoBody is what GET /object/info tells.
type infoBody struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	BucketID     string         `json:"bucket_id"`
	Size         *int64         `json:"size"`
	ContentType  string         `json:"content_type"`
	CacheControl string         `json:"cache_control"`
	ETag         string         `json:"etag"`
	Metadata     map[string]any `json:"metadata"`
	LastModified timestamp      `json:"last_modified"`
	CreatedAt    timestamp      `json:"created_at"`
}

func infoAuthenticated(s *service, c *call) error {
	a, err := s.caller(c.r)
	if err != nil {
		return err
	}
	if _, err := s.bucketAs(c, serviceActor, c.bucket); err != nil {
		return err
	}
	return s.info(c, a)
}

func infoPublic(s *service, c *call) error {
	if err := s.requirePublic(c); err != nil {
		return err
	}
	return s.info(c, serviceActor)
}

func (s *service) info(c *call, a actor) error {
	o, err := s.objectAs(c, a)
	if err != nil {
		return err
	}
	m := o.meta()
	body := infoBody{
		ID: o.ID, Name: o.Name, Version: o.version(), BucketID: o.BucketID, Size: m.Size, ContentType: m.MIME,
		CacheControl: m.CacheControl, ETag: m.ETag, Metadata: o.UserMetadata,
		LastModified: m.LastModified, CreatedAt: timestamp(o.CreatedAt),
	}
	if body.Metadata == nil {
		body.Metadata = map[string]any{}
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}
