package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// ListPriorityClasses gives all classes, the highest first.
func (db *DB) ListPriorityClasses(ctx context.Context, id access.Identity) ([]api.PriorityClass, error) {
	classes := []api.PriorityClass{}
	err := db.readAs(ctx, "list priority classes", id, func(b *pgx.Batch) {
		b.Queue("select " + priorityClassColumns + " from public.priority_classes c order by c.value desc, c.name limit 1000").
			Query(all(&classes, scanPriorityClass))
	})
	return classes, err
}

// GetPriorityClass gives the class with a name.
func (db *DB) GetPriorityClass(ctx context.Context, id access.Identity, name string) (api.PriorityClass, error) {
	var c api.PriorityClass
	err := db.readAs(ctx, "get priority class", id, func(b *pgx.Batch) {
		b.Queue("select "+priorityClassColumns+" from public.priority_classes c where c.name = $1", name).Query(one(&c, scanPriorityClass))
	})
	return c, notFound(err, "priority class")
}

// CreatePriorityClass stores a class; one that is the default takes that from another.
func (db *DB) CreatePriorityClass(ctx context.Context, id access.Identity, p api.PriorityClass) (api.PriorityClass, error) {
	var c api.PriorityClass
	err := db.writeAs(ctx, "create priority class", id, func(b *pgx.Batch) {
		b.Queue(`insert into public.priority_classes as c (id, name, value, global_default, preemption_policy, description)
			values ($6::text::uuid, $1, $2, $3, $4::text::public.preemption_policy, $5) returning `+priorityClassColumns,
			p.Name, p.Value, p.GlobalDefault, string(p.PreemptionPolicy), orNull(p.Description), orNewID(p.ID)).Query(one(&c, scanPriorityClass))
	})
	if f := conflictOn(err, "priority_classes_name_key"); f != nil {
		err = fault.Wrap(f.Cause, fault.Conflict, "a priority class named %s exists already", p.Name)
	}
	return madeBefore(c, err, p.ID, func() (api.PriorityClass, error) {
		found, err := db.GetPriorityClass(ctx, id, p.Name)
		if err == nil && found.ID != p.ID {
			err = fault.New(fault.NotFound, "another class")
		}
		return found, err
	})
}

// seenClassSQL asks whether the caller sees the class.
const seenClassSQL = "select exists (select from public.priority_classes where name = $1)"

// UpdatePriorityClass changes what the request names. It fails with Conflict where live
// pods have the class and it would mean something else for them.
func (db *DB) UpdatePriorityClass(ctx context.Context, id access.Identity, name string, r api.UpdatePriorityClassRequest) (api.PriorityClass, error) {
	var c api.PriorityClass
	err := db.changeOwn(ctx, "update priority class", id, "priority class", name, seenClassSQL, func(b *pgx.Batch) {
		b.Queue(`update public.priority_classes c set value = coalesce($2, c.value), global_default = coalesce($3, c.global_default),
				preemption_policy = coalesce($4::text::public.preemption_policy, c.preemption_policy), description = coalesce($5, c.description)
			where c.name = $1 returning `+priorityClassColumns, name, r.Value, r.GlobalDefault, (*string)(r.PreemptionPolicy), r.Description).
			Query(one(&c, scanPriorityClass))
	})
	return c, err
}

// DeletePriorityClass removes a class that no live pod has.
func (db *DB) DeletePriorityClass(ctx context.Context, id access.Identity, name string) error {
	return db.changeOwn(ctx, "delete priority class", id, "priority class", name, seenClassSQL, func(b *pgx.Batch) {
		var gone string
		b.Queue("delete from public.priority_classes where name = $1 returning name", name).Query(one(&gone, scanText))
	})
}

// ClusterConfig gives the settings of the cluster to those who may see them.
func (db *DB) ClusterConfig(ctx context.Context, id access.Identity) (api.ClusterConfig, error) {
	var g api.ClusterConfig
	err := db.readAs(ctx, "cluster config", id, func(b *pgx.Batch) {
		b.Queue("select " + configColumns + " from public.cluster_config g").Query(one(&g, scanConfig))
	})
	if fault.CodeOf(err) == fault.NotFound { // the row is always there
		return g, fault.Wrap(err, fault.Forbidden, "the settings of the cluster are for admins and operators")
	}
	return g, err
}

// UpdateClusterConfig changes the settings by change, which gets them as they are under
// a lock and may refuse; it may run again. Every server learns of it by the change feed.
func (db *DB) UpdateClusterConfig(ctx context.Context, id access.Identity, change func(api.ClusterConfig) (api.ClusterConfig, error)) (api.ClusterConfig, error) {
	var after api.ClusterConfig
	d, err := userDoor(id)
	if err != nil {
		return after, err
	}
	err = db.transaction(ctx, "update cluster config", d, func(tx Tx) error {
		var admin bool
		var before []api.ClusterConfig
		tx.Queue("select stark.has_role('{admin}')").Query(one(&admin, scanBool))
		if err := tx.Query(ctx, all(&before, scanConfig), "select "+configColumns+" from public.cluster_config g for update"); err != nil {
			return err
		}
		if len(before) == 0 {
			return fault.New(fault.Forbidden, "the settings of the cluster are for admins and operators")
		}
		if expected := access.Expected(ctx); len(expected) > 0 && !slices.Contains(expected, before[0].ResourceVersion) {
			return otherVersion(kindConfig, before[0].ResourceVersion)
		}
		g, err := change(before[0])
		if err != nil {
			return err
		}
		args, err := configArgs(g)
		if err != nil {
			return err
		}
		if g.OpenRegistration != before[0].OpenRegistration {
			if !admin {
				return fault.New(fault.Forbidden, "only an admin may open or close registration")
			}
			// The column is for servers to write.
			tx.Queue(db.settings(), service.settings()...)
			tx.Queue("update public.cluster_config set open_registration = $1", g.OpenRegistration)
			tx.Queue(db.settings(), d.settings()...)
		}
		tx.Queue(`update public.cluster_config g set max_pods_per_node = @maxPodsPerNode,
				default_namespace = @defaultNamespace, scheduling_policy = @policy::text::public.scheduling_policy,
				default_resource_requests = @requests::text::jsonb, default_resource_limits = @limits::text::jsonb,
				max_total_pods = @maxTotalPods, max_total_nodes = @maxTotalNodes, heartbeat_interval_ms = @interval,
				heartbeat_timeout_ms = @timeout, eviction_timeout_ms = @eviction, pod_termination_grace_period_ms = @grace,
				terminal_pod_retention_ms = @retention, pod_history_retention_ms = @history, enable_preemption = @preemption, score_weights = @weights::text::jsonb
			returning `+configColumns, args).Query(one(&after, scanConfig))
		return nil
	})
	return after, err
}

func configArgs(g api.ClusterConfig) (pgx.StrictNamedArgs, error) {
	args := pgx.StrictNamedArgs{
		"maxPodsPerNode": g.MaxPodsPerNode, "defaultNamespace": g.DefaultNamespace, "policy": string(g.SchedulingPolicy),
		"maxTotalPods": g.MaxTotalPods, "maxTotalNodes": g.MaxTotalNodes, "interval": g.HeartbeatIntervalMS,
		"timeout": g.HeartbeatTimeoutMS, "eviction": g.EvictionTimeoutMS, "grace": g.PodTerminationGracePeriodMS,
		"retention": g.TerminalPodRetentionMS, "history": g.PodHistoryRetentionMS, "preemption": g.EnablePreemption,
	}
	for name, v := range map[string]any{"requests": g.DefaultResourceRequests, "limits": g.DefaultResourceLimits, "weights": g.ScoreWeights} {
		text, err := jsonText(v)
		if err != nil {
			return nil, err
		}
		args[name] = text
	}
	return args, nil
}
