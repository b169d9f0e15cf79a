package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// maxGroup bounds how many creates share a statement, and maxDoors of how many identities
// they share a transaction.
const (
	maxGroup = 128
	maxDoors = 32
)

// newPod is a row to insert; its JSON names are column names. What is left out gets
// the default of its column or, beside it, of the cluster: most fields are, and what is
// not sent need not be read.
type newPod struct {
	ID                string            `json:"id"`
	PackID            *string           `json:"pack_id,omitempty"`
	PackName          string            `json:"pack_name,omitempty"`
	PackVersion       string            `json:"pack_version,omitempty"`
	Namespace         *string           `json:"namespace,omitempty"` // nil is the cluster's default
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	PriorityClassName *string           `json:"priority_class_name,omitempty"`
	Tolerations       []api.Toleration  `json:"tolerations,omitempty"`
	Requests          api.ResourceInput `json:"resource_requests,omitzero"`
	Limits            api.ResourceInput `json:"resource_limits,omitzero"`
	Scheduling        api.Scheduling    `json:"scheduling,omitzero"`
	RestartPolicy     api.RestartPolicy `json:"restart_policy,omitempty"`
	Isolation         api.Isolation     `json:"isolation,omitempty"`
	Env               map[string]string `json:"env,omitempty"`
	Grace             *int              `json:"termination_grace_period_seconds,omitempty"` // nil is the cluster's default
	Deadline          *int              `json:"active_deadline_seconds,omitempty"`
	Metadata          map[string]any    `json:"metadata,omitempty"`
}

// rowTarget, rowValues and rowColumns are the parts of a statement that stores the rows of
// one document, r. The cluster's defaults are asked for once, not for each row.
const (
	rowTarget = `insert into public.pods as p (id, pack_id, pack_name, pack_version, namespace, labels, annotations,
		priority_class_name, tolerations, resource_requests, resource_limits, scheduling, restart_policy, isolation,
		env, termination_grace_period_seconds, active_deadline_seconds, metadata)`
	rowValues = `r.pack_id, coalesce(r.pack_name, ''), coalesce(r.pack_version, ''),
		coalesce(r.namespace, (select stark.default_namespace())), coalesce(r.labels, '{}'), coalesce(r.annotations, '{}'),
		r.priority_class_name, coalesce(r.tolerations, '[]'), coalesce(r.resource_requests, '{}'), coalesce(r.resource_limits, '{}'),
		coalesce(r.scheduling, '{}'), coalesce(r.restart_policy::public.restart_policy, 'OnFailure'),
		coalesce(r.isolation::public.pod_isolation, 'process'), coalesce(r.env, '{}'),
		coalesce(r.termination_grace_period_seconds, (select stark.default_grace_seconds())), r.active_deadline_seconds,
		coalesce(r.metadata, '{}')`
	rowColumns = `pack_id uuid, pack_name text, pack_version text, namespace text,
		labels jsonb, annotations jsonb, priority_class_name text, tolerations jsonb, resource_requests jsonb,
		resource_limits jsonb, scheduling jsonb, restart_policy text, isolation text, env jsonb,
		termination_grace_period_seconds integer, active_deadline_seconds integer, metadata jsonb`
)

const insertPodsSQL = rowTarget + " select r.id, " + rowValues + " from jsonb_to_recordset($1::text::jsonb) as r (id uuid, " + rowColumns + ")"

const createSQL = insertPodsSQL + ` returning ` + podColumns

func rowFor(r api.CreatePodRequest) newPod {
	p := newPod{
		ID: r.ID, PackID: orNull(r.PackID), PackName: r.PackName, PackVersion: r.PackVersion, Namespace: orNull(r.Namespace),
		Labels: r.Labels, Annotations: r.Annotations, PriorityClassName: orNull(r.PriorityClassName),
		Tolerations: r.Tolerations, RestartPolicy: r.RestartPolicy, Isolation: r.Isolation, Env: r.Env,
		Grace: r.TerminationGracePeriodSeconds, Deadline: r.ActiveDeadlineSeconds, Metadata: r.Metadata,
	}
	if p.ID == "" {
		p.ID = api.NewID()
	}
	if r.ResourceRequests != nil {
		p.Requests = *r.ResourceRequests
	}
	if r.ResourceLimits != nil {
		p.Limits = *r.ResourceLimits
	}
	if r.Scheduling != nil {
		p.Scheduling = *r.Scheduling
	}
	return p
}

// createQueue gathers the creates in one namespace that wait while the last of them are
// stored: those of one identity then share a statement, and all of them a transaction. What
// they are counted in, the namespace's row, is locked until that is committed.
type createQueue struct {
	mu     sync.Mutex
	groups map[string][]*create // by namespace, guarded by mu; one is there while a goroutine serves it
	wg     sync.WaitGroup
}

// create is one waiting request; the group's goroutine fills it and closes done.
type create struct {
	door    door
	id      string
	row     json.RawMessage
	givenUp atomic.Bool
	done    chan struct{}
	pod     api.Pod
	err     error
}

// CreatePod stores a pod as the user; the database fills in defaults and checks
// limits and quota. Creates that wait at the same time share a transaction, but
// never each other's refusal. A request with an id that is stored already gives that
// pod.
func (db *DB) CreatePod(ctx context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error) {
	d, err := userDoor(id)
	if err != nil {
		return api.Pod{}, err
	}
	p := rowFor(r)
	row, err := json.Marshal(p)
	if err != nil {
		return api.Pod{}, fault.Wrap(err, fault.Validation, "the pod cannot be stored")
	}
	if p.PackID != nil && !api.ValidID(*p.PackID) {
		return api.Pod{}, fault.New(fault.NotFound, "pack not found")
	}
	c := &create{door: d, id: p.ID, row: row, done: make(chan struct{})}
	db.enqueue(ctx, r.Namespace, c)
	select {
	case <-c.done:
		if r.ID != "" && conflictOn(c.err, "pods_pkey") != nil {
			return db.GetPod(ctx, id, r.ID)
		}
		return c.pod, c.err
	case <-ctx.Done():
		c.givenUp.Store(true)
		return api.Pod{}, toFault("create pod", ctx.Err())
	}
}

func (db *DB) enqueue(ctx context.Context, namespace string, c *create) {
	q := &db.creates
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, served := q.groups[namespace]
	if q.groups == nil {
		q.groups = map[string][]*create{}
	}
	q.groups[namespace] = append(waiting, c)
	if !served {
		// One caller's end must not fail its neighbours.
		ctx = context.WithoutCancel(ctx)
		q.wg.Go(func() { db.serveCreates(ctx, namespace) })
	}
}

// serveCreates runs until nobody waits for this namespace.
func (db *DB) serveCreates(ctx context.Context, namespace string) {
	for {
		live := db.creates.take(namespace)
		if live == nil {
			return
		}
		db.createGroup(ctx, byDoor(live))
	}
}

// take gives the creates that come next and that somebody waits for, and nil once there are
// none, whom somebody else is to serve then.
func (q *createQueue) take(namespace string) []*create {
	q.mu.Lock()
	defer q.mu.Unlock()
	group := q.groups[namespace]
	if len(group) == 0 {
		delete(q.groups, namespace)
		return nil
	}
	live, doors := []*create{}, map[door]bool{}
	for i, c := range group {
		if doors[c.door] = true; len(live) == maxGroup || len(doors) > maxDoors {
			q.groups[namespace] = append([]*create(nil), group[i:]...)
			return live
		}
		if !c.givenUp.Load() {
			live = append(live, c)
		}
	}
	q.groups[namespace] = nil
	return live
}

// byDoor gathers what each identity asks for, in the order in which the first of it came.
func byDoor(group []*create) (parts [][]*create) {
	at := map[door]int{}
	for _, c := range group {
		i, ok := at[c.door]
		if !ok {
			i = len(parts)
			at[c.door] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], c)
	}
	return parts
}

// refusedCreates are what one identity asks for at once, of which something is refused.
type refusedCreates struct{ part []*create }

// createGroup inserts what some identities ask for. If a row is refused, their halves are
// tried, so that the others are stored; whose it is waits for a place of its own, so that
// nobody else in the namespace does while it is found out which.
func (db *DB) createGroup(ctx context.Context, parts [][]*create) {
	if len(parts) == 0 {
		return
	}
	made, err := db.insertPods(ctx, parts)
	half := len(parts) / 2
	switch {
	case err == nil || !refusesRow(err) || half == 0 && len(parts[0]) == 1:
		answer(slices.Concat(parts...), made, err)
	case half > 0:
		db.createGroup(ctx, parts[:half])
		db.createGroup(ctx, parts[half:])
	default:
		db.creates.wg.Go(func() { _ = db.refused.do(ctx, &refusedCreates{parts[0]}) })
	}
}

// createRefused finds out by halves which creates of an identity are refused.
func (db *DB) createRefused(ctx context.Context, group []*refusedCreates) {
	for _, g := range group {
		db.createHalves(ctx, g.part)
	}
}

func (db *DB) createHalves(ctx context.Context, part []*create) {
	half := len(part) / 2
	for _, some := range [][]*create{part[:half], part[half:]} {
		some = slices.DeleteFunc(some, func(c *create) bool { return c.givenUp.Load() })
		if len(some) == 0 {
			continue
		}
		made, err := db.insertPods(ctx, [][]*create{some})
		if err != nil && refusesRow(err) && len(some) > 1 {
			db.createHalves(ctx, some)
			continue
		}
		answer(some, made, err)
	}
}

// answer tells those who wait what has become of what they asked for.
func answer(group []*create, made map[string]api.Pod, err error) {
	for _, c := range group {
		c.err = err
		if p, ok := made[c.id]; ok {
			c.pod = p
		} else if err == nil {
			c.err = fault.New(fault.Internal, "the pod was not stored")
		}
		close(c.done)
	}
}

// refusesRow reports whether a failure may be about a single row.
func refusesRow(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Code != fault.Unavailable && f.Code != fault.Timeout
}

// insertPods stores all of it in one transaction, or nothing.
func (db *DB) insertPods(ctx context.Context, parts [][]*create) (map[string]api.Pod, error) {
	texts := make([]string, len(parts))
	for i, part := range parts {
		rows := make([]json.RawMessage, len(part))
		for j, c := range part {
			rows[j] = c.row
		}
		text, err := json.Marshal(rows)
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "internal error")
		}
		texts[i] = string(text)
	}
	stored := make([][]api.Pod, len(parts))
	var pods []api.Pod
	err := db.writeOwn(ctx, "create pods", parts[0][0].door, func(b *pgx.Batch, _ *pgx.Conn) {
		for i, part := range parts {
			if i > 0 {
				b.Queue(db.settings(), part[0].door.settings()...)
			}
			b.Queue(createSQL, texts[i]).Query(all(&stored[i], scanPod))
		}
	}, func() {
		pods = slices.Concat(stored...)
		db.own.created(pods)
	})
	if err != nil {
		return nil, err
	}
	made := make(map[string]api.Pod, len(pods))
	for _, p := range pods {
		made[p.ID] = p
	}
	return made, nil
}

// DryRunPod gives the pod that CreatePod would store, with all its defaults, and
// refuses what CreatePod would refuse; nothing is stored.
func (db *DB) DryRunPod(ctx context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error) {
	row, err := json.Marshal([]newPod{rowFor(r)})
	if err != nil {
		return api.Pod{}, fault.Wrap(err, fault.Validation, "the pod cannot be stored")
	}
	if r.PackID != "" && !api.ValidID(r.PackID) {
		return api.Pod{}, fault.New(fault.NotFound, "pack not found")
	}
	var pods []api.Pod
	err = db.AsUser(ctx, id, func(tx Tx) error {
		tx.Queue(createSQL, string(row)).Query(all(&pods, scanPod))
		return errNothingToDo // it is rolled back, in the same round trip
	})
	if err != nil || len(pods) != 1 {
		return api.Pod{}, err
	}
	return pods[0], nil
}
