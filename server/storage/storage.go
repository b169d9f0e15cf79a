// Package storage keeps pack bundles in Supabase Storage, in the one bucket that
// is made for them. Small JSON calls go through storage-go, of which it is the
// only importer; bundles stream over net/http with their length declared, because
// Storage enforces no size limit on a chunked upload. It decides no rights:
// Storage does, by the token that a call carries.
package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	storagego "github.com/supabase-community/storage-go"

	"github.com/stark-orchestrator/stark/server/supabase"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Client speaks to one project's Storage. It is safe for concurrent use.
type Client struct {
	factory *supabase.Factory
	bucket  string
}

// New makes a Client for the project at url.
func New(url, anonKey, serviceKey string) (*Client, error) {
	f, err := supabase.NewFactory(supabase.Config{URL: url, AnonKey: anonKey, ServiceKey: serviceKey})
	if err != nil {
		return nil, err
	}
	return NewWithFactory(f), nil
}

// NewWithFactory makes a Client that shares a Factory.
func NewWithFactory(f *supabase.Factory) *Client {
	return &Client{factory: f, bucket: api.BundleBucket}
}

// Put uploads an object of exactly size bytes with the rights of the user whose
// token it is, and gives the object's id, or "" where Storage tells none. An
// existing object is a Conflict and stays as it is.
func (c *Client) Put(ctx context.Context, userToken, path string, r io.Reader, size int64, contentType string) (objectID string, err error) {
	if userToken == "" {
		return "", fault.New(fault.AuthenticationRequired, "an upload needs the user's token")
	}
	body := struct{ io.Reader }{r} // hides Close: the caller keeps the file
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.factory.ObjectURL("object", c.bucket, path), body)
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", path, err)
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	c.factory.Header(req.Header, userToken)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Cache-Control", "max-age=31536000")
	req.Header.Set("X-Upsert", "false")
	resp, err := c.factory.StreamClient().Do(req)
	if err != nil {
		return "", supabase.Fault(err, "upload bundle")
	}
	raw, err := drain(resp)
	var object struct{ ID string }
	_ = json.Unmarshal(raw, &object) // it is stored, whatever else the answer says
	return object.ID, err
}

// Open reads an object with the rights of the user whose token it is, or as the
// service when userToken is "". The caller closes the body.
func (c *Client) Open(ctx context.Context, userToken, path string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.factory.ObjectURL("object", "authenticated", c.bucket, path), http.NoBody)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", path, err)
	}
	c.factory.Header(req.Header, userToken)
	resp, err := c.factory.StreamClient().Do(req)
	if err != nil {
		return nil, 0, supabase.Fault(err, "open bundle")
	}
	return resp.Body, resp.ContentLength, nil
}

// SignedURL makes an address that opens an object for ttl without further
// credentials. It acts as the service: the caller has checked the right to read.
func (c *Client) SignedURL(ctx context.Context, path string, ttl time.Duration) (string, time.Time, error) {
	expires := time.Now().Add(ttl)
	var answer storagego.SignedUrlResponse
	body := map[string]any{"expiresIn": int(ttl / time.Second)}
	if err := c.call(ctx, http.MethodPost, &answer, body, "object", "sign", c.bucket, path); err != nil {
		return "", time.Time{}, err
	}
	if !strings.HasPrefix(answer.SignedURL, "/") {
		return "", time.Time{}, fault.New(fault.Unavailable, "Supabase Storage gave no signed URL")
	}
	return c.factory.ObjectURL() + answer.SignedURL, expires, nil
}

// Delete removes an object as the service; one that is gone already is no fault.
func (c *Client) Delete(ctx context.Context, path string) error {
	var removed []map[string]any
	return c.call(ctx, http.MethodDelete, &removed, map[string]any{"prefixes": []string{path}}, "object", c.bucket)
}

// Health reports whether the bucket can be reached.
func (c *Client) Health(ctx context.Context) error {
	var bucket map[string]any
	return c.call(ctx, http.MethodGet, &bucket, nil, "bucket", c.bucket)
}

// call makes one JSON call with a client of its own.
func (c *Client) call(ctx context.Context, method string, into, body any, segments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, c.factory.Timeout())
	defer cancel()
	client, err := c.factory.Storage("")
	if err != nil {
		return err
	}
	if body == nil {
		body = struct{}{}
	}
	req, err := client.Storage.NewRequest(method, c.factory.StorageURL(segments...), body)
	if err != nil {
		return fmt.Errorf("build a Storage request: %w", err)
	}
	if method == http.MethodGet {
		req.Body, req.ContentLength, req.GetBody = http.NoBody, 0, nil
	}
	resp, err := client.Storage.Do(req.WithContext(ctx), into)
	if err != nil {
		return supabase.Fault(err, "call Storage")
	}
	return resp.Body.Close()
}

// drain reads a small answer to its end, so that the connection is kept.
func drain(resp *http.Response) ([]byte, error) {
	const most = 64 << 10
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "Supabase Storage broke off")
	}
	return raw, nil
}
