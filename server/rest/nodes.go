package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// PageInput is the paging part of every list. Numbers out of range are clamped.
type PageInput struct {
	Page     int `query:"page" doc:"from 1; default 1"`
	PageSize int `query:"pageSize" doc:"1 to 100; default 20"`
}

func (p PageInput) query() api.PageQuery { return api.PageQuery{Page: p.Page, PageSize: p.PageSize} }

// WatchInput turns a list into a stream of what exists or has changed since, and of
// every change from then on, one JSON object per line.
type WatchInput struct {
	Watch bool   `query:"watch" doc:"stream wire.WatchEvent as application/x-ndjson instead"`
	Since string `query:"since" doc:"with watch: a cursor to go on from; 410 when it is too old"`
}

// IDInput names one object. Like PageInput it is exported for huma, which skips
// embedded structs that are not.
type IDInput struct {
	ID string `path:"id" doc:"UUID"`
}

// changeInput names one object that is to be changed or removed.
type changeInput struct {
	IDInput
	IfMatchInput
}

// oneInput names one object that can be watched.
type oneInput struct {
	IDInput
	WatchInput
}

// one is a handler of one object as that of an endpoint that can be watched.
func one[T any](h func(context.Context, caller, *IDInput) (T, error)) func(context.Context, caller, *oneInput) (T, error) {
	return func(ctx context.Context, who caller, in *oneInput) (T, error) { return h(ctx, who, &in.IDInput) }
}

// uuid gives the id when it can be one, in the small letters in which ids are kept.
func (i IDInput) uuid() (string, error) {
	if !api.ValidID(i.ID) {
		return "", api.InvalidField("id", fault.FieldInvalidFormat, "must be a UUID")
	}
	return strings.ToLower(i.ID), nil
}

type listNodesInput struct {
	PageInput
	RuntimeType   string `query:"runtimeType" doc:"node or browser"`
	Runtime       string `query:"runtime" doc:"another name of runtimeType"`
	Status        string `query:"status"`
	Search        string `query:"search" doc:"part of the name"`
	LabelSelector string `query:"labelSelector" doc:"as in Kubernetes"`
	WatchInput
}

type nodeList struct {
	Nodes    []api.Node `json:"nodes"`
	Total    int        `json:"total"`
	Page     int        `json:"page"`
	PageSize int        `json:"pageSize"`
	Cursor   string     `json:"cursor,omitempty" doc:"where a watch goes on from this list; absent when the database is away"`
}

type oneNode struct {
	Node api.Node `json:"node"`
}

type createNodeInput struct {
	Body Body[api.RegisterNodeRequest, *api.RegisterNodeRequest]
}

type updateNodeInput struct {
	IDInput
	IfMatchInput
	Body Body[api.UpdateNodeRequest, *api.UpdateNodeRequest]
}

type nodeNameInput struct {
	Name string `path:"name"`
}

type deleted struct {
	Deleted bool `json:"deleted"`
}

func (s *server) nodeRoutes() {
	register(s, operation{
		method: http.MethodPost, path: "/api/nodes", id: "createNode", tag: "nodes", rule: may(access.Create, access.Node),
		summary: "Register a node without its agent", status: http.StatusCreated, errors: []int{http.StatusConflict},
	}, s.createNode)
	register(s, operation{
		method: http.MethodGet, path: "/api/nodes", id: "listNodes", tag: "nodes", rule: may(access.Read, access.Node),
		summary: "List nodes; or watch them", errors: watchable,
	}, s.listNodes)
	register(s, operation{
		method: http.MethodGet, path: "/api/nodes/{id}", id: "getNode", tag: "nodes", rule: may(access.Read, access.Node),
		summary: "One node; or watch it", errors: watchable,
	}, one(s.getNode))
	register(s, operation{
		method: http.MethodGet, path: "/api/nodes/name/{name}", id: "getNodeByName", tag: "nodes", rule: may(access.Read, access.Node),
		summary: "One node by its name",
	}, s.getNodeByName)
	register(s, operation{
		method: http.MethodPatch, path: "/api/nodes/{id}", id: "updateNode", tag: "nodes", rule: may(access.Update, access.Node),
		summary: "Change labels, taints, schedulability, room or namespaces of a node", errors: []int{http.StatusConflict},
	}, s.updateNode)
	register(s, operation{
		method: http.MethodDelete, path: "/api/nodes/{id}", id: "deleteNode", tag: "nodes", rule: may(access.Delete, access.Node),
		summary: "Remove a node", errors: []int{http.StatusConflict},
	}, s.deleteNode)
}

func (s *server) createNode(ctx context.Context, who caller, in *createNodeInput) (oneNode, error) {
	req, err := in.Body.get()
	if err != nil {
		return oneNode{}, err
	}
	req.ID = who.objectID
	return s.nodeAnswer(s.DB.CreateNode(ctx, who.Identity, req))
}

func (s *server) listNodes(ctx context.Context, who caller, in *listNodesInput) (nodeList, error) {
	q := api.NodeQuery{
		PageQuery: in.query(), RuntimeType: api.RuntimeType(in.Runtime), Status: api.NodeStatus(in.Status),
		Search: in.Search, LabelSelector: in.LabelSelector,
	}
	if q.RuntimeType == "" {
		q.RuntimeType = api.RuntimeType(in.RuntimeType)
	}
	if err := q.Validate(); err != nil {
		return nodeList{}, err
	}
	page, err := s.DB.ListNodes(ctx, who.Identity, q)
	if err != nil {
		page, err = remembered(s, who, err, func() (api.Page[api.Node], error) { return s.recallNodes(who, q) })
	}
	if err != nil {
		return nodeList{}, err
	}
	s.completeNodes(page.Items)
	return nodeList{Nodes: emptyIfNil(page.Items), Total: page.Total, Page: q.Page, PageSize: q.PageSize, Cursor: page.Cursor}, nil
}

func (s *server) getNode(ctx context.Context, who caller, in *IDInput) (oneNode, error) {
	id, err := in.uuid()
	if err != nil {
		return oneNode{}, err
	}
	n, err := s.DB.GetNode(ctx, who.Identity, id)
	if err != nil {
		n, err = remembered(s, who, err, func() (api.Node, error) { return find(s.Store.Nodes, id, seesNode(who)) })
	}
	return s.nodeAnswer(n, err)
}

func (s *server) getNodeByName(ctx context.Context, who caller, in *nodeNameInput) (oneNode, error) {
	return s.nodeAnswer(s.DB.GetNodeByName(ctx, who.Identity, in.Name))
}

func (s *server) updateNode(ctx context.Context, who caller, in *updateNodeInput) (oneNode, error) {
	id, err := in.uuid()
	if err != nil {
		return oneNode{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return oneNode{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return oneNode{}, err
	}
	return s.nodeAnswer(s.DB.UpdateNode(ctx, who.Identity, id, req))
}

func (s *server) deleteNode(ctx context.Context, who caller, in *changeInput) (deleted, error) {
	id, err := in.uuid()
	if err != nil {
		return deleted{}, err
	}
	if err := s.DB.DeleteNode(ctx, who.Identity, id); err != nil {
		return deleted{}, err
	}
	return deleted{Deleted: true}, nil
}

func (s *server) nodeAnswer(n api.Node, err error) (oneNode, error) {
	if err != nil {
		return oneNode{}, err
	}
	nodes := []api.Node{n}
	s.completeNodes(nodes)
	return oneNode{Node: nodes[0]}, nil
}

// completeNodes makes empty what would be null, and folds what the pods hold of
// each node from the read model: all pods, also those that the caller may not see.
func (s *server) completeNodes(nodes []api.Node) {
	if len(nodes) == 0 {
		return
	}
	held := s.held.Of(s.Store)
	for i := range nodes {
		n := &nodes[i]
		n.Conditions, n.Taints = emptyIfNil(n.Conditions), emptyIfNil(n.Taints)
		n.Labels, n.Annotations = emptyMap(n.Labels), emptyMap(n.Annotations)
		n.Allocated = held[n.ID]
	}
}

func emptyMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
