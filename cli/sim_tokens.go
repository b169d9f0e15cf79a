package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// tokenUses is how many agents share a join token: as many as one may have.
const tokenUses = 1000

// fleetTokens gives each simulated agent what it registers with.
type fleetTokens struct {
	given  string         // one join token for all, or ""
	client *client.Client // of the signed-in user; nil where a token was given and nothing is to be deleted

	mu   sync.Mutex
	want int // agents that have not asked yet
	left int // uses of the present token that nobody has asked for
	now  api.JoinToken
}

// fleetTokens makes the first token at once, so that who may not is told before anything
// is started.
func (a *app) fleetTokens(ctx context.Context, f fleetFlags) (*fleetTokens, error) {
	t := &fleetTokens{given: a.getenv("STARK_JOIN_TOKEN"), want: f.count}
	var err error
	if f.tokenFile != "" {
		if t.given, err = readToken(f.tokenFile); err != nil {
			return nil, err
		}
	}
	if t.given != "" && !f.remove {
		return t, nil
	}
	if t.client, err = a.client(); err != nil || t.given != "" {
		return t, err
	}
	return t, t.renew(ctx)
}

// renew makes another token. The caller holds mu, or is alone.
func (t *fleetTokens) renew(ctx context.Context) error {
	uses := max(1, min(tokenUses, t.want))
	made, err := t.client.CreateJoinToken(ctx, api.CreateJoinTokenRequest{Uses: uses})
	if err == nil {
		t.now, t.left = made, uses
	}
	return err
}

// next gives a token that is good for one more registration.
func (t *fleetTokens) next(ctx context.Context) (string, error) {
	if t.given != "" {
		return t.given, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		if err := t.renew(ctx); err != nil {
			return "", err
		}
	}
	t.left--
	t.want--
	return t.now.Token, nil
}

// revoke ends the token that still has uses.
func (t *fleetTokens) revoke(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now.ID == "" {
		return nil
	}
	return t.client.RevokeJoinToken(ctx, t.now.ID)
}

// removeAtOnce bounds the requests that delete nodes at the same time.
const removeAtOnce = 8

// remove deletes nodes and gives how many.
func (t *fleetTokens) remove(ctx context.Context, ids []string) (removed int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	queue := make(chan string, len(ids))
	for _, id := range ids {
		queue <- id
	}
	close(queue)
	for range removeAtOnce {
		wg.Go(func() {
			for id := range queue {
				one := t.removeOne(ctx, id)
				mu.Lock()
				if one == nil {
					removed++
				} else if err == nil {
					err = one
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return removed, err
}

// removeOne deletes a node, and waits as long as the server asks for.
func (t *fleetTokens) removeOne(ctx context.Context, id string) error {
	for {
		err := t.client.DeleteNode(ctx, id)
		limited, ok := errors.AsType[*fault.Error](err)
		if !ok || limited.Code != fault.RateLimited {
			return err
		}
		select {
		case <-time.After(max(limited.RetryAfter, time.Second)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
