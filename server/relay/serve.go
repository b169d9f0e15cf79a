package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// longestPass bounds what is looked up as a pass, in bytes.
const longestPass = 128

// ServeHTTP streams the output that a pass is good for as lines of JSON: chunks, a beat
// where there is nothing to say, and a last line that says how it ended.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, fault.New(fault.MethodNotAllowed, "servers ask by POST"))
		return
	}
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	default:
		refuse(w, http.StatusServiceUnavailable, fault.New(fault.Unavailable, "this server relays as many logs as it can"))
		return
	}
	target, open, err := r.admit(w, req)
	switch code := fault.CodeOf(err); {
	case err == nil:
		r.stream(w, req, target, open)
	case code == fault.TokenInvalid:
		refuse(w, http.StatusUnauthorized, err)
	case code == fault.Validation:
		refuse(w, http.StatusBadRequest, err)
	default:
		r.log.WarnContext(req.Context(), "a pass could not be checked", slog.Any("error", err))
		refuse(w, http.StatusServiceUnavailable, fault.New(fault.Unavailable, "the pass cannot be checked now"))
	}
}

// admit reads the question and uses up its pass.
func (r *Relay) admit(w http.ResponseWriter, req *http.Request) (Target, wire.LogsOpen, error) {
	var open wire.LogsOpen
	secret, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok || secret == "" || len(secret) > longestPass {
		return Target{}, open, fault.New(fault.TokenInvalid, "a pass is needed")
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(callTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Target{}, open, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxOpen))
	if err == nil {
		err = json.Unmarshal(body, &open)
	}
	if err != nil {
		return Target{}, open, fault.Wrap(err, fault.Validation, "the question cannot be read")
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Target{}, open, err
	}
	call, cancel := context.WithTimeout(req.Context(), callTimeout)
	defer cancel()
	target, err := r.db.RedeemRelayPass(call, secret)
	if err == nil && target.PodID != open.PodID {
		err = fault.New(fault.TokenInvalid, "the pass is for another pod")
	}
	return target, open, err
}

func (r *Relay) stream(w http.ResponseWriter, req *http.Request, target Target, open wire.LogsOpen) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	out := &writer{rc: http.NewResponseController(w), enc: json.NewEncoder(w)}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if out.write(frame{Beat: true}) != nil { // at once: the other side waits for the head
		return
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() { out.beat(ctx, cancel) })
	end := wire.LogsEnd{}
	for chunk, err := range r.local.OpenLogs(ctx, target.NodeID, open) {
		if err != nil {
			end.Code, end.Message = string(fault.CodeOf(err)), "the stream has ended"
			if f, ok := errors.AsType[*fault.Error](err); ok {
				end.Message = f.Message
			}
			break
		}
		if out.write(frame{Chunk: &chunk}) != nil {
			return // the other server has gone
		}
	}
	_ = out.write(frame{End: &end}) // whoever is there to hear it
}

// writer writes frames one by one.
type writer struct {
	mu  sync.Mutex
	rc  *http.ResponseController
	enc *json.Encoder
}

func (o *writer) write(f frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := o.enc.Encode(f); err != nil {
		return err
	}
	return o.rc.Flush()
}

// beat shows that this server lives, and ends the stream when nobody hears it.
func (o *writer) beat(ctx context.Context, cancel context.CancelFunc) {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if o.write(frame{Beat: true}) != nil {
			cancel()
			return
		}
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(fault.ToEnvelope(err)) // nobody is left to tell
}
