package rest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

type listNamespacesInput struct {
	PageInput
	Phase         string `query:"phase" doc:"active or terminating"`
	Search        string `query:"search" doc:"part of the name"`
	LabelSelector string `query:"labelSelector" doc:"as in Kubernetes"`
}

type namespaceList struct {
	Namespaces []api.Namespace `json:"namespaces"`
	Total      int             `json:"total"`
	Page       int             `json:"page"`
	PageSize   int             `json:"pageSize"`
}

type oneNamespace struct {
	Namespace api.Namespace `json:"namespace"`
}

func (o oneNamespace) resourceVersion() string { return o.Namespace.ResourceVersion }

type createNamespaceInput struct {
	Body Body[api.CreateNamespaceRequest, *api.CreateNamespaceRequest]
}

// KeyInput names a namespace. Like PageInput it is exported for huma.
type KeyInput struct {
	Key string `path:"id" doc:"UUID or name"`
}

// key refuses what cannot be a namespace before the database is asked.
func (k KeyInput) key() (string, error) {
	if !api.ValidID(k.Key) && !api.ValidNamespaceName(k.Key) {
		return "", api.InvalidField("id", fault.FieldInvalidFormat, "must be a UUID or the name of a namespace")
	}
	return k.Key, nil
}

type updateNamespaceInput struct {
	KeyInput
	IfMatchInput
	Body Body[api.UpdateNamespaceRequest, *api.UpdateNamespaceRequest]
}

type deleteNamespaceInput struct {
	KeyInput
	IfMatchInput
}

// endedNamespace is the answer of DELETE. Without a phase the namespace is gone.
type endedNamespace struct {
	Message string             `json:"message"`
	Phase   api.NamespacePhase `json:"phase,omitempty" doc:"terminating while its pods stop; absent when it is gone"`
}

type memberList struct {
	Namespace string                `json:"namespace"`
	Members   []api.NamespaceMember `json:"members"`
}

type oneMember struct {
	Member api.NamespaceMember `json:"member"`
}

// MemberInput names a membership. Like PageInput it is exported for huma.
type MemberInput struct {
	KeyInput
	UserID string `path:"userId" doc:"UUID"`
}

type setMemberInput struct {
	MemberInput
	Body Body[api.SetMemberRequest, *api.SetMemberRequest]
}

func (s *server) namespaceRoutes() {
	register(s, operation{
		method: http.MethodPost, path: "/api/namespaces", id: "createNamespace", tag: "namespaces", rule: may(access.Create, access.Namespace),
		summary: "Make a namespace", status: http.StatusCreated, errors: []int{http.StatusConflict},
	}, s.createNamespace)
	register(s, operation{
		method: http.MethodGet, path: "/api/namespaces", id: "listNamespaces", tag: "namespaces", rule: may(access.Read, access.Namespace),
		summary: "List namespaces, by name",
	}, s.listNamespaces)
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		id := map[string]string{http.MethodPut: "updateNamespace", http.MethodPatch: "patchNamespace"}[method]
		register(s, operation{
			method: method, path: "/api/namespaces/{id}", id: id, tag: "namespaces", rule: may(access.Update, access.Namespace),
			summary: "Change labels, quota, limit range or disruption budget; what is absent stays, an empty object takes it away", errors: []int{http.StatusConflict},
		}, s.updateNamespace)
	}
	// Also under name/, as for nodes.
	for _, at := range []struct{ path, suffix string }{{"/api/namespaces/{id}", ""}, {"/api/namespaces/name/{id}", "ByName"}} {
		register(s, operation{
			method: http.MethodGet, path: at.path, id: "getNamespace" + at.suffix, tag: "namespaces", rule: may(access.Read, access.Namespace),
			summary: "One namespace",
		}, s.getNamespace)
		register(s, operation{
			method: http.MethodGet, path: at.path + "/quota", id: "namespaceQuota" + at.suffix, tag: "namespaces", rule: may(access.Read, access.Namespace),
			summary: "What a namespace may use and uses, also by priority class",
		}, s.namespaceQuota)
		register(s, operation{
			method: http.MethodDelete, path: at.path, id: "deleteNamespace" + at.suffix, tag: "namespaces", rule: may(access.Delete, access.Namespace),
			summary: "End a namespace: it takes no new pods, its pods are stopped, and then it goes", errors: []int{http.StatusConflict},
		}, s.deleteNamespace)
	}
	s.memberRoutes()
}

func (s *server) memberRoutes() {
	register(s, operation{
		method: http.MethodGet, path: "/api/namespaces/{id}/members", id: "listNamespaceMembers", tag: "namespaces", rule: may(access.Read, access.NamespaceMember),
		summary: "The members of a namespace that you may see",
	}, s.listMembers)
	register(s, operation{
		method: http.MethodPut, path: "/api/namespaces/{id}/members/{userId}", id: "setNamespaceMember", tag: "namespaces", rule: may(access.Update, access.NamespaceMember),
		summary: "Make a user a member, or change their role in the namespace", errors: []int{http.StatusConflict},
	}, s.setMember)
	register(s, operation{
		method: http.MethodDelete, path: "/api/namespaces/{id}/members/{userId}", id: "removeNamespaceMember", tag: "namespaces", rule: may(access.Delete, access.NamespaceMember),
		summary: "End a membership", errors: []int{http.StatusConflict},
	}, s.removeMember)
}

func (s *server) createNamespace(ctx context.Context, who caller, in *createNamespaceInput) (oneNamespace, error) {
	req, err := in.Body.get()
	if err != nil {
		return oneNamespace{}, err
	}
	req.ID = who.objectID
	return namespaceAnswer(s.DB.CreateNamespace(ctx, who.Identity, req))
}

func (s *server) listNamespaces(ctx context.Context, who caller, in *listNamespacesInput) (namespaceList, error) {
	q := api.NamespaceQuery{PageQuery: in.query(), Phase: api.NamespacePhase(in.Phase), Search: in.Search, LabelSelector: in.LabelSelector}
	if err := q.Validate(); err != nil {
		return namespaceList{}, err
	}
	page, err := s.DB.ListNamespaces(ctx, who.Identity, q)
	if err != nil {
		return namespaceList{}, err
	}
	for i := range page.Items {
		completeNamespace(&page.Items[i])
	}
	return namespaceList{Namespaces: emptyIfNil(page.Items), Total: page.Total, Page: q.Page, PageSize: q.PageSize}, nil
}

func (s *server) getNamespace(ctx context.Context, who caller, in *KeyInput) (oneNamespace, error) {
	key, err := in.key()
	if err != nil {
		return oneNamespace{}, err
	}
	return namespaceAnswer(s.DB.GetNamespace(ctx, who.Identity, key))
}

func (s *server) namespaceQuota(ctx context.Context, who caller, in *KeyInput) (api.NamespaceQuota, error) {
	key, err := in.key()
	if err != nil {
		return api.NamespaceQuota{}, err
	}
	return s.DB.NamespaceQuota(ctx, who.Identity, key)
}

func (s *server) updateNamespace(ctx context.Context, who caller, in *updateNamespaceInput) (oneNamespace, error) {
	key, err := in.key()
	if err != nil {
		return oneNamespace{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return oneNamespace{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return oneNamespace{}, err
	}
	return namespaceAnswer(s.DB.UpdateNamespace(ctx, who.Identity, key, req))
}

func (s *server) deleteNamespace(ctx context.Context, who caller, in *deleteNamespaceInput) (endedNamespace, error) {
	key, err := in.key()
	if err != nil {
		return endedNamespace{}, err
	}
	n, gone, err := s.DB.DeleteNamespace(ctx, who.Identity, key)
	switch {
	case err != nil:
		return endedNamespace{}, err
	case gone:
		return endedNamespace{Message: "the namespace is gone"}, nil
	default:
		return endedNamespace{Message: "the namespace is terminating: its pods are stopped, and then it goes", Phase: n.Phase}, nil
	}
}

func (s *server) listMembers(ctx context.Context, who caller, in *KeyInput) (memberList, error) {
	key, err := in.key()
	if err != nil {
		return memberList{}, err
	}
	members, err := s.DB.ListMembers(ctx, who.Identity, key)
	return memberList{Namespace: key, Members: emptyIfNil(members)}, err
}

// names gives the namespace and user of a membership.
func (in MemberInput) names() (key, userID string, err error) {
	if key, err = in.key(); err != nil {
		return "", "", err
	}
	if !api.ValidID(in.UserID) {
		return "", "", api.InvalidField("userId", fault.FieldInvalidFormat, "must be a UUID")
	}
	return key, in.UserID, nil
}

func (s *server) setMember(ctx context.Context, who caller, in *setMemberInput) (oneMember, error) {
	key, userID, err := in.names()
	if err != nil {
		return oneMember{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return oneMember{}, err
	}
	m, err := s.DB.SetMember(ctx, who.Identity, key, userID, req.Role)
	s.audit(ctx, "namespaceMember.set", err == nil, "", slog.String("by", who.UserID), slog.String("namespace", key),
		slog.String("user", userID), slog.String("role", string(req.Role)))
	return oneMember{Member: m}, err
}

func (s *server) removeMember(ctx context.Context, who caller, in *MemberInput) (deleted, error) {
	key, userID, err := in.names()
	if err != nil {
		return deleted{}, err
	}
	err = s.DB.RemoveMember(ctx, who.Identity, key, userID)
	s.audit(ctx, "namespaceMember.remove", err == nil, "", slog.String("by", who.UserID), slog.String("namespace", key), slog.String("user", userID))
	return deleted{Deleted: err == nil}, err
}

func namespaceAnswer(n api.Namespace, err error) (oneNamespace, error) {
	completeNamespace(&n)
	return oneNamespace{Namespace: n}, err
}

// completeNamespace makes empty what would be null.
func completeNamespace(n *api.Namespace) {
	n.Labels, n.Annotations = emptyMap(n.Labels), emptyMap(n.Annotations)
}
