package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// namedSQL finds a namespace by its id or its name.
const namedSQL = "(s.id::text = $1 or s.name = $1)"

// seenNamespaceSQL asks whether the caller sees it.
const seenNamespaceSQL = "select exists (select from public.namespaces s where " + namedSQL + ")"

// CreateNamespace stores a namespace; it is active at once.
func (db *DB) CreateNamespace(ctx context.Context, id access.Identity, r api.CreateNamespaceRequest) (api.Namespace, error) {
	var n api.Namespace
	args, err := namespaceArgs(r.ResourceQuota, r.LimitRange, r.DisruptionBudget, orEmpty(r.Labels), orEmpty(r.Annotations))
	if err != nil {
		return n, err
	}
	args["id"], args["name"] = orNewID(r.ID), r.Name
	err = db.writeAs(ctx, "create namespace", id, func(b *pgx.Batch) {
		b.Queue(`insert into public.namespaces as s (id, name, labels, annotations, resource_quota, limit_range, disruption_budget)
			values (@id::text::uuid, @name, @labels::text::jsonb, @annotations::text::jsonb, @quota::text::jsonb, @limits::text::jsonb, @budget::text::jsonb)
			returning `+namespaceColumns, args).Query(one(&n, scanNamespace))
	})
	if f := conflictOn(err, "namespaces_name_key"); f != nil {
		err = fault.Wrap(f.Cause, fault.Conflict, "a namespace named %s exists already", r.Name)
	}
	return madeBefore(n, err, r.ID, func() (api.Namespace, error) { return db.GetNamespace(ctx, id, r.ID) })
}

// namespaceArgs encodes what is JSON; what is nil becomes null.
func namespaceArgs(quota *api.ResourceQuota, limits *api.LimitRange, budget *api.DisruptionBudget, labels, annotations map[string]string) (pgx.StrictNamedArgs, error) {
	args := pgx.StrictNamedArgs{}
	for name, v := range map[string]any{"quota": quota, "limits": limits, "budget": budget, "labels": labels, "annotations": annotations} {
		text, err := jsonText(v)
		if err != nil {
			return nil, err
		}
		args[name] = text
	}
	return args, nil
}

// GetNamespace gives one namespace by its id or name.
func (db *DB) GetNamespace(ctx context.Context, id access.Identity, key string) (api.Namespace, error) {
	var n api.Namespace
	err := db.readAs(ctx, "get namespace", id, func(b *pgx.Batch) {
		b.Queue("select "+namespaceColumns+" from public.namespaces s where "+namedSQL, key).Query(one(&n, scanNamespace))
	})
	return n, notFound(err, "namespace")
}

// ListNamespaces gives a page of the namespaces, by name.
func (db *DB) ListNamespaces(ctx context.Context, id access.Identity, q api.NamespaceQuery) (api.Page[api.Namespace], error) {
	w := where{}
	if q.Phase != "" {
		w.and("s.phase::text = @phase", "phase", string(q.Phase))
	}
	if q.Search != "" {
		w.and("s.name ilike @search", "search", likePattern(q.Search))
	}
	if _, err := w.labels("s.labels", q.LabelSelector); err != nil {
		return api.Page[api.Namespace]{}, err
	}
	return paged(ctx, db, id, q.PageQuery, listing[api.Namespace]{
		op: "list namespaces", columns: namespaceColumns, from: "public.namespaces s", order: "s.name", where: w, scan: scanNamespace,
	})
}

// UpdateNamespace changes what the request names.
func (db *DB) UpdateNamespace(ctx context.Context, id access.Identity, key string, r api.UpdateNamespaceRequest) (api.Namespace, error) {
	var n api.Namespace
	limits := r.LimitRange
	if limits != nil && *limits == (api.LimitRange{}) {
		limits = nil
	}
	var budget *api.DisruptionBudget
	if r.DisruptionBudget != nil && r.DisruptionBudget.MaxUnavailable != nil {
		budget = &api.DisruptionBudget{MaxUnavailable: *r.DisruptionBudget.MaxUnavailable}
	}
	args, err := namespaceArgs(r.ResourceQuota.Quota(), limits, budget, r.Labels, r.Annotations)
	if err != nil {
		return n, err
	}
	args["key"] = key
	args["setQuota"], args["setLimits"], args["setBudget"] = r.ResourceQuota != nil, r.LimitRange != nil, r.DisruptionBudget != nil
	err = db.changeOwn(ctx, "update namespace", id, "namespace", key, seenNamespaceSQL, func(b *pgx.Batch) {
		b.Queue(`update public.namespaces s set labels = coalesce(@labels::text::jsonb, s.labels),
				annotations = coalesce(@annotations::text::jsonb, s.annotations),
				resource_quota = case when @setQuota::boolean then @quota::text::jsonb else s.resource_quota end,
				limit_range = case when @setLimits::boolean then @limits::text::jsonb else s.limit_range end,
				disruption_budget = case when @setBudget::boolean then @budget::text::jsonb else s.disruption_budget end
			where (s.id::text = @key or s.name = @key) returning `+namespaceColumns, args).Query(one(&n, scanNamespace))
	})
	if err == nil && n.Phase == api.NamespaceTerminating {
		return n, fault.New(fault.NamespaceTerminating, "namespace %s is terminating", n.Name)
	}
	return n, err
}

// DeleteNamespace lets a namespace end. One without pods is gone at once; any other
// takes no new pods, and the leader stops those that it has, and then removes it.
func (db *DB) DeleteNamespace(ctx context.Context, id access.Identity, key string) (n api.Namespace, gone bool, err error) {
	var deleted, ending []api.Namespace
	var seen bool
	err = db.changeAs(ctx, "delete namespace", id, kindNamespace, key, func(b *pgx.Batch) {
		b.Queue(seenNamespaceSQL, key).Query(one(&seen, scanBool))
		b.Queue("delete from public.namespaces s where "+namedSQL+` and not exists (select from public.pods p where p.namespace = s.name)
			returning `+namespaceColumns, key).Query(all(&deleted, scanNamespace))
		b.Queue("update public.namespaces s set phase = 'terminating' where "+namedSQL+" and s.phase <> 'terminating' returning "+namespaceColumns, key).
			Query(all(&ending, scanNamespace))
	})
	switch {
	case err != nil:
		return n, false, reserved(err)
	case len(deleted) > 0:
		return deleted[0], true, nil
	case len(ending) > 0:
		return ending[0], false, nil
	case !seen:
		return n, false, fault.New(fault.NotFound, "namespace not found")
	}
	if n, err = db.GetNamespace(ctx, id, key); err == nil && n.Phase != api.NamespaceTerminating {
		err = fault.New(fault.Forbidden, "you may not change this namespace")
	}
	return n, false, err
}

// reserved gives the code that the API has for the namespaces that always exist.
func reserved(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Conflict {
		return err
	}
	if name, ok := f.Details["namespace"].(string); ok && api.ReservedNamespace(name) {
		return fault.Wrap(err, fault.ReservedName, "namespace %s is reserved", name)
	}
	return err
}

// NamespaceQuota tells what a namespace may use and uses, also of single classes.
func (db *DB) NamespaceQuota(ctx context.Context, id access.Identity, key string) (api.NamespaceQuota, error) {
	n := api.Namespace{}
	used := map[string]api.Capacity{}
	err := db.readAs(ctx, "namespace quota", id, func(b *pgx.Batch) {
		b.Queue("select "+namespaceColumns+" from public.namespaces s where "+namedSQL, key).Query(one(&n, scanNamespace))
		// The figures count pods that the caller may not see; they name none.
		b.Queue(db.settings(), service.settings()...)
		b.Queue("select u.class, u.used from public.namespaces s, stark.class_usage(s.name) u where "+namedSQL, key).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var class string
				var c api.Capacity
				if err := rows.Scan(&class, &c); err != nil {
					return err
				}
				used[class] = c
			}
			return rows.Err()
		})
	})
	return api.NamespaceQuota{
		Name: n.Name, ResourceQuota: n.ResourceQuota, ResourceUsage: n.ResourceUsage, ClassUsage: used,
		LimitRange: n.LimitRange, DisruptionBudget: n.DisruptionBudget,
	}, notFound(err, "namespace")
}

// ListMembers gives the members of a namespace that the caller may see.
func (db *DB) ListMembers(ctx context.Context, id access.Identity, key string) ([]api.NamespaceMember, error) {
	var seen bool
	members := []api.NamespaceMember{}
	err := db.readAs(ctx, "list members", id, func(b *pgx.Batch) {
		b.Queue(seenNamespaceSQL, key).Query(one(&seen, scanBool))
		b.Queue("select "+memberColumns+` from public.namespace_members m join public.namespaces s on s.name = m.namespace
			where `+namedSQL+" order by m.role, m.user_id limit 1000", key).Query(all(&members, scanMember))
	})
	if err == nil && !seen {
		return nil, fault.New(fault.NotFound, "namespace not found")
	}
	return members, err
}

// SetMember makes a user a member of a namespace, or changes their role there.
func (db *DB) SetMember(ctx context.Context, id access.Identity, key, userID string, role api.Role) (api.NamespaceMember, error) {
	var m api.NamespaceMember
	if err := checkID(userID, "user"); err != nil {
		return m, err
	}
	var changed, added []api.NamespaceMember
	var seen bool
	err := db.writeAs(ctx, "set member", id, func(b *pgx.Batch) {
		b.Queue(seenNamespaceSQL, key).Query(one(&seen, scanBool))
		b.Queue(`update public.namespace_members m set role = $3::text::public.stark_role from public.namespaces s
			where s.name = m.namespace and `+namedSQL+" and m.user_id = $2 returning "+memberColumns, key, userID, string(role)).
			Query(all(&changed, scanMember))
		b.Queue(`insert into public.namespace_members as m (namespace, user_id, role)
			select s.name, $2, $3::text::public.stark_role from public.namespaces s
			where `+namedSQL+` and not exists (select from public.namespace_members o where o.namespace = s.name and o.user_id = $2)
			returning `+memberColumns, key, userID, string(role)).Query(all(&added, scanMember))
	})
	switch found := append(changed, added...); {
	case err != nil && conflictOn(err, "namespace_members_user_id_fkey") != nil:
		return m, fault.New(fault.NotFound, "there is no user with the id %s", userID)
	case err != nil:
		return m, err
	case len(found) > 0:
		return found[0], nil
	case !seen:
		return m, fault.New(fault.NotFound, "namespace not found")
	default:
		return m, fault.New(fault.Forbidden, "you may not say who is a member of this namespace")
	}
}

// RemoveMember ends a membership.
func (db *DB) RemoveMember(ctx context.Context, id access.Identity, key, userID string) error {
	if err := checkID(userID, "user"); err != nil {
		return err
	}
	var seen bool
	var gone []string
	err := db.writeAs(ctx, "remove member", id, func(b *pgx.Batch) {
		b.Queue(`select exists (select from public.namespace_members m join public.namespaces s on s.name = m.namespace
			where `+namedSQL+" and m.user_id = $2)", key, userID).Query(one(&seen, scanBool))
		b.Queue(`delete from public.namespace_members m using public.namespaces s
			where s.name = m.namespace and `+namedSQL+" and m.user_id = $2 returning m.namespace", key, userID).Query(all(&gone, scanText))
	})
	switch {
	case err != nil || len(gone) > 0:
		return err
	case seen:
		return fault.New(fault.Forbidden, "you may not say who is a member of this namespace")
	default:
		return fault.New(fault.NotFound, "no such member")
	}
}

// EndNamespaces takes every namespace that ends one step further: its pods are asked to
// stop, those that have ended go, and then it goes itself. Only a leader may.
func (db *DB) EndNamespaces(ctx context.Context) (moved int, err error) {
	t, err := leading(ctx)
	if err != nil {
		return 0, err
	}
	var stopped, purged, gone int
	err = db.transaction(ctx, "end namespaces", service, func(tx Tx) error {
		stopped, purged, gone = 0, 0, 0
		if err := hold(ctx, tx, t); err != nil {
			return err
		}
		var ending []string
		if err := tx.Query(ctx, all(&ending, scanText), "select s.name from public.namespaces s where s.phase = 'terminating' order by s.name"); err != nil {
			return err
		}
		if len(ending) == 0 {
			return errNothingToDo
		}
		tx.Queue(`with live as (
				select p.id from public.pods p where p.namespace = any ($1::text[]) and p.stop_requested_at is null and p.status not in `+endedSQL+`
				order by p.id limit $2 for update of p),
			told as (update public.pods p set stop_requested_at = now(), status_message = 'the namespace is terminating' from live where p.id = live.id returning 1)
			select count(*) from told`, ending, purgeAtOnce).Query(one(&stopped, scanInt))
		tx.Queue(`with ended as (
				select p.id from public.pods p where p.namespace = any ($1::text[]) and p.status in `+endedSQL+`
				order by p.id limit $2 for update of p skip locked),
			gone as (delete from public.pods p using ended where p.id = ended.id returning 1)
			select count(*) from gone`, ending, purgeAtOnce).Query(one(&purged, scanInt))
		return tx.Query(ctx, one(&gone, scanInt), `with gone as (
				delete from public.namespaces s where s.name = any ($1::text[]) and not exists (select from public.pods p where p.namespace = s.name) returning 1)
			select count(*) from gone`, ending)
	})
	return stopped + purged + gone, err
}
