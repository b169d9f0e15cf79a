package rest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

type drainInput struct {
	IDInput
	IfMatchInput
	Body Body[api.DrainNodeRequest, *api.DrainNodeRequest]
}

type nodeDrainState struct {
	Drain   *api.NodeDrain   `json:"drain" doc:"null when the node was never drained, or was uncordoned since"`
	Blocked []api.DrainBlock `json:"blocked" doc:"of the pods that you see, those that were not told to leave, and why"`
	NodeID  string           `json:"nodeId"`
}

type changeNodeInput struct {
	IDInput
	IfMatchInput
}

func (s *server) drainRoutes() {
	update := may(access.Update, access.Node)
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/{id}/cordon", id: "cordonNode", tag: "nodes", rule: update,
		summary: "Keep new pods off a node",
	}, s.cordon(true))
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/{id}/uncordon", id: "uncordonNode", tag: "nodes", rule: update,
		summary: "Let new pods onto a node again; this also cancels a drain",
	}, s.cordon(false))
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes/{id}/drain", id: "drainNode", tag: "nodes", rule: update,
		summary: "Cordon a node and empty it; asked again, change how",
	}, s.drainNode)
	register(s, operation{
		method: http.MethodGet, path: "/api/nodes/{id}/drain", id: "getNodeDrain", tag: "nodes", rule: may(access.Read, access.Node),
		summary: "How far a drain is, and what keeps it",
	}, s.getDrain)
	register(s, operation{
		method: http.MethodDelete, path: "/api/nodes/{id}/drain", id: "cancelNodeDrain", tag: "nodes", rule: update,
		summary: "Cancel a drain; the node stays cordoned, and pods that were told to leave still do",
	}, s.cancelDrain)
}

func (s *server) cordon(on bool) func(context.Context, caller, *changeNodeInput) (oneNode, error) {
	return func(ctx context.Context, who caller, in *changeNodeInput) (oneNode, error) {
		id, err := in.uuid()
		if err != nil {
			return oneNode{}, err
		}
		return s.nodeAnswer(s.DB.UpdateNode(ctx, who.Identity, id, api.UpdateNodeRequest{Unschedulable: &on}))
	}
}

func (s *server) drainNode(ctx context.Context, who caller, in *drainInput) (oneNode, error) {
	id, err := in.uuid()
	if err != nil {
		return oneNode{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return oneNode{}, err
	}
	n, err := s.DB.DrainNode(ctx, who.Identity, id, req)
	s.audit(ctx, "node.drain", err == nil, "", slog.String("by", who.UserID), slog.String("node", id), slog.Bool("force", req.Force))
	return s.nodeAnswer(n, err)
}

func (s *server) getDrain(ctx context.Context, who caller, in *IDInput) (nodeDrainState, error) {
	id, err := in.uuid()
	if err != nil {
		return nodeDrainState{}, err
	}
	drain, blocked, err := s.DB.NodeDrain(ctx, who.Identity, id)
	return nodeDrainState{Drain: drain, Blocked: emptyIfNil(blocked), NodeID: id}, err
}

func (s *server) cancelDrain(ctx context.Context, who caller, in *changeNodeInput) (oneNode, error) {
	id, err := in.uuid()
	if err != nil {
		return oneNode{}, err
	}
	n, err := s.DB.CancelDrain(ctx, who.Identity, id)
	s.audit(ctx, "node.drain.cancel", err == nil, "", slog.String("by", who.UserID), slog.String("node", id))
	return s.nodeAnswer(n, err)
}
