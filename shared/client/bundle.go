package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// DownloadBundle fetches the bundle of a pack from Storage and checks its digest. The
// token of the caller stays with the server: the address is signed.
func (c *Client) DownloadBundle(ctx context.Context, id string) ([]byte, error) {
	at, err := c.PackBundle(ctx, id)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.URL, nil)
	if err != nil {
		return nil, fault.New(fault.Internal, "the server gave an address of the bundle that is none")
	}
	resp, err := c.config.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fault.FromNetwork(err, req.URL.Host)
	}
	defer func() { _ = resp.Body.Close() }() // what counts has been read
	if resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Unavailable, "Storage answered with HTTP status %d instead of the bundle", resp.StatusCode)
	}
	code, err := io.ReadAll(io.LimitReader(resp.Body, api.MaxBundleBytes+1))
	if err != nil {
		return nil, fault.FromNetwork(err, req.URL.Host)
	}
	if sum := sha256.Sum256(code); hex.EncodeToString(sum[:]) != at.SHA256 {
		return nil, fault.New(fault.Conflict, "what Storage gave is not the bundle of the pack: its digest is another one")
	}
	return code, nil
}
