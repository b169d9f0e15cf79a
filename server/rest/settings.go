package rest

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
)

type classList struct {
	PriorityClasses []api.PriorityClass `json:"priorityClasses"`
	Total           int                 `json:"total"`
}

type oneClass struct {
	PriorityClass api.PriorityClass `json:"priorityClass"`
}

func (o oneClass) resourceVersion() string { return o.PriorityClass.ResourceVersion }

type createClassInput struct {
	Body Body[api.PriorityClass, *api.PriorityClass]
}

// ClassInput names a priority class. Like PageInput it is exported for huma.
type ClassInput struct {
	Name string `path:"name"`
}

type updateClassInput struct {
	ClassInput
	IfMatchInput
	Body Body[api.UpdatePriorityClassRequest, *api.UpdatePriorityClassRequest]
}

type deleteClassInput struct {
	ClassInput
	IfMatchInput
}

type clusterSettings struct {
	Config api.ClusterConfig `json:"config"`
}

func (c clusterSettings) resourceVersion() string { return c.Config.ResourceVersion }

type putConfigInput struct {
	IfMatchInput
	Body Body[api.ClusterConfig, *api.ClusterConfig]
}

type patchConfigInput struct {
	IfMatchInput
	Body Body[api.UpdateClusterConfigRequest, *api.UpdateClusterConfigRequest]
}

func (s *server) settingsRoutes() {
	register(s, operation{
		method: http.MethodPost, path: "/api/priority-classes", id: "createPriorityClass", tag: "priority classes", rule: may(access.Create, access.PriorityClass),
		summary: "Make a priority class; one with globalDefault takes that from another", status: http.StatusCreated, errors: []int{http.StatusConflict},
	}, s.createClass)
	register(s, operation{
		method: http.MethodGet, path: "/api/priority-classes", id: "listPriorityClasses", tag: "priority classes", rule: may(access.Read, access.PriorityClass),
		summary: "List priority classes, the highest first",
	}, s.listClasses)
	register(s, operation{
		method: http.MethodGet, path: "/api/priority-classes/{name}", id: "getPriorityClass", tag: "priority classes", rule: may(access.Read, access.PriorityClass),
		summary: "One priority class",
	}, s.getClass)
	register(s, operation{
		method: http.MethodPatch, path: "/api/priority-classes/{name}", id: "updatePriorityClass", tag: "priority classes", rule: may(access.Update, access.PriorityClass),
		summary: "Change a priority class; value and policy only while no live pod has it", errors: []int{http.StatusConflict},
	}, s.updateClass)
	register(s, operation{
		method: http.MethodDelete, path: "/api/priority-classes/{name}", id: "deletePriorityClass", tag: "priority classes", rule: may(access.Delete, access.PriorityClass),
		summary: "Remove a priority class that no live pod has", errors: []int{http.StatusConflict},
	}, s.deleteClass)
	register(s, operation{
		method: http.MethodGet, path: "/api/cluster/config", id: "getClusterConfig", tag: "cluster", rule: may(access.Read, access.ClusterConfig),
		summary: "The settings of the cluster",
	}, s.getConfig)
	register(s, operation{
		method: http.MethodPut, path: "/api/cluster/config", id: "replaceClusterConfig", tag: "cluster", rule: may(access.Update, access.ClusterConfig),
		summary: "Replace all settings of the cluster", errors: []int{http.StatusConflict},
	}, s.putConfig)
	register(s, operation{
		method: http.MethodPatch, path: "/api/cluster/config", id: "updateClusterConfig", tag: "cluster", rule: may(access.Update, access.ClusterConfig),
		summary: "Change settings of the cluster; what is absent stays. They hold on every server at once", errors: []int{http.StatusConflict},
	}, s.patchConfig)
}

func (s *server) createClass(ctx context.Context, who caller, in *createClassInput) (oneClass, error) {
	req, err := in.Body.get()
	if err != nil {
		return oneClass{}, err
	}
	req.ID = who.objectID
	c, err := s.DB.CreatePriorityClass(ctx, who.Identity, req)
	return oneClass{PriorityClass: c}, err
}

func (s *server) listClasses(ctx context.Context, who caller, _ *none) (classList, error) {
	classes, err := s.DB.ListPriorityClasses(ctx, who.Identity)
	return classList{PriorityClasses: emptyIfNil(classes), Total: len(classes)}, err
}

func (s *server) getClass(ctx context.Context, who caller, in *ClassInput) (oneClass, error) {
	c, err := s.DB.GetPriorityClass(ctx, who.Identity, in.Name)
	return oneClass{PriorityClass: c}, err
}

func (s *server) updateClass(ctx context.Context, who caller, in *updateClassInput) (oneClass, error) {
	req, err := in.Body.get()
	if err != nil {
		return oneClass{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return oneClass{}, err
	}
	c, err := s.DB.UpdatePriorityClass(ctx, who.Identity, in.Name, req)
	return oneClass{PriorityClass: c}, err
}

func (s *server) deleteClass(ctx context.Context, who caller, in *deleteClassInput) (deleted, error) {
	err := s.DB.DeletePriorityClass(ctx, who.Identity, in.Name)
	return deleted{Deleted: err == nil}, err
}

func (s *server) getConfig(ctx context.Context, who caller, _ *none) (clusterSettings, error) {
	g, err := s.DB.ClusterConfig(ctx, who.Identity)
	return clusterSettings{Config: g}, err
}

func (s *server) putConfig(ctx context.Context, who caller, in *putConfigInput) (clusterSettings, error) {
	req, err := in.Body.get()
	if err != nil {
		return clusterSettings{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return clusterSettings{}, err
	}
	return s.changeConfig(ctx, who, func(api.ClusterConfig) api.ClusterConfig { return req })
}

func (s *server) patchConfig(ctx context.Context, who caller, in *patchConfigInput) (clusterSettings, error) {
	req, err := in.Body.get()
	if err != nil {
		return clusterSettings{}, err
	}
	if ctx, err = expecting(ctx, req.ResourceVersion); err != nil {
		return clusterSettings{}, err
	}
	return s.changeConfig(ctx, who, req.Apply)
}

func (s *server) changeConfig(ctx context.Context, who caller, change func(api.ClusterConfig) api.ClusterConfig) (clusterSettings, error) {
	g, err := s.DB.UpdateClusterConfig(ctx, who.Identity, func(before api.ClusterConfig) (api.ClusterConfig, error) {
		after := change(before)
		return after, after.Validate()
	})
	s.audit(ctx, "clusterConfig.set", err == nil, "", slog.String("by", who.UserID))
	return clusterSettings{Config: g}, err
}
