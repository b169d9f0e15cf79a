package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// CreatePod asks for a pod.
func (c *Client) CreatePod(ctx context.Context, r api.CreatePodRequest) (api.Pod, error) {
	return c.pod(ctx, call{method: http.MethodPost, path: []string{"api", "pods"}, once: true}.jsonBody(r))
}

// CreatePods asks for up to api.MaxBulkPods pods, of which all are made or none, and
// gives their ids in the order of the items.
func (c *Client) CreatePods(ctx context.Context, r api.CreatePodsRequest) ([]string, error) {
	var out api.CreatedPods
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"api", "pods", "bulk"}, once: true}.jsonBody(r), &out)
	return out.PodIDs, err
}

// ListPods lists pods, newest first.
func (c *Client) ListPods(ctx context.Context, q api.PodQuery) (api.Page[api.Pod], error) {
	v := pageValues(q.PageQuery)
	set(v, "namespace", q.Namespace)
	set(v, "packId", q.PackID)
	set(v, "packName", q.PackName)
	set(v, "nodeId", q.NodeID)
	set(v, "status", string(q.Status))
	set(v, "labelSelector", q.LabelSelector)
	var out struct {
		Pods                  []api.Pod `json:"pods"`
		Total, Page, PageSize int
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "pods"}, query: v}, &out)
	return api.Page[api.Pod]{Items: out.Pods, Total: out.Total, Page: out.Page, PageSize: out.PageSize}, err
}

// GetPod gives one pod.
func (c *Client) GetPod(ctx context.Context, id string) (api.Pod, error) {
	return c.pod(ctx, call{method: http.MethodGet, path: []string{"api", "pods", id}})
}

// StopPod stops a pod, or purges one that has ended already.
func (c *Client) StopPod(ctx context.Context, id string) (pod api.Pod, purged bool, err error) {
	return c.stopPod(ctx, call{method: http.MethodDelete, path: []string{"api", "pods", id}})
}

// ForceStopPod stops a pod without waiting for its node, where it may run on for a while;
// it purges one that has ended already.
func (c *Client) ForceStopPod(ctx context.Context, id string) (pod api.Pod, purged bool, err error) {
	return c.stopPod(ctx, call{method: http.MethodDelete, path: []string{"api", "pods", id}, query: url.Values{"force": {"true"}}})
}

func (c *Client) stopPod(ctx context.Context, k call) (pod api.Pod, purged bool, err error) {
	var out struct {
		Pod    api.Pod `json:"pod"`
		Purged bool    `json:"purged"`
	}
	err = c.do(ctx, k, &out)
	return out.Pod, out.Purged, err
}

// UpdatePod changes labels and annotations of a pod.
func (c *Client) UpdatePod(ctx context.Context, id string, r api.UpdatePodRequest) (api.Pod, error) {
	var out struct {
		Pod api.Pod `json:"pod"`
	}
	err := c.do(ctx, call{method: http.MethodPatch, path: []string{"api", "pods", id}}.jsonBody(r), &out)
	return out.Pod, err
}

// RollbackPod takes a pod to another version.
func (c *Client) RollbackPod(ctx context.Context, id string, r api.RollbackRequest) (api.Rollback, error) {
	var out api.Rollback
	err := c.do(ctx, call{method: http.MethodPost, path: []string{"api", "pods", id, "rollback"}, once: true}.jsonBody(r), &out)
	return out, err
}

// PodHistory tells what happened to a pod, newest first. A limit of 0 leaves it
// to the server.
func (c *Client) PodHistory(ctx context.Context, id string, limit, offset int) ([]api.PodHistoryEntry, error) {
	v := url.Values{}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if offset > 0 {
		v.Set("offset", strconv.Itoa(offset))
	}
	var out struct {
		History []api.PodHistoryEntry `json:"history"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "pods", id, "history"}, query: v}, &out)
	return out.History, err
}

// PodRuns lists the attempts to fulfil a pod, newest first.
func (c *Client) PodRuns(ctx context.Context, id string) ([]api.Run, error) {
	var out struct {
		Runs []api.Run `json:"runs"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "pods", id, "runs"}}, &out)
	return out.Runs, err
}

// ExplainPod says why a pod has no node; nil when the scheduler has nothing to say.
func (c *Client) ExplainPod(ctx context.Context, id string) (*api.Verdict, error) {
	e, err := c.PodExplanation(ctx, id)
	return e.Verdict, err
}

// PodExplanation says why a pod has no node, or how the nodes compare that could take it.
func (c *Client) PodExplanation(ctx context.Context, id string) (api.Explanation, error) {
	var out api.Explanation
	err := c.do(ctx, call{method: http.MethodGet, path: []string{"api", "pods", id, "explain"}}, &out)
	return out, err
}

// DryRunPod gives the pod that CreatePod would make and where it would be placed, or
// who would have to leave, and makes nothing.
func (c *Client) DryRunPod(ctx context.Context, r api.CreatePodRequest) (api.Pod, api.Explanation, error) {
	var out struct {
		Pod         api.Pod         `json:"pod"`
		Explanation api.Explanation `json:"explanation"`
	}
	k := call{method: http.MethodPost, path: []string{"api", "pods"}, query: url.Values{"dryRun": {"true"}}}
	err := c.do(ctx, k.jsonBody(r), &out)
	return out.Pod, out.Explanation, err
}

func (c *Client) pod(ctx context.Context, k call) (api.Pod, error) {
	var out struct {
		Pod api.Pod `json:"pod"`
	}
	err := c.do(ctx, k, &out)
	return out.Pod, err
}

// Health asks whether the server and what it stands on are well. The answer of
// an unhealthy server comes with an error.
func (c *Client) Health(ctx context.Context) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	resp, err := c.send(ctx, call{method: http.MethodGet, path: []string{"health"}, anonymous: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // the answer has been read
	data, err := c.read(resp)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "%s did not answer as a Stark server does", c.base.Host)
	}
	return out, nil
}
