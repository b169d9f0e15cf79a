package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/rest"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/logging/loggingtest"
)

// BenchmarkRequest is what one request costs the server besides the network, the
// verification of the token and the database.
func BenchmarkRequest(b *testing.B) {
	const token = "good-developer"
	user := userIDOf("developer")
	pod := api.Pod{
		ID: api.NewID(), PackID: api.NewID(), PackName: "pack", PackVersion: "1.0.0", RuntimeTag: api.TagNode, NodeID: new(api.NewID()), NodeName: "node-00001",
		Status: api.PodScheduled, Namespace: "default", Labels: map[string]string{"shard": "s7"}, Annotations: map[string]string{}, Metadata: map[string]any{},
		ResourceRequests: api.Resources{CPU: 100, Memory: 128}, ResourceLimits: api.Resources{CPU: 500, Memory: 512}, RestartPolicy: api.RestartOnFailure,
		Isolation: api.IsolationProcess, TerminationGracePeriodSeconds: 30, Incarnation: 1, CreatedBy: user, CreatedAt: time.Now(), UpdatedAt: time.Now(), ResourceVersion: "12345",
	}
	db := &fakeDB{
		userRoles: rolesOf,
		getPod:    func(access.Identity, string) (api.Pod, error) { return pod, nil },
		createPod: func(context.Context, access.Identity, api.CreatePodRequest) (api.Pod, error) { return pod, nil },
		listPods: func(access.Identity, api.PodQuery) (api.Page[api.Pod], error) {
			page := api.Page[api.Pod]{Total: 100, Page: 1, PageSize: 100}
			for range 100 {
				page.Items = append(page.Items, pod)
			}
			return page, nil
		},
	}
	model := store.New()
	model.Apply(store.Batch{Reset: true, Cursor: "1", Users: store.Changes[api.User]{Put: []api.User{{ID: user, Roles: []api.Role{api.RoleDeveloper}}}}})
	handler := rest.New(rest.Deps{
		DB: db, Auth: &fakeAuth{}, Bundles: &fakeBundles{}, Verifier: fakeVerifier{}, Store: model,
		Logger: loggingtest.New(b).Logger, Config: rest.Config{SpoolDir: b.TempDir(), Version: "1.2.3"},
	})
	const body = `{"packName":"pack0","packVersion":"1.0.0","namespace":"load","labels":{"app":"load"},"resourceRequests":{"cpu":10,"memory":16}}`
	for _, r := range []struct{ name, method, path, body string }{
		{"read", http.MethodGet, "/api/pods/" + pod.ID, ""},
		{"create", http.MethodPost, "/api/pods", body},
		{"list", http.MethodGet, "/api/pods?pageSize=100&labelSelector=shard%3Ds7", ""},
	} {
		b.Run(r.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequestWithContext(b.Context(), r.method, r.path, strings.NewReader(r.body))
				req.Header.Set("Authorization", "Bearer "+token)
				if r.body != "" {
					req.Header.Set("Content-Type", "application/json")
				}
				rec := httptest.NewRecorder()
				if handler.ServeHTTP(rec, req); rec.Code >= http.StatusBadRequest {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}
