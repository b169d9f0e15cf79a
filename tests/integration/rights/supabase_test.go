package rights

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

// row is how supabase-js does one action: from(table) with a filter, or an upload.
// Of what it returns every row counts; %s is what names the object, or whose it
// shall be.
type row struct {
	path, body string
	relations  []relation
}

const object = "/storage/v1/object/pack-bundles/"

// rows has the cells of those tables that users reach by Supabase's own address.
var rows = map[cell]row{
	{access.Pack, access.Create}: {path: "packs", body: `{"name":"fresh%d","version":"1.0.0","runtime_tag":"node","owner_id":"%s"}`, relations: owned},
	{access.Pack, access.Read}:   {path: "packs?id=eq.%s", relations: shared},
	{access.Pack, access.Update}: {path: "packs?id=eq.%s", body: `{"description":"x"}`, relations: shared},
	{access.Pack, access.Delete}: {path: "packs?id=eq.%s", relations: []relation{own, other, public}},

	{access.Bundle, access.Create}: {path: object + "%s/fresh%d/1.0.0/x.js", body: "exports.default = () => {}", relations: owned},

	{access.Pod, access.Create}: {path: "pods", body: `{"pack_name":"open","labels":{"n":"%d"},"created_by":"%s"}`, relations: owned},
	{access.Pod, access.Read}:   {path: "pods?id=eq.%s", relations: teams},
	{access.Pod, access.Update}: {path: "pods?id=eq.%s", body: `{"labels":{"a":"b"}}`, relations: teams},
	{access.Pod, access.Delete}: {path: "pods?id=eq.%s", relations: teams},

	{access.Node, access.Create}: {path: "nodes", body: `{"name":"fresh%d","runtime_type":"node","registered_by":"%s"}`, relations: owned},
	{access.Node, access.Read}:   {path: "nodes?id=eq.%s", relations: owned},
	{access.Node, access.Update}: {path: "nodes?id=eq.%s", body: `{"unschedulable":true}`, relations: owned},
	{access.Node, access.Delete}: {path: "nodes?id=eq.%s", relations: owned},

	{access.Namespace, access.Create}: {path: "namespaces", body: `{"name":"fresh%d","created_by":"%s"}`, relations: owned},
	{access.Namespace, access.Read}:   {path: "namespaces?id=eq.%s", relations: others},
	{access.Namespace, access.Update}: {path: "namespaces?id=eq.%s", body: `{"labels":{"a":"b"}}`, relations: others},
	{access.Namespace, access.Delete}: {path: "namespaces?id=eq.%s", relations: others},

	{access.NamespaceMember, access.Create}: {path: "namespace_members", body: `{"namespace":"%ns","user_id":"%s","role":"viewer"}`, relations: memberships},
	{access.NamespaceMember, access.Read}:   {path: "namespace_members?namespace=eq.%ns&user_id=eq.%s", relations: memberships},
	{access.NamespaceMember, access.Update}: {path: "namespace_members?namespace=eq.%ns&user_id=eq.%s", body: `{"role":"operator"}`, relations: memberships},
	{access.NamespaceMember, access.Delete}: {path: "namespace_members?namespace=eq.%ns&user_id=eq.%s", relations: memberships},

	{access.PriorityClass, access.Create}: {path: "priority_classes", body: `{"name":"fresh%d","value":5,"description":"%s"}`, relations: others},
	{access.PriorityClass, access.Read}:   {path: "priority_classes?id=eq.%s", relations: others},
	{access.PriorityClass, access.Update}: {path: "priority_classes?id=eq.%s", body: `{"value":5}`, relations: others},
	{access.PriorityClass, access.Delete}: {path: "priority_classes?id=eq.%s", relations: others},

	{access.ClusterConfig, access.Read}:   {path: "cluster_config?select=name", relations: others},
	{access.ClusterConfig, access.Update}: {path: "cluster_config?name=eq.default", body: `{"max_total_nodes":999}`, relations: others},

	{access.User, access.Read}:     {path: "users?id=eq.%s", relations: others},
	{access.User, access.Update}:   {path: "users?id=eq.%s", body: `{"display_name":"x"}`, relations: others},
	{access.UserRole, access.Read}: {path: "user_roles?user_id=eq.%s", relations: owned},
	{access.Profile, access.Read}:  {path: "users?id=eq.%s", relations: []relation{own}},
}

// The same cells by the addresses of Supabase: PostgREST's and that of Storage.
func TestEveryCellThroughSupabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, k := range access.Kinds {
		for _, a := range access.Actions {
			try, found := rows[cell{k, a}]
			if !found {
				continue
			}
			for _, who := range s.subjects {
				for _, r := range try.relations {
					if r == own && who.role == api.RoleNode {
						continue // a credential is no token there, whose ever the object is
					}
					want := reaches(scopeOf(who, a, k), r)
					if got := s.throughSupabase(t, who, k, a, r, try); got != want {
						t.Errorf("%s, %s a %s that is %s: %t through Supabase, %t in the table", who, a, k, r, got, want)
					}
				}
			}
		}
	}
}

var methods = map[access.Action]string{
	access.Create: http.MethodPost, access.Read: http.MethodGet, access.Update: http.MethodPatch, access.Delete: http.MethodDelete,
}

func (s *site) throughSupabase(t *testing.T, who subject, k access.Kind, a access.Action, r relation, try row) bool {
	t.Helper()
	key := s.owner(who, r)
	if k == access.NamespaceMember {
		key = s.member(t, a, who, r)
	} else if a != access.Create && k != access.UserRole && k != access.Profile && k != access.User {
		key = s.object(t, k, who, r)
	}
	fill := strings.NewReplacer("%ns", s.object(t, access.NamespaceMember, who, r), "%s", key, "%d", fmt.Sprint(s.count.Add(1))).Replace
	path := fill(try.path)
	if !strings.HasPrefix(path, "/") {
		path = "/rest/v1/" + path
	}
	gateway := *s
	gateway.url = strings.TrimSuffix(s.issuer, "/auth/v1")
	status, answer := gateway.do(t, methods[a], path, fill(try.body), s.token(t, who))
	switch {
	case status < 300:
		return answer != "[]"
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound:
		return false
	case k == access.Bundle && strings.Contains(answer, `"403"`): // Storage says so in the body
		return false
	case who.role == api.RoleNode && status == http.StatusBadRequest:
		return false
	default:
		t.Errorf("%s, %s a %s that is %s: %d %s", who, a, k, r, status, answer)
		return false
	}
}
