package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// nodeArgs are the arguments of a node as it is sent by its agent or a user.
func nodeArgs(r api.RegisterNodeRequest) (pgx.StrictNamedArgs, error) {
	args := pgx.StrictNamedArgs{"name": r.Name, "type": string(r.RuntimeType), "namespaces": orNone(r.Namespaces)}
	var allocatable any
	if r.Allocatable != nil {
		allocatable = r.Allocatable
	}
	for name, v := range map[string]any{
		"capabilities": r.Capabilities, "allocatable": allocatable, "labels": orEmpty(r.Labels),
		"annotations": orEmpty(r.Annotations), "taints": orNone(r.Taints),
	} {
		text, err := jsonText(v)
		if err != nil {
			return nil, err
		}
		args[name] = text
	}
	return args, nil
}

// defaultCapacity is what a node offers that does not say.
const defaultCapacity = `'{"cpu":1000,"memory":1024,"storage":10240,"pods":110}'`

// CreateNode stores a node ahead of its agent; it is offline until that comes. A
// request with an id that is stored already gives that node.
func (db *DB) CreateNode(ctx context.Context, id access.Identity, r api.RegisterNodeRequest) (api.Node, error) {
	var n api.Node
	args, err := nodeArgs(r)
	if err != nil {
		return n, err
	}
	args["id"] = orNewID(r.ID)
	err = db.writeAs(ctx, "create node", id, func(b *pgx.Batch) {
		b.Queue(`insert into public.nodes as n (id, name, runtime_type, capabilities, allocatable, labels, annotations, taints, namespaces)
			values (@id::text::uuid, @name, @type::text::public.runtime_type, @capabilities::text::jsonb, coalesce(@allocatable::text::jsonb, `+defaultCapacity+`),
				@labels::text::jsonb, @annotations::text::jsonb, @taints::text::jsonb, @namespaces::text[])
			returning `+nodeColumns, args).Query(one(&n, scanNode))
	})
	return madeBefore(n, nameTaken(err, r.Name), r.ID, func() (api.Node, error) { return db.GetNode(ctx, id, r.ID) })
}

// nameTaken says so where a node's name is the conflict.
func nameTaken(err error, name string) error {
	if f := conflictOn(err, "nodes_name_key"); f != nil {
		return fault.Wrap(f.Cause, fault.Conflict, "a node named %s exists already", name)
	}
	return err
}

// GetNode gives one node.
func (db *DB) GetNode(ctx context.Context, id access.Identity, nodeID string) (api.Node, error) {
	if err := checkID(nodeID, "node"); err != nil {
		return api.Node{}, err
	}
	return db.getNode(ctx, id, "select "+nodeColumns+" from public.nodes n where n.id = $1", nodeID)
}

// GetNodeByName gives the node with a name.
func (db *DB) GetNodeByName(ctx context.Context, id access.Identity, name string) (api.Node, error) {
	return db.getNode(ctx, id, "select "+nodeColumns+" from public.nodes n where n.name = $1", name)
}

func (db *DB) getNode(ctx context.Context, id access.Identity, sql, key string) (api.Node, error) {
	var n api.Node
	err := db.readAs(ctx, "get node", id, func(b *pgx.Batch) { b.Queue(sql, key).Query(one(&n, scanNode)) })
	return n, notFound(err, "node")
}

// ListNodes gives a page of nodes, newest first.
func (db *DB) ListNodes(ctx context.Context, id access.Identity, q api.NodeQuery) (api.Page[api.Node], error) {
	w := where{}
	if q.RuntimeType != "" {
		w.and("n.runtime_type::text = @type", "type", string(q.RuntimeType))
	}
	if q.Status != "" {
		w.and("n.status::text = @status", "status", string(q.Status))
	}
	if q.Search != "" {
		w.and("n.name ilike @search", "search", likePattern(q.Search))
	}
	if _, err := w.labels("n.labels", q.LabelSelector); err != nil {
		return api.Page[api.Node]{}, err
	}
	return paged(ctx, db, id, q.PageQuery, listing[api.Node]{
		op: "list nodes", columns: nodeColumns, from: "public.nodes n", order: "n.created_at desc, n.id", where: w, scan: scanNode,
	})
}

// UpdateNode changes what an owner or operator may change of a node.
func (db *DB) UpdateNode(ctx context.Context, id access.Identity, nodeID string, r api.UpdateNodeRequest) (api.Node, error) {
	var n api.Node
	if err := checkID(nodeID, "node"); err != nil {
		return n, err
	}
	args := pgx.StrictNamedArgs{"id": nodeID, "unschedulable": r.Unschedulable, "maintenance": r.Maintenance}
	var taints, allocatable any
	if r.Taints != nil {
		taints = orNone(*r.Taints)
	}
	if r.Allocatable != nil {
		allocatable = *r.Allocatable
	}
	for name, v := range map[string]any{"labels": r.Labels, "annotations": r.Annotations, "taints": taints, "allocatable": allocatable} {
		text, err := jsonText(v)
		if err != nil {
			return n, err
		}
		args[name] = text
	}
	args["namespaces"] = nil
	if r.Namespaces != nil {
		args["namespaces"] = orNone(*r.Namespaces)
	}
	err := db.changeOwn(ctx, "update node", id, "node", nodeID, "select exists (select from public.nodes where id = $1)",
		func(b *pgx.Batch) {
			b.Queue(`update public.nodes n set labels = coalesce(@labels::text::jsonb, n.labels),
				annotations = coalesce(@annotations::text::jsonb, n.annotations),
				taints = coalesce(@taints::text::jsonb, n.taints),
				allocatable = coalesce(@allocatable::text::jsonb, n.allocatable),
				unschedulable = coalesce(@unschedulable::boolean, n.unschedulable),
				maintenance = coalesce(@maintenance::boolean, n.maintenance),
				namespaces = coalesce(@namespaces::text[], n.namespaces)
				where n.id = @id returning `+nodeColumns, args).Query(one(&n, scanNode))
		})
	return n, err
}

// DeleteNode removes a node that has no live pods; its credentials end with it.
func (db *DB) DeleteNode(ctx context.Context, id access.Identity, nodeID string) error {
	if err := checkID(nodeID, "node"); err != nil {
		return err
	}
	return db.changeOwn(ctx, "delete node", id, "node", nodeID, "select exists (select from public.nodes where id = $1)",
		func(b *pgx.Batch) {
			var gone string
			b.Queue("delete from public.nodes where id = $1 returning id::text", nodeID).Query(one(&gone, scanText))
		})
}
