package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// claims are what the agent may be let in by, in the order in which it shows them while
// the server refuses: the credential; the one that it has proposed, of which it does not
// know whether it was taken; and the token that it was given. One without a credential
// shows the token. A refusal may pass, so that what is kept is given up only for what
// is new.
//
// One that shall give up does not show a token that has let it in: its credential was
// revoked since, and a token for many nodes would undo that, or be refused because the
// node of this name still counts as connected, which is not what its owner must know.
func (a *Agent) claims(kept identity) []identity {
	var list []identity
	if kept.Credential != "" {
		list = append(list, identity{NodeID: kept.NodeID, Name: kept.Name, Credential: kept.Credential})
		if a.cfg.GiveUp && a.wasLetIn() {
			return list
		}
	}
	proposed := identity{Name: a.cfg.Name, Credential: kept.Proposed}
	if kept.Proposed != "" {
		list = append(list, proposed)
	}
	if a.cfg.Token != "" || a.cfg.TokenSource != nil || len(list) == 0 {
		list = append(list, identity{Name: a.cfg.Name, Proposed: kept.Proposed})
		if kept.Proposed != "" {
			// The registration may have been stored in the meantime, and so the token be used.
			list = append(list, proposed)
		}
	}
	return list
}

// wasLetIn says whether the node was registered since the agent runs.
func (a *Agent) wasLetIn() bool {
	select {
	case <-a.registered:
		return true
	default:
		return false
	}
}

// token is what a claim shows: its credential, else what the agent was given.
func (a *Agent) token(ctx context.Context, claim identity) (string, error) {
	if claim.Credential != "" {
		return claim.Credential, nil
	}
	if a.cfg.TokenSource == nil {
		return a.cfg.Token, nil
	}
	token, err := a.cfg.TokenSource(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	return token, nil
}

// enter opens a connection by the first of the claims that is not refused; it gives
// that one and those behind it.
func (a *Agent) enter(ctx context.Context, claims []identity) (*session, wire.Connected, *ending, []identity, error) {
	for {
		token, err := a.token(ctx, claims[0])
		if err != nil {
			return nil, wire.Connected{}, nil, nil, err
		}
		s, connected, over, err := a.open(ctx, token)
		if !a.fallsBack(ctx, claims, err) {
			return s, connected, over, claims, err
		}
		claims = claims[1:]
	}
}

// authenticate shows the claims to a server that asks for them after the handshake,
// until one is taken; it gives that one and those behind it.
func (a *Agent) authenticate(ctx context.Context, s *session, claims []identity) ([]identity, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		token, err := a.token(ctx, claims[0])
		if err != nil {
			return nil, err
		}
		if token == "" {
			return nil, fmt.Errorf("authenticate: no token was given: %w", ErrRefused)
		}
		err = s.request(ctx, wire.TypeAuthenticate, wire.Authenticate{Token: token}, nil)
		if !a.fallsBack(ctx, claims, err) {
			return claims, err
		}
		claims = claims[1:]
	}
}

// fallsBack says whether the next claim shall be shown, since the first is refused: the
// credential was revoked, the database is a new one, or what was proposed was not taken.
func (a *Agent) fallsBack(ctx context.Context, claims []identity, err error) bool {
	if err == nil || !refused(err) || len(claims) < 2 {
		return false
	}
	a.log.WarnContext(ctx, "the server refuses what the node has shown, trying what else it has", slog.Any("error", err))
	return true
}

// register presents the node and what is alive on it, and keeps the credential. It
// gives the identity that is kept in the end, also with an error.
func (a *Agent) register(ctx context.Context, s *session, kept, claim identity) (time.Duration, identity, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if claim.Credential == "" {
		var err error
		if kept, err = a.propose(ctx, kept); err != nil {
			return 0, kept, err
		}
	}
	req := a.introduction(ctx)
	if claim.Credential == "" {
		req.Credential = kept.Proposed
	}
	var ack wire.Registered
	if err := s.request(ctx, wire.TypeRegister, req, &ack); err != nil {
		if claim.Credential == "" && refused(err) {
			return 0, a.withdraw(ctx, kept), err
		}
		return 0, kept, err
	}
	next := identity{NodeID: ack.Node.ID, Name: a.cfg.Name, Credential: claim.Credential}
	switch {
	case ack.Credential != "":
		next.Credential = ack.Credential // that of an older server, or one to replace the old
	case claim.Credential == "":
		next.Credential = kept.Proposed
	}
	if next != kept {
		if err := a.ledger.saveIdentity(ctx, next); err != nil {
			return 0, kept, err
		}
	}
	a.nodeID.Store(&next.NodeID)
	a.log.InfoContext(ctx, "registered", slog.String("node", next.NodeID), slog.String("name", a.cfg.Name))
	interval := defaultHeartbeat
	if ack.HeartbeatIntervalMS > 0 {
		interval = time.Duration(ack.HeartbeatIntervalMS) * time.Millisecond
	}
	if a.cfg.Heartbeat > 0 {
		interval = a.cfg.Heartbeat
	}
	return interval, next, nil
}

// introduction is what the agent says of its node.
func (a *Agent) introduction(ctx context.Context) wire.Register {
	capabilities := a.cfg.Executor.Capabilities()
	capabilities.Agent = a.cfg.Version
	req := wire.Register{
		RegisterNodeRequest: api.RegisterNodeRequest{
			Name: a.cfg.Name, RuntimeType: a.cfg.RuntimeType, Capabilities: capabilities, Allocatable: a.cfg.Allocatable,
			Labels: a.cfg.Labels, Annotations: a.cfg.Annotations, Taints: a.cfg.Taints, Namespaces: a.cfg.Namespaces,
		},
		Runs: a.worker.inventory(ctx),
	}
	if a.cfg.Conditions != nil {
		req.Conditions = orEmpty(a.cfg.Conditions())
	}
	return req
}

// propose makes a credential, unless one is proposed already, and has kept it on
// return: should the agent end between the server's answer and keeping it, nobody else
// could come back as the node, and the join token would be used up.
func (a *Agent) propose(ctx context.Context, kept identity) (identity, error) {
	if kept.Proposed != "" {
		return kept, nil
	}
	var b [api.CredentialBytes]byte
	if err := a.cfg.Random(b[:]); err != nil {
		return kept, fmt.Errorf("make a credential: %w", err)
	}
	next := kept
	next.Name, next.Proposed = a.cfg.Name, api.NewCredential(b)
	if err := a.ledger.saveIdentity(ctx, next); err != nil {
		return kept, err
	}
	return next, nil
}

// withdraw forgets a proposal that the server has refused: it was not taken. Where that
// cannot be written down, it is proposed and refused once more.
func (a *Agent) withdraw(ctx context.Context, kept identity) identity {
	next := kept
	next.Proposed = ""
	if err := a.ledger.saveIdentity(ctx, next); err != nil {
		a.log.WarnContext(ctx, "a refused proposal could not be forgotten", slog.Any("error", err))
		return kept
	}
	return next
}
