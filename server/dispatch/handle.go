package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/stark-orchestrator/stark/core/node"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

type handler func(s *session, ctx context.Context, e wire.Envelope) error

// handlers is the table of what a peer may say.
var handlers = map[string]handler{
	wire.TypeAuthenticate:   (*session).onAuthenticate,
	wire.TypePing:           (*session).onPing,
	wire.TypePong:           func(*session, context.Context, wire.Envelope) error { return nil },
	wire.TypeRegister:       (*session).onRegister,
	wire.TypeHeartbeat:      (*session).onHeartbeat,
	wire.TypeUnregister:     (*session).onUnregister,
	wire.TypeRunsAck:        (*session).onRunsAck,
	wire.TypeRunsResync:     (*session).onRunsResync,
	wire.TypeRunReport:      (*session).onRunReport,
	wire.TypeBundleURL:      (*session).onBundleURL,
	wire.TypeLogsChunk:      (*session).onLogsChunk,
	wire.TypeLogsEnd:        (*session).onLogsEnd,
	wire.TypeLogsCheckpoint: (*session).onLogsCheckpoint,
	wire.TypeWatch:          (*session).onWatch,
	wire.TypeUnwatch:        (*session).onUnwatch,
}

func (s *session) handle(ctx context.Context, e wire.Envelope) {
	h, ok := handlers[e.Type]
	if !ok {
		s.d.metrics.received.WithLabelValues("unknown").Inc()
		s.reply(wire.TypeError, e.CorrelationID, wire.Failure{
			Code: wire.CodeUnknownMessageType, Message: "this type of message is not known",
		})
		return
	}
	s.d.metrics.received.WithLabelValues(e.Type).Inc()
	if err := h(s, ctx, e); err != nil && ctx.Err() == nil {
		s.refuse(e, err)
	}
}

func (s *session) onPing(_ context.Context, e wire.Envelope) error {
	s.reply(wire.TypePong, e.CorrelationID, map[string]time.Time{"timestamp": time.Now().UTC()})
	return nil
}

// onRegister makes the session its node's: the answer, what the inventory tells,
// and the complete wanted set.
func (s *session) onRegister(ctx context.Context, e wire.Envelope) error {
	by, err := s.registrar()
	if err != nil {
		return err
	}
	req, err := decode[wire.Register](e)
	if err != nil {
		return err
	}
	if err := errors.Join(req.Validate(), api.ValidateConditions(req.Conditions)); err != nil {
		return err
	}
	if req.Credential != "" {
		if err := api.ValidateCredential("credential", req.Credential); err != nil {
			return err
		}
		by.Proposed = req.Credential
	}
	if id := s.node(); id != "" && by.NodeID != id {
		return fault.New(fault.Conflict, "this connection has registered another node")
	}
	if err := s.takePlace(); err != nil {
		return err
	}
	defer s.leavePlace()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// A set that is read before changes are routed could show a pod whose end nobody
	// tells of.
	select {
	case <-s.d.routing:
	case <-call.Done():
		return fault.New(fault.Unavailable, "this server has just started: try again")
	}
	reg, first, err := s.d.register(call, s, by, req.RegisterNodeRequest)
	if err != nil || reg == nil {
		return err
	}
	s.d.tell(s, reg.Node.ID, req.Conditions, nil)
	s.leavePlace()
	s.ack(e, wire.Registered{
		Node: reg.Node, Credential: reg.Credential,
		HeartbeatIntervalMS: s.d.heartbeatMS(), ServerTime: s.d.Now().UTC(),
	})
	s.reconcile(ctx, first, req.Runs)
	return nil
}

// heartbeatMS is how often agents are to show that they live, as the cluster's settings
// say now; those that are connected learn of a change by the next answer.
func (d *Dispatcher) heartbeatMS() int {
	return int(node.TimeoutsOf(d.Store.Config()).Interval.Milliseconds())
}

// onHeartbeat also shows that the node has kept the credential which it was given:
// an agent stores it before its first heartbeat.
func (s *session) onHeartbeat(ctx context.Context, e wire.Envelope) error {
	h, err := decode[wire.Heartbeat](e)
	if err != nil {
		return err
	}
	nodeID, err := s.needNode(h.NodeID)
	if err != nil {
		return err
	}
	s.d.mu.Lock()
	if s.d.nodes[nodeID] == s {
		s.d.beats[nodeID] = s.id
	}
	s.d.mu.Unlock()
	// A node whose words are refused is alive all the same.
	if err := s.onHealth(nodeID, h); err != nil {
		return err
	}
	s.ack(e, wire.HeartbeatAck{NodeID: nodeID, LastHeartbeat: time.Now().UTC(), HeartbeatIntervalMS: s.d.heartbeatMS()})
	s.remind(ctx)
	if id := s.takeUnconfirmed(); id != "" {
		s.aside(ctx, e, func(ctx context.Context) error { return s.confirm(ctx, id) })
	}
	return nil
}

// onUnregister: the node leaves for good. The answer is sent before the socket
// closes, and the status is set as the session ends.
func (s *session) onUnregister(ctx context.Context, e wire.Envelope) error {
	nodeID, err := s.needNode("")
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s.left.Store(true) // first: who renews leases from here on finds the node offline
	if err := s.d.DB.SetNodeStatus(call, nodeID, s.id, api.NodeOffline); err != nil {
		s.left.Store(false)
		return err
	}
	s.ack(e, struct{}{})
	return nil
}

func (s *session) onRunsAck(_ context.Context, e wire.Envelope) error {
	a, err := decode[wire.RunsAck](e)
	if err != nil {
		return err
	}
	if _, err := s.needNode(""); err != nil {
		return err
	}
	return s.wanted.acknowledge(a.Seq)
}

func (s *session) onRunsResync(_ context.Context, _ wire.Envelope) error {
	if _, err := s.needNode(""); err != nil {
		return err
	}
	s.resync()
	return nil
}

func (s *session) onBundleURL(ctx context.Context, e wire.Envelope) error {
	b, err := decode[wire.BundleURL](e)
	if err != nil {
		return err
	}
	nodeID, err := s.needNode("")
	if err != nil {
		return err
	}
	if !api.ValidID(b.PodID) || b.Incarnation < 1 {
		return fault.New(fault.Validation, "podId and incarnation must name a pod")
	}
	s.aside(ctx, e, func(ctx context.Context) error {
		p, err := s.d.DB.BundleFor(ctx, nodeID, b.PodID, b.Incarnation)
		if err != nil {
			return err
		}
		address, expires, err := s.d.Signer.SignedURL(ctx, p.BundlePath, s.d.config.BundleURLTTL)
		if err != nil {
			return err
		}
		s.ack(e, wire.BundleURLAck{URL: address, SHA256: p.BundleSHA256, Size: p.BundleSize, ExpiresAt: expires})
		return nil
	})
	return nil
}
