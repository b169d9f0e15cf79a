package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

type createPodInput struct {
	DryRun bool `query:"dryRun" doc:"check the pod and tell where it would be placed, or who would have to leave, and store nothing"`
	Body   Body[api.CreatePodRequest, *api.CreatePodRequest]
}

type rollbackInput struct {
	IDInput
	IfMatchInput
	Body Body[api.RollbackRequest, *api.RollbackRequest]
}

type listPodsInput struct {
	PageInput
	Namespace     string `query:"namespace"`
	PackID        string `query:"packId"`
	PackName      string `query:"packName"`
	NodeID        string `query:"nodeId"`
	Status        string `query:"status"`
	LabelSelector string `query:"labelSelector" doc:"as in Kubernetes"`
	WatchInput
}

type historyInput struct {
	IDInput
	Limit  int `query:"limit" minimum:"1" maximum:"100" default:"50"`
	Offset int `query:"offset" minimum:"0" maximum:"1000000"`
}

type onePod struct {
	Pod api.Pod `json:"pod"`
}

type podList struct {
	Pods     []api.Pod `json:"pods"`
	Total    int       `json:"total"`
	Page     int       `json:"page"`
	PageSize int       `json:"pageSize"`
	Cursor   string    `json:"cursor,omitempty" doc:"where a watch goes on from this list; absent when the database is away"`
}

// podStatus is the short answer about a pod.
type podStatus struct {
	ID              string           `json:"id"`
	Status          api.PodStatus    `json:"status"`
	Reason          string           `json:"reason,omitempty"`
	StatusMessage   string           `json:"statusMessage,omitempty"`
	NodeID          *string          `json:"nodeId"`
	NodeName        string           `json:"nodeName,omitempty"`
	Incarnation     int              `json:"incarnation"`
	Restarts        int              `json:"restarts"`
	LastTermination *api.Termination `json:"lastTermination,omitempty"`
	StartedAt       *time.Time       `json:"startedAt,omitempty"`
	StoppedAt       *time.Time       `json:"stoppedAt,omitempty"`
	Usage           *api.Figures     `json:"usage,omitempty" doc:"what it uses now; absent when its node has told nothing lately"`
}

type onePodStatus struct {
	Pod podStatus `json:"pod"`
}

type podHistory struct {
	History []api.PodHistoryEntry `json:"history"`
	PodID   string                `json:"podId"`
}

type podRuns struct {
	Runs  []api.Run `json:"runs"`
	PodID string    `json:"podId"`
}

// createdPod is a new pod, or with dryRun one that would be.
type createdPod struct {
	Pod         *api.Pod         `json:"pod,omitempty" doc:"absent from a dry run that a quota refuses"`
	DryRun      bool             `json:"dryRun,omitempty"`
	Explanation *api.Explanation `json:"explanation,omitempty" doc:"with dryRun: where the pod would be placed, or why not"`
}

type stoppedPod struct {
	Message string  `json:"message"`
	Pod     api.Pod `json:"pod"`
	Purged  bool    `json:"purged" doc:"the pod had ended before, and is gone now"`
}

func (s *server) podRoutes() {
	read := may(access.Read, access.Pod)
	register(s, operation{
		method: http.MethodPost, path: "/api/pods", id: "createPod", tag: "pods", rule: may(access.Create, access.Pod),
		summary: "Ask for a pod", status: http.StatusCreated, errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createPod)
	register(s, operation{
		method: http.MethodPost, path: bulkPath, id: "createPods", tag: "pods", rule: may(access.Create, access.Pod),
		summary: fmt.Sprintf("Ask for up to %d pods at once: all of them are made, or none", api.MaxBulkPods), status: http.StatusCreated,
		errors: []int{http.StatusNotFound, http.StatusConflict},
	}, s.createPods)
	register(s, operation{method: http.MethodGet, path: "/api/pods", id: "listPods", tag: "pods", rule: read, summary: "List pods, newest first; or watch them", errors: watchable}, s.listPods)
	register(s, operation{method: http.MethodGet, path: "/api/pods/{id}", id: "getPod", tag: "pods", rule: read, summary: "One pod; or watch it", errors: watchable}, one(s.getPod))
	register(s, operation{method: http.MethodGet, path: "/api/pods/{id}/status", id: "getPodStatus", tag: "pods", rule: read, summary: "Where a pod stands"}, s.getPodStatus)
	register(s, operation{method: http.MethodGet, path: "/api/pods/{id}/history", id: "getPodHistory", tag: "pods", rule: read, summary: "What happened to a pod, newest first"}, s.getPodHistory)
	register(s, operation{method: http.MethodGet, path: "/api/pods/{id}/runs", id: "getPodRuns", tag: "pods", rule: read, summary: "The attempts to fulfil a pod, newest first"}, s.getPodRuns)
	register(s, operation{method: http.MethodGet, path: "/api/pods/{id}/explain", id: "explainPod", tag: "pods", rule: read, summary: "Why a pod has no node, or how the nodes compare that could take it"}, s.explainPod)
	register(s, operation{
		method: http.MethodDelete, path: "/api/pods/{id}", id: "deletePod", tag: "pods", rule: may(access.Delete, access.Pod),
		summary: "Stop a pod, or purge one that has ended; with force it has ended at once, and what runs on its node may go on for a while", errors: []int{http.StatusConflict},
	}, s.deletePod)
	register(s, operation{
		method: http.MethodPost, path: "/api/pods/{id}/rollback", id: "rollbackPod", tag: "pods", rule: may(access.Update, access.Pod),
		summary: "Take a pod to another version: it starts beside the present one, which stops when the other is ready",
		errors:  []int{http.StatusConflict},
	}, s.rollbackPod)
	register(s, operation{
		method: http.MethodPatch, path: "/api/pods/{id}", id: "updatePod", tag: "pods", rule: may(access.Update, access.Pod),
		summary: "Change labels and annotations of a pod", errors: []int{http.StatusConflict},
	}, s.updatePod)
	s.engine.GET("/api/pods/:id/logs", s.podLogs)
	s.engine.GET("/api/logs", s.manyLogs)
}

func (s *server) createPod(ctx context.Context, who caller, in *createPodInput) (createdPod, error) {
	req, err := in.Body.get()
	if err != nil {
		return createdPod{}, err
	}
	if in.DryRun {
		return s.dryRun(ctx, who, req)
	}
	req.ID = who.objectID
	one, err := podAnswer(s.DB.CreatePod(ctx, who.Identity, req))
	return createdPod{Pod: &one.Pod}, err
}

type createPodsInput struct {
	Body Body[api.CreatePodsRequest, *api.CreatePodsRequest]
}

// createPods answers with ids alone: whole pods would be megabytes, and the caller has
// said all that is in them.
func (s *server) createPods(ctx context.Context, who caller, in *createPodsInput) (api.CreatedPods, error) {
	req, err := in.Body.get()
	if err != nil {
		return api.CreatedPods{}, err
	}
	req.ID = who.objectID
	ids, err := s.DB.CreatePods(ctx, who.Identity, req)
	return api.CreatedPods{PodIDs: ids}, err
}

func (s *server) listPods(ctx context.Context, who caller, in *listPodsInput) (podList, error) {
	q := api.PodQuery{
		PageQuery: in.query(), Namespace: in.Namespace, PackID: in.PackID, PackName: in.PackName, NodeID: in.NodeID,
		Status: api.PodStatus(in.Status), LabelSelector: in.LabelSelector,
	}
	if err := q.Validate(); err != nil {
		return podList{}, err
	}
	page, err := s.DB.ListPods(ctx, who.Identity, q)
	if err != nil {
		page, err = remembered(s, who, err, func() (api.Page[api.Pod], error) { return s.recallPods(who, q) })
	}
	if err != nil {
		return podList{}, err
	}
	for i := range page.Items {
		completePod(&page.Items[i])
	}
	return podList{Pods: emptyIfNil(page.Items), Total: page.Total, Page: q.Page, PageSize: q.PageSize, Cursor: page.Cursor}, nil
}

func (s *server) getPod(ctx context.Context, who caller, in *IDInput) (onePod, error) {
	id, err := in.uuid()
	if err != nil {
		return onePod{}, err
	}
	pod, err := s.DB.GetPod(ctx, who.Identity, id)
	if err != nil {
		pod, err = remembered(s, who, err, func() (api.Pod, error) { return find(s.Store.Pods, id, s.seesPod(who)) })
	}
	return podAnswer(pod, err)
}

func (s *server) getPodStatus(ctx context.Context, who caller, in *IDInput) (onePodStatus, error) {
	id, err := in.uuid()
	if err != nil {
		return onePodStatus{}, err
	}
	p, usage, err := s.DB.PodStatus(ctx, who.Identity, id)
	if err != nil {
		p, err = remembered(s, who, err, func() (api.Pod, error) { return find(s.Store.Pods, id, s.seesPod(who)) })
	}
	if err != nil {
		return onePodStatus{}, err
	}
	return onePodStatus{Pod: podStatus{
		Usage: usage,
		ID:    p.ID, Status: p.Status, Reason: p.Reason, StatusMessage: p.StatusMessage, NodeID: p.NodeID, NodeName: p.NodeName,
		Incarnation: p.Incarnation, Restarts: p.Restarts, LastTermination: p.LastTermination, StartedAt: p.StartedAt, StoppedAt: p.StoppedAt,
	}}, nil
}

func (s *server) getPodHistory(ctx context.Context, who caller, in *historyInput) (podHistory, error) {
	id, err := in.uuid()
	if err != nil {
		return podHistory{}, err
	}
	entries, err := s.DB.PodHistory(ctx, who.Identity, id, in.Limit, in.Offset)
	for i := range entries {
		entries[i].Metadata = emptyMap(entries[i].Metadata)
	}
	return podHistory{History: emptyIfNil(entries), PodID: id}, err
}

func (s *server) getPodRuns(ctx context.Context, who caller, in *IDInput) (podRuns, error) {
	id, err := in.uuid()
	if err != nil {
		return podRuns{}, err
	}
	runs, err := s.DB.PodRuns(ctx, who.Identity, id)
	return podRuns{Runs: emptyIfNil(runs), PodID: id}, err
}

func (s *server) rollbackPod(ctx context.Context, who caller, in *rollbackInput) (api.Rollback, error) {
	id, err := in.uuid()
	if err != nil {
		return api.Rollback{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return api.Rollback{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return api.Rollback{}, err
	}
	out, err := s.DB.RollbackPod(ctx, who.Identity, id, req)
	completePod(&out.Pod)
	return out, err
}

type stopPodInput struct {
	IDInput
	IfMatchInput
	Force bool `query:"force" doc:"do not wait for the pod's node: the pod is stopped and its room free, whatever its node goes on running"`
}

func (s *server) deletePod(ctx context.Context, who caller, in *stopPodInput) (stoppedPod, error) {
	id, err := in.uuid()
	if err != nil {
		return stoppedPod{}, err
	}
	stop, text := s.DB.StopPod, "the pod stops"
	if in.Force {
		stop, text = s.DB.ForceStopPod, "the pod has stopped"
	}
	pod, purged, err := stop(ctx, who.Identity, id)
	if in.Force {
		s.audit(ctx, "pod.force", err == nil, "", slog.String("by", who.UserID), slog.String("pod", id))
	}
	if err != nil {
		return stoppedPod{}, err
	}
	completePod(&pod)
	if purged {
		text = "the pod is gone"
	}
	return stoppedPod{Message: text, Pod: pod, Purged: purged}, nil
}

type updatePodInput struct {
	IDInput
	IfMatchInput
	Body Body[api.UpdatePodRequest, *api.UpdatePodRequest]
}

func (s *server) updatePod(ctx context.Context, who caller, in *updatePodInput) (onePod, error) {
	id, err := in.uuid()
	if err != nil {
		return onePod{}, err
	}
	req, err := in.Body.get()
	if err != nil {
		return onePod{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return onePod{}, err
	}
	return podAnswer(s.DB.UpdatePod(ctx, who.Identity, id, req))
}

func podAnswer(p api.Pod, err error) (onePod, error) {
	completePod(&p)
	return onePod{Pod: p}, err
}

// completePod makes empty what would be null.
func completePod(p *api.Pod) {
	p.Labels, p.Annotations, p.Metadata = emptyMap(p.Labels), emptyMap(p.Annotations), emptyMap(p.Metadata)
	p.Tolerations = emptyIfNil(p.Tolerations)
}
