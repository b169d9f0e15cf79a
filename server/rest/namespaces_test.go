package rest_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// readyPack makes a pack that pods can be made of.
func (s *stack) readyPack(owner api.Session, name string) api.Pack {
	s.t.Helper()
	var made struct{ Pack api.Pack }
	s.do(request{method: "POST", path: "/api/packs", token: owner.AccessToken, body: map[string]any{
		"name": name, "version": "1.0.0", "runtimeTag": "node", "visibility": "public", "bundleContent": "module.exports.default = () => {}",
	}}).want(http.StatusCreated, &made)
	return made.Pack
}

// with makes a request of a session.
func (s *stack) with(who api.Session, method, path string, body any) reply {
	s.t.Helper()
	return s.do(request{method: method, path: path, token: who.AccessToken, body: body})
}

func (s *stack) colleague(admin api.Session, email string, roles ...string) api.Session {
	s.t.Helper()
	s.with(admin, "POST", "/auth/users", map[string]any{"email": email, "password": goodPassword, "roles": roles}).want(http.StatusCreated, nil)
	return s.account("/auth/login", email, http.StatusOK)
}

func TestNamespacesOnTheRealThings(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.account("/auth/setup", "root@example.org", http.StatusCreated)
	dev := s.colleague(admin, "dev@example.org", "developer")
	pack := s.readyPack(admin, "hello")
	s.namespaces(admin, dev)
	s.members(admin, dev)
	s.quota(admin, dev, pack)
	s.classes(admin, dev, pack)
	s.config(admin, dev, pack)
}

func (s *stack) namespaces(admin, dev api.Session) {
	t := s.t
	t.Helper()
	var one struct{ Namespace api.Namespace }
	s.with(admin, "POST", "/api/namespaces", map[string]any{
		"name": "team-a", "labels": map[string]string{"team": "a"}, "resourceQuota": map[string]any{"hard": map[string]any{"pods": 5, "cpu": "2"}},
		"limitRange": map[string]any{"max": map[string]any{"cpu": "1"}}, "disruptionBudget": map[string]any{"maxUnavailable": 1},
	}).want(http.StatusCreated, &one)
	n := one.Namespace
	if n.Phase != api.NamespaceActive || *n.ResourceQuota.Hard.CPU != 2000 || n.DisruptionBudget.MaxUnavailable != 1 || n.ResourceVersion == "" {
		t.Errorf("got %+v", n)
	}
	s.with(admin, "POST", "/api/namespaces", map[string]any{"name": "team-a"}).fails(http.StatusConflict, fault.Conflict)
	s.with(admin, "POST", "/api/namespaces", map[string]any{"name": "default"}).fails(http.StatusBadRequest, fault.Validation)
	s.with(dev, "POST", "/api/namespaces", map[string]any{"name": "team-b"}).fails(http.StatusForbidden, fault.Forbidden)
	for _, path := range []string{"/api/namespaces/" + n.ID, "/api/namespaces/team-a", "/api/namespaces/name/team-a"} {
		s.with(dev, "GET", path, nil).want(http.StatusOK, &one)
		if one.Namespace.ID != n.ID {
			t.Errorf("%s: got %+v", path, one.Namespace)
		}
	}
	s.with(dev, "GET", "/api/namespaces/nobody", nil).fails(http.StatusNotFound, fault.NotFound)
	s.with(dev, "GET", "/api/namespaces/No!", nil).fails(http.StatusBadRequest, fault.Validation)
	var list struct {
		Namespaces []api.Namespace
		Total      int
	}
	s.with(dev, "GET", "/api/namespaces?search=team&phase=active&labelSelector=team%3Da", nil).want(http.StatusOK, &list)
	if list.Total != 1 || list.Namespaces[0].Name != "team-a" {
		t.Errorf("got %+v", list)
	}
	one.Namespace = api.Namespace{}
	s.with(admin, "PUT", "/api/namespaces/team-a", map[string]any{"limitRange": map[string]any{}, "disruptionBudget": map[string]any{}}).want(http.StatusOK, &one)
	if one.Namespace.LimitRange != nil || one.Namespace.DisruptionBudget != nil || one.Namespace.ResourceQuota == nil || one.Namespace.Labels["team"] != "a" {
		t.Errorf("got %+v", one.Namespace)
	}
	s.with(admin, "PATCH", "/api/namespaces/team-a", map[string]any{"labels": map[string]string{}, "resourceVersion": n.ResourceVersion}).
		fails(http.StatusConflict, fault.Conflict)
	s.with(dev, "PATCH", "/api/namespaces/team-a", map[string]any{"labels": map[string]string{}}).fails(http.StatusForbidden, fault.Forbidden)
	for _, name := range []string{"default", "stark-system"} {
		s.with(admin, "DELETE", "/api/namespaces/name/"+name, nil).fails(http.StatusBadRequest, fault.ReservedName)
	}
	s.with(dev, "DELETE", "/api/namespaces/team-a", nil).fails(http.StatusForbidden, fault.Forbidden)
	var end struct{ Phase api.NamespacePhase }
	s.with(admin, "DELETE", "/api/namespaces/team-a", nil).want(http.StatusOK, &end)
	s.with(admin, "DELETE", "/api/namespaces/team-a", nil).fails(http.StatusNotFound, fault.NotFound)
	if end.Phase != "" {
		t.Errorf("an empty namespace is %s", end.Phase)
	}
}

func (s *stack) members(admin, dev api.Session) {
	t := s.t
	t.Helper()
	other := s.colleague(admin, "other@example.org", "developer")
	s.with(admin, "POST", "/api/namespaces", map[string]any{"name": "club"}).want(http.StatusCreated, nil)
	at := "/api/namespaces/club/members/"
	s.with(dev, "PUT", at+dev.User.ID, map[string]any{"role": "admin"}).fails(http.StatusForbidden, fault.Forbidden)
	s.with(admin, "PUT", at+dev.User.ID, map[string]any{"role": "admin"}).want(http.StatusOK, nil)
	// Who leads a namespace says who else is there.
	s.with(dev, "PUT", at+other.User.ID, map[string]any{}).want(http.StatusOK, nil)
	s.with(dev, "PUT", at+other.User.ID, map[string]any{"role": "viewer"}).want(http.StatusOK, nil)
	s.with(dev, "PUT", at+other.User.ID, map[string]any{"role": "boss"}).fails(http.StatusBadRequest, fault.Validation)
	s.with(dev, "PUT", at+api.NewID(), map[string]any{}).fails(http.StatusNotFound, fault.NotFound)
	s.with(dev, "PUT", "/api/namespaces/none/members/"+other.User.ID, map[string]any{}).fails(http.StatusNotFound, fault.NotFound)
	var list struct{ Members []api.NamespaceMember }
	s.with(other, "GET", "/api/namespaces/club/members", nil).want(http.StatusOK, &list)
	if len(list.Members) != 2 || list.Members[0].Role != api.RoleAdmin || list.Members[1].Role != api.RoleViewer {
		t.Errorf("got %+v", list.Members)
	}
	s.with(dev, "DELETE", at+dev.User.ID, nil).fails(http.StatusConflict, fault.Conflict) // the last admin
	s.with(other, "DELETE", at+dev.User.ID, nil).fails(http.StatusForbidden, fault.Forbidden)
	s.with(dev, "DELETE", at+other.User.ID, nil).want(http.StatusOK, nil)
	s.with(dev, "DELETE", at+other.User.ID, nil).fails(http.StatusNotFound, fault.NotFound)
}

// fifty at once, room for ten.
func (s *stack) quota(admin, dev api.Session, pack api.Pack) {
	t := s.t
	t.Helper()
	s.with(admin, "POST", "/api/namespaces", map[string]any{"name": "tight", "resourceQuota": map[string]any{"hard": map[string]any{"pods": 10}}}).
		want(http.StatusCreated, nil)
	ids, refused := make(chan string, 50), make(chan fault.Code, 50)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			var made struct{ Pod api.Pod }
			r := s.with(dev, "POST", "/api/pods", map[string]any{"packId": pack.ID, "namespace": "tight"})
			if r.status != http.StatusCreated {
				var e fault.Envelope
				_ = json.Unmarshal(r.raw, &e) // what is no error has no code
				refused <- e.Error.Code
				return
			}
			r.want(http.StatusCreated, &made)
			ids <- made.Pod.ID
		})
	}
	wg.Wait()
	close(ids)
	close(refused)
	if len(ids) != 10 || len(refused) != 40 {
		t.Fatalf("%d pods were made and %d refused", len(ids), len(refused))
	}
	for code := range refused {
		if code != fault.QuotaExceeded {
			t.Errorf("got %s", code)
		}
	}
	var q api.NamespaceQuota
	s.with(dev, "GET", "/api/namespaces/tight/quota", nil).want(http.StatusOK, &q)
	if q.ResourceUsage.Pods != 10 || q.ClassUsage["default"].Pods != 10 {
		t.Errorf("got %+v", q)
	}
	for id := range ids {
		s.with(dev, "DELETE", "/api/pods/"+id, nil).want(http.StatusOK, nil)
	}
	s.with(dev, "GET", "/api/namespaces/tight/quota", nil).want(http.StatusOK, &q)
	if q.ResourceUsage != (api.Capacity{}) {
		t.Errorf("when all have ended %+v is used", q.ResourceUsage)
	}
	// One with pods, even ended ones, goes by way of the leader.
	var end struct{ Phase api.NamespacePhase }
	s.with(admin, "DELETE", "/api/namespaces/tight", nil).want(http.StatusOK, &end)
	if end.Phase != api.NamespaceTerminating {
		t.Errorf("got %q", end.Phase)
	}
	s.with(dev, "POST", "/api/pods", map[string]any{"packId": pack.ID, "namespace": "tight"}).fails(http.StatusConflict, fault.NamespaceTerminating)
	s.with(admin, "PUT", "/api/namespaces/tight", map[string]any{"labels": map[string]string{"a": "b"}}).fails(http.StatusConflict, fault.NamespaceTerminating)
}

func (s *stack) classes(admin, dev api.Session, pack api.Pack) {
	t := s.t
	t.Helper()
	const at = "/api/priority-classes"
	var one struct{ PriorityClass api.PriorityClass }
	s.with(admin, "POST", at, map[string]any{"name": "gold", "value": 500, "description": "for the shop"}).want(http.StatusCreated, &one)
	if one.PriorityClass.PreemptionPolicy != api.PreemptLowerPriority {
		t.Errorf("got %+v", one.PriorityClass)
	}
	s.with(admin, "POST", at, map[string]any{"name": "gold", "value": 1}).fails(http.StatusConflict, fault.Conflict)
	s.with(admin, "POST", at, map[string]any{"name": "system-x", "value": 1}).fails(http.StatusBadRequest, fault.Validation)
	s.with(dev, "POST", at, map[string]any{"name": "mine", "value": 1}).fails(http.StatusForbidden, fault.Forbidden)
	s.with(admin, "POST", "/api/namespaces", map[string]any{"name": "shop", "resourceQuota": map[string]any{
		"hard": map[string]any{}, "priorityClasses": map[string]any{"gold": map[string]any{"pods": 1}},
	}}).want(http.StatusCreated, nil)
	pod := map[string]any{"packId": pack.ID, "namespace": "shop", "priorityClassName": "gold"}
	var made struct{ Pod api.Pod }
	s.with(dev, "POST", "/api/pods", pod).want(http.StatusCreated, &made)
	s.with(dev, "POST", "/api/pods", pod).fails(http.StatusForbidden, fault.QuotaExceeded)
	s.with(dev, "POST", "/api/pods", map[string]any{"packId": pack.ID, "namespace": "shop"}).want(http.StatusCreated, nil)
	// In use: neither gone nor worth something else, but described anew.
	s.with(admin, "DELETE", at+"/gold", nil).fails(http.StatusConflict, fault.Conflict)
	s.with(admin, "PATCH", at+"/gold", map[string]any{"value": 5}).fails(http.StatusConflict, fault.Conflict)
	s.with(admin, "PATCH", at+"/gold", map[string]any{"description": "x", "globalDefault": true}).want(http.StatusOK, &one)
	if !one.PriorityClass.GlobalDefault || one.PriorityClass.Description != "x" {
		t.Errorf("got %+v", one.PriorityClass)
	}
	s.with(dev, "GET", at+"/default", nil).want(http.StatusOK, &one)
	if one.PriorityClass.GlobalDefault {
		t.Error("there are two defaults")
	}
	s.with(dev, "DELETE", "/api/pods/"+made.Pod.ID, nil).want(http.StatusOK, nil)
	s.with(dev, "PATCH", at+"/gold", map[string]any{"value": 5}).fails(http.StatusForbidden, fault.Forbidden)
	s.with(admin, "PATCH", at+"/gold", map[string]any{"value": 5}).want(http.StatusOK, nil)
	s.with(admin, "DELETE", at+"/gold", nil).want(http.StatusOK, nil)
	s.with(admin, "DELETE", at+"/gold", nil).fails(http.StatusNotFound, fault.NotFound)
	s.with(admin, "DELETE", at+"/system-node-critical", nil).fails(http.StatusConflict, fault.Conflict)
	s.with(admin, "PATCH", at+"/default", map[string]any{"globalDefault": true}).want(http.StatusOK, nil)
	var list struct{ PriorityClasses []api.PriorityClass }
	s.with(dev, "GET", at, nil).want(http.StatusOK, &list)
	if len(list.PriorityClasses) != 6 || list.PriorityClasses[0].Name != "system-node-critical" {
		t.Errorf("got %+v", list.PriorityClasses)
	}
}

func (s *stack) config(admin, dev api.Session, pack api.Pack) {
	t := s.t
	t.Helper()
	const at = "/api/cluster/config"
	operator := s.colleague(admin, "op@example.org", "operator")
	var got struct{ Config api.ClusterConfig }
	s.with(dev, "GET", at, nil).fails(http.StatusForbidden, fault.Forbidden)
	s.with(dev, "PATCH", at, map[string]any{"maxPodsPerNode": 5}).fails(http.StatusForbidden, fault.Forbidden)
	s.with(operator, "GET", at, nil).want(http.StatusOK, &got)
	before := got.Config
	s.with(operator, "PATCH", at, map[string]any{
		"defaultNamespace": "shop", "podTerminationGracePeriodMs": 4500, "defaultResourceRequests": map[string]any{"cpu": 50, "memory": "64Mi"},
	}).want(http.StatusOK, &got)
	if got.Config.MaxPodsPerNode != before.MaxPodsPerNode || got.Config.DefaultResourceRequests.Memory != 64 {
		t.Errorf("got %+v", got.Config)
	}
	var made struct{ Pod api.Pod }
	s.with(dev, "POST", "/api/pods", map[string]any{"packId": pack.ID}).want(http.StatusCreated, &made)
	if p := made.Pod; p.Namespace != "shop" || p.TerminationGracePeriodSeconds != 5 || p.ResourceRequests.CPU != 50 {
		t.Errorf("got %+v", p)
	}
	s.with(admin, "DELETE", "/api/namespaces/shop", nil).fails(http.StatusConflict, fault.Conflict) // pods go there
	s.with(operator, "PATCH", at, map[string]any{"defaultNamespace": "nowhere"}).fails(http.StatusBadRequest, fault.Validation)
	s.with(operator, "PATCH", at, map[string]any{"heartbeatTimeoutMs": 10}).fails(http.StatusBadRequest, fault.Validation)
	s.with(operator, "PATCH", at, map[string]any{"colour": "red"}).fails(http.StatusBadRequest, fault.Validation)
	s.with(operator, "PATCH", at, map[string]any{"maxTotalPods": 5, "resourceVersion": before.ResourceVersion}).fails(http.StatusConflict, fault.Conflict)
	s.with(operator, "PATCH", at, map[string]any{"openRegistration": true}).fails(http.StatusForbidden, fault.Forbidden)
	s.with(admin, "PATCH", at, map[string]any{"openRegistration": true}).want(http.StatusOK, nil)
	s.account("/auth/register", "somebody@example.org", http.StatusCreated)
	before.ResourceVersion = ""
	s.with(admin, "PUT", at, before).want(http.StatusOK, &got)
	if got.Config.DefaultNamespace != "default" || got.Config.OpenRegistration {
		t.Errorf("got %+v", got.Config)
	}
	s.with(admin, "PUT", at, map[string]any{"maxPodsPerNode": 5}).fails(http.StatusBadRequest, fault.Validation)
}
