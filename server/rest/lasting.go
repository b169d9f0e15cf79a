package rest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// reviewEvery is how often an answer that goes on for long asks whether its reader
// may still have it.
const reviewEvery = 2 * time.Second

// whileVisible ends chunks, with the reason as their last word, when the reader's
// session ends or the pod is no longer theirs to see.
func (s *server) whileVisible(ctx context.Context, who caller, pod api.Pod, chunks func(context.Context) iter.Seq2[wire.LogsChunk, error]) iter.Seq2[wire.LogsChunk, error] {
	return s.whileReviewed(ctx, who, chunks, func(ctx context.Context, end context.CancelCauseFunc) { s.review(ctx, end, who, pod) })
}

// whileReviewed ends chunks, with the reason as their last word, when review ends them.
// The expiry of the token is no reason, unless it is all there is: a stream cannot be
// given a new one, and the session behind it lasts.
func (s *server) whileReviewed(ctx context.Context, who caller, chunks func(context.Context) iter.Seq2[wire.LogsChunk, error], review func(context.Context, context.CancelCauseFunc)) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		var reviewer sync.WaitGroup
		defer reviewer.Wait()
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		if who.SessionID == "" && !who.ExpiresAt.IsZero() {
			var stop context.CancelFunc
			ctx, stop = context.WithDeadlineCause(ctx, who.ExpiresAt, fault.New(fault.TokenExpired, "the token has expired"))
			defer stop()
		}
		reviewer.Go(func() { review(ctx, end) })
		for chunk, err := range chunks(ctx) {
			if reason, ended := ended(ctx); ended {
				yield(wire.LogsChunk{}, reason)
				return
			}
			if !yield(chunk, err) {
				return
			}
		}
		if reason, ended := ended(ctx); ended {
			yield(wire.LogsChunk{}, reason)
		}
	}
}

// ended gives why review has ended ctx, if it has.
func ended(ctx context.Context) (reason *fault.Error, ended bool) {
	return errors.AsType[*fault.Error](context.Cause(ctx))
}

func (s *server) review(ctx context.Context, end context.CancelCauseFunc, who caller, pod api.Pod) {
	ticker := time.NewTicker(reviewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.stillVisible(ctx, who.Identity, pod); err != nil {
			end(err)
			return
		}
	}
}

// stillVisible refuses only what is known for certain: a database that is away
// ends nothing.
func (s *server) stillVisible(ctx context.Context, id access.Identity, pod api.Pod) error {
	call, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	err := s.Verifier.Alive(call, id)
	var roles []api.Role
	known := true
	if err == nil {
		roles, known, err = s.roles.of(call, id.UserID)
	}
	switch fault.CodeOf(err) {
	case "":
	case fault.TokenInvalid, fault.Forbidden:
		return err
	default:
		return nil
	}
	id.Roles = roles
	if !known || !access.VisiblePod(id, pod, func(ns string) bool { return s.Store.MemberOf(ns, id.UserID) }) {
		return fault.New(fault.Forbidden, "you may not see this pod any more")
	}
	return nil
}
