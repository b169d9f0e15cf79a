package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// read shows a pass to its server and hands on what that answers. It returns nil where
// the reader has left or been told the end.
func (r *Relay) read(ctx context.Context, pass Pass, o wire.LogsOpen, yield func(wire.LogsChunk, error) bool) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode a question for logs: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(pass.Address, "/")+Path, bytes.NewReader(body))
	if err != nil {
		return errGone(err)
	}
	req.Header.Set("Authorization", "Bearer "+pass.Secret)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		r.log.WarnContext(ctx, "another server cannot be reached: check its STARK_ADVERTISE_URL", slog.String("address", pass.Address), slog.Any("error", err))
		return errGone(err)
	}
	defer func() { _ = resp.Body.Close() }() // the stream is over either way
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxOpen)) // so that the connection can be used again
		r.log.WarnContext(ctx, "another server refuses to relay logs", slog.String("address", pass.Address), slog.Int("status", resp.StatusCode))
		return errGone(fmt.Errorf("status %d", resp.StatusCode))
	}
	// A peer that has frozen says nothing: the timer cuts the connection.
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	return readFrames(resp.Body, alive, yield)
}

func readFrames(body io.Reader, alive *time.Timer, yield func(wire.LogsChunk, error) bool) error {
	const firstBuffer = 64 << 10
	scan := bufio.NewScanner(body)
	scan.Buffer(make([]byte, 0, firstBuffer), maxFrame)
	for scan.Scan() {
		// The reader's own slowness is not the peer's.
		alive.Stop()
		var f frame
		if err := json.Unmarshal(scan.Bytes(), &f); err != nil {
			return errGone(err)
		}
		switch {
		case f.End != nil && f.End.Code != "":
			return fault.New(fault.Code(f.End.Code), "%s", f.End.Message)
		case f.End != nil:
			return nil
		case f.Chunk != nil:
			if !yield(*f.Chunk, nil) {
				return nil
			}
		}
		alive.Reset(silence)
	}
	if err := scan.Err(); err != nil {
		return errGone(err)
	}
	return errGone(errCut)
}
