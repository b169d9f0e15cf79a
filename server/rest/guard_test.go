package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// routes are all protected endpoints with the least role that may use them and
// one that may not ("" when every role may).
var protectedRoutes = []struct {
	method, path, refused string
}{
	{"GET", "/auth/me", ""},
	{"GET", "/auth/users", "developer"},
	{"POST", "/auth/users", "operator"},
	{"GET", "/auth/users/" + someID, "developer"},
	{"POST", "/auth/users/" + someID + "/roles", "operator"},
	{"DELETE", "/auth/users/" + someID + "/roles/viewer", "operator"},
	{"POST", "/auth/users/" + someID + "/disable", "operator"},
	{"POST", "/auth/users/" + someID + "/enable", "operator"},
	{"POST", "/api/packs", "viewer"},
	{"GET", "/api/packs", ""},
	{"GET", "/api/packs/" + someID, ""},
	{"GET", "/api/packs/hello/versions", ""},
	{"GET", "/api/packs/" + someID + "/bundle", ""},
	{"PATCH", "/api/packs/" + someID, "operator"},
	{"DELETE", "/api/packs/" + someID, "viewer"},
	{"POST", "/api/nodes", "viewer"},
	{"GET", "/api/nodes", ""},
	{"GET", "/api/nodes/" + someID, ""},
	{"GET", "/api/nodes/name/n1", ""},
	{"PATCH", "/api/nodes/" + someID, "viewer"},
	{"DELETE", "/api/nodes/" + someID, "viewer"},
	{"POST", "/api/node-tokens", "viewer"},
	{"GET", "/api/node-tokens", "viewer"},
	{"DELETE", "/api/node-tokens/" + someID, "viewer"},
	{"POST", "/api/pods", "viewer"},
	{"POST", "/api/pods/bulk", "viewer"},
	{"GET", "/api/pods", ""},
	{"GET", "/api/pods/" + someID, ""},
	{"GET", "/api/pods/" + someID + "/status", ""},
	{"GET", "/api/pods/" + someID + "/history", ""},
	{"GET", "/api/pods/" + someID + "/runs", ""},
	{"GET", "/api/pods/" + someID + "/explain", ""},
	{"GET", "/api/pods/" + someID + "/logs", ""},
	{"GET", "/api/logs?podId=" + someID, ""},
	{"GET", "/api/usage/pods", ""},
	{"GET", "/api/usage/nodes", ""},
	{"DELETE", "/api/pods/" + someID, "viewer"},
}

// without, expired, forged and wrong-role tokens are 401, 401, 401 and 403,
// and nothing behind the API is called.
func TestProtectedRoutesRefuse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, r := range protectedRoutes {
		name := r.method + " " + r.path
		body := any(nil)
		if r.method == http.MethodPost || r.method == http.MethodPatch {
			body = "{}"
		}
		for token, code := range map[string]fault.Code{
			"": fault.AuthenticationRequired, "expired": fault.TokenExpired, "forged": fault.TokenInvalid, "good-nobody": fault.UserNotFound,
		} {
			got := h.do(request{method: r.method, path: r.path, token: token, body: body})
			b := got.fails(http.StatusUnauthorized, code)
			if b.Details["correlationId"] == "" || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: 401 without correlation id or WWW-Authenticate", name)
			}
		}
		h.do(request{method: r.method, path: r.path, token: "outage", body: body}).fails(http.StatusServiceUnavailable, fault.Unavailable)
		if r.refused == "" {
			continue
		}
		b := h.do(request{method: r.method, path: r.path, token: "good-" + r.refused, body: body}).fails(http.StatusForbidden, fault.Forbidden)
		if b.Details["action"] == nil || b.Details["subject"] == nil || b.Details["requiredRoles"] == nil {
			t.Errorf("%s: 403 without action, subject, requiredRoles: %v", name, b.Details)
		}
	}
}

func TestBearerForms(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, header := range []string{"Basic abc", "Bearer", "Bearer ", "good-admin"} {
		h.do(request{method: "GET", path: "/api/pods", header: map[string]string{"Authorization": header}}).
			fails(http.StatusUnauthorized, fault.AuthenticationRequired)
	}
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	b := h.do(request{method: "GET", path: "/api/nowhere"}).fails(http.StatusNotFound, fault.NotFound)
	if !strings.Contains(b.Message, "GET") || !strings.Contains(b.Message, "/api/nowhere") {
		t.Errorf("the 404 names neither method nor path: %s", b.Message)
	}
	h.do(request{method: "GET", path: "/"}).fails(http.StatusNotFound, fault.NotFound)
	for _, r := range [][2]string{
		{"PUT", "/api/pods"},
		{"DELETE", "/api/packs"},
		{"POST", "/api/pods/" + someID},
		{"PATCH", "/api/node-tokens"},
		{"GET", "/auth/login"},
		{"GET", "/auth/logout"},
		{"POST", "/health"},
		{"PUT", "/api/nodes/" + someID},
	} {
		got := h.do(request{method: r[0], path: r[1], token: "good-admin"})
		got.fails(http.StatusMethodNotAllowed, fault.MethodNotAllowed)
		if got.header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", r[0], r[1])
		}
	}
}

// bodies are all endpoints that take JSON, with a token that may use them.
var bodyRoutes = [][2]string{
	{"POST", "/auth/register"},
	{"POST", "/auth/login"},
	{"POST", "/auth/refresh"},
	{"POST", "/auth/setup"},
	{"POST", "/auth/users"},
	{"POST", "/auth/users/" + someID + "/roles"},
	{"POST", "/api/packs"},
	{"PATCH", "/api/packs/" + someID},
	{"POST", "/api/nodes"},
	{"PATCH", "/api/nodes/" + someID},
	{"POST", "/api/node-tokens"},
	{"POST", "/api/pods"},
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, r := range bodyRoutes {
		send := func(body string, header map[string]string) reply {
			return h.do(request{method: r[0], path: r[1], token: "good-admin", body: body, header: header})
		}
		for _, malformed := range []string{"{", `{"a":`, "nope", `{"name":"x"} trailing`, "[]", `"text"`, "null", ""} {
			b := send(malformed, nil).fails(http.StatusBadRequest, fault.Validation)
			if strings.Contains(b.Message, "goroutine") {
				t.Errorf("%s %s: the answer holds a stack", r[0], r[1])
			}
		}
		b := send(`{"surprise":1}`, nil).fails(http.StatusBadRequest, fault.Validation)
		if got := field(t, b, "surprise"); got != fault.FieldUnknown {
			t.Errorf("%s %s: unknown field gives %s", r[0], r[1], got)
		}
		send("a=b", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}).
			fails(http.StatusUnsupportedMediaType, fault.UnsupportedMediaType)
		send(`{}`, map[string]string{"Content-Encoding": "gzip"}).fails(http.StatusUnsupportedMediaType, fault.UnsupportedMediaType)
		if r[1] != "/api/packs" {
			send(`{"name":"`+strings.Repeat("x", 1<<20)+`"}`, nil).fails(http.StatusRequestEntityTooLarge, fault.PayloadTooLarge)
		}
	}
}

func TestBadIDsAndQueries(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, path := range []string{
		"/api/packs/nope", "/api/packs/nope/bundle", "/api/nodes/nope", "/api/pods/nope", "/api/pods/nope/status",
		"/api/pods/nope/history", "/api/pods/nope/runs", "/api/pods/nope/explain", "/api/pods/nope/logs",
	} {
		b := h.do(request{method: "GET", path: path, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
		if got := field(t, b, "id"); got != fault.FieldInvalidFormat {
			t.Errorf("%s: %s", path, got)
		}
	}
	for _, path := range []string{"/api/packs/nope", "/api/nodes/nope", "/api/pods/nope", "/api/node-tokens/nope"} {
		h.do(request{method: "DELETE", path: path, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
	}
	for path, name := range map[string]string{
		"/api/pods?status=odd": "status", "/api/pods?nodeId=x": "nodeId", "/api/pods?labelSelector=a%20b%20c": "labelSelector",
		"/api/pods?page=x": "page", "/api/pods?pagesize=3": "pagesize", "/api/packs?runtimeTag=deno": "runtimeTag",
		"/api/packs?ownerId=x": "ownerId", "/api/nodes?runtimeType=deno": "runtimeType", "/auth/users?role=king": "role",
		"/auth/users?limit=0": "limit", "/api/pods/" + someID + "/history?limit=101": "limit",
		"/api/pods/" + someID + "/logs?tail=x": "tail", "/api/pods/" + someID + "/logs?follow=maybe": "follow",
		"/api/pods/" + someID + "/logs?previous=2": "previous", "/api/pods/" + someID + "/logs?since=now": "since",
	} {
		b := h.do(request{method: "GET", path: path, token: "good-admin"}).fails(http.StatusBadRequest, fault.Validation)
		field(t, b, name)
	}
}
