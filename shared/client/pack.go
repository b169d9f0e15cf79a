package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// Bundle is the file of an upload. Open is called again when the request has to
// be repeated; who calls Open closes what it gave.
type Bundle struct {
	Open     func() (io.ReadCloser, error)
	Size     int64
	Progress func(sent int64) // nil: nobody watches; called from the goroutine that sends
}

type onePack struct {
	Pack api.Pack `json:"pack"`
}

// CreatePack registers a version of a pack and uploads its bundle. The context
// alone bounds the upload.
func (c *Client) CreatePack(ctx context.Context, r api.CreatePackRequest, b Bundle) (api.Pack, error) {
	fields, err := packFields(r)
	if err != nil {
		return api.Pack{}, err
	}
	boundary := "stark-" + api.NewID()
	k := call{
		method: http.MethodPost, path: []string{"api", "packs"}, noTimeout: true, once: true,
		contentType: "multipart/form-data; boundary=" + boundary,
		body: func() (io.Reader, int64, error) {
			file, err := b.Open()
			if err != nil {
				return nil, 0, err
			}
			read, write := io.Pipe()
			go func() {
				err := errors.Join(writeForm(write, boundary, fields, b, file), file.Close())
				_ = write.CloseWithError(err) // never fails
			}()
			return read, formLength(boundary, fields, b.Size), nil
		},
	}
	var out onePack
	err = c.do(ctx, k, &out)
	return out.Pack, err
}

// RegisterPack makes a version of a pack of a bundle that lies in Storage already:
// r.BundleSHA256 names it.
func (c *Client) RegisterPack(ctx context.Context, r api.CreatePackRequest) (api.Pack, error) {
	var out onePack
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"api", "packs"}, noTimeout: true, once: true}.jsonBody(r), &out)
	return out.Pack, err
}

// packFields lists the form's fields in order; they come before the file.
func packFields(r api.CreatePackRequest) ([][2]string, error) {
	fields := [][2]string{
		{"name", r.Name},
		{"version", r.Version},
		{"runtimeTag", string(r.RuntimeTag)},
		{"visibility", string(r.Visibility)},
		{"format", string(r.Format)},
		{"description", r.Description},
	}
	if len(r.Metadata) > 0 {
		data, err := json.Marshal(r.Metadata)
		if err != nil {
			return nil, fault.Wrap(err, fault.Validation, "the metadata cannot be written as JSON")
		}
		fields = append(fields, [2]string{"metadata", string(data)})
	}
	return fields, nil
}

// writeForm writes the whole form. The file must have exactly the size that
// Content-Length has promised.
func writeForm(w io.Writer, boundary string, fields [][2]string, b Bundle, file io.Reader) error {
	form := multipart.NewWriter(w)
	if err := form.SetBoundary(boundary); err != nil {
		return err
	}
	for _, f := range fields {
		if f[1] == "" {
			continue
		}
		if err := form.WriteField(f[0], f[1]); err != nil {
			return err
		}
	}
	part, err := form.CreateFormFile("bundle", "bundle.js")
	if err != nil {
		return err
	}
	n, err := io.Copy(part, &progressReader{r: io.LimitReader(file, b.Size+1), tell: b.Progress})
	if err != nil {
		return err
	}
	if n != b.Size {
		return fault.New(fault.Conflict, "the bundle changed while it was sent")
	}
	return form.Close()
}

// countingWriter counts what is written and keeps nothing.
type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

// formLength is the length of the form: that of one without file, and the file.
func formLength(boundary string, fields [][2]string, size int64) int64 {
	var w countingWriter
	if err := writeForm(&w, boundary, fields, Bundle{}, eofReader{}); err != nil {
		return -1 // unknown; sent in chunks
	}
	return int64(w) + size
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// progressReader tells how far a file has been read.
type progressReader struct {
	r    io.Reader
	sent int64
	tell func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.sent += int64(n)
	if p.tell != nil && n > 0 {
		p.tell(p.sent)
	}
	return n, err
}

// ListPacks lists versions of packs, newest first.
func (c *Client) ListPacks(ctx context.Context, q api.PackQuery) (api.Page[api.Pack], error) {
	v := pageValues(q.PageQuery)
	set(v, "runtimeTag", string(q.RuntimeTag))
	set(v, "search", q.Search)
	set(v, "name", q.Name)
	set(v, "version", q.Version)
	set(v, "ownerId", q.OwnerID)
	var out struct {
		Packs                 []api.Pack `json:"packs"`
		Total, Page, PageSize int
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "packs"}, query: v}, &out)
	return api.Page[api.Pack]{Items: out.Packs, Total: out.Total, Page: out.Page, PageSize: out.PageSize}, err
}

// GetPack gives one version of a pack.
func (c *Client) GetPack(ctx context.Context, id string) (api.Pack, error) {
	var out onePack
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "packs", id}}, &out)
	return out.Pack, err
}

// PackVersions lists the versions of a pack by its name.
func (c *Client) PackVersions(ctx context.Context, name string) ([]api.PackVersion, error) {
	var out struct {
		Versions []api.PackVersion `json:"versions"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "packs", name, "versions"}}, &out)
	return out.Versions, err
}

// UpdatePack changes what may change of a pack.
func (c *Client) UpdatePack(ctx context.Context, id string, r api.UpdatePackRequest) (api.Pack, error) {
	var out onePack
	err := c.do(ctx, call{method: http.MethodPatch, path: []string{"api", "packs", id}}.jsonBody(r), &out)
	return out.Pack, err
}

// DeletePack removes one version of a pack.
func (c *Client) DeletePack(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"api", "packs", id}}, nil)
}

// BundleLocation says where a bundle can be fetched for a short time.
type BundleLocation struct {
	URL       string    `json:"url"` // signed, never logged
	ExpiresAt time.Time `json:"expiresAt"`
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`
}

// PackBundle gives the address of a pack's bundle.
func (c *Client) PackBundle(ctx context.Context, id string) (BundleLocation, error) {
	var out BundleLocation
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "packs", id, "bundle"}}, &out)
	return out, err
}
