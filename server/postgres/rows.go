package postgres

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// The column lists below belong to the scan functions beside them, in order.
// Tables have the same short name in every statement: p, n, k (pack), u.

const podColumns = `p.id::text, p.pack_id::text, p.pack_name, p.pack_version, p.runtime_tag::text, p.node_id::text,
	coalesce((select n.name from public.nodes n where n.id = p.node_id), ''),
	p.status::text, coalesce(p.reason, ''), coalesce(p.status_message, ''),
	p.namespace, p.labels, p.annotations, coalesce(p.priority_class_name, ''), p.priority, p.tolerations,
	p.resource_requests, p.resource_limits, p.scheduling, p.restart_policy::text, p.isolation::text, p.env,
	p.termination_grace_period_seconds, p.active_deadline_seconds, p.metadata, p.incarnation, p.restarts,
	p.last_termination, p.stop_requested_at, p.created_by::text, p.created_at, p.scheduled_at, p.started_at,
	p.stopped_at, p.updated_at,
	case when p.status = 'pending' then coalesce(p.nominated_node_id::text, '') else '' end,
	p.next_pack_id::text, (select x.version from public.packs x where x.id = p.next_pack_id), p.next_incarnation, p.next_since, p.next_reason, p.eviction, ` + podVersion

func scanPod(row pgx.CollectableRow) (api.Pod, error) {
	var p api.Pod
	var next struct {
		pack, version, reason *string
		incarnation           *int
		since                 *time.Time
	}
	err := row.Scan(&p.ID, &p.PackID, &p.PackName, &p.PackVersion, &p.RuntimeTag, &p.NodeID, &p.NodeName,
		&p.Status, &p.Reason, &p.StatusMessage,
		&p.Namespace, &p.Labels, &p.Annotations, &p.PriorityClassName, &p.Priority, &p.Tolerations,
		&p.ResourceRequests, &p.ResourceLimits, &p.Scheduling, &p.RestartPolicy, &p.Isolation, &p.Env,
		&p.TerminationGracePeriodSeconds, &p.ActiveDeadlineSeconds, &p.Metadata, &p.Incarnation, &p.Restarts,
		&p.LastTermination, &p.StopRequestedAt, &p.CreatedBy, &p.CreatedAt, &p.ScheduledAt, &p.StartedAt,
		&p.StoppedAt, &p.UpdatedAt, &p.NominatedNodeID,
		&next.pack, &next.version, &next.incarnation, &next.since, &next.reason, &p.Eviction, &p.ResourceVersion)
	if err == nil && next.pack != nil && next.incarnation != nil && next.since != nil {
		p.Rollout = &api.Rollout{
			PackID: *next.pack, PackVersion: textOf(next.version), Incarnation: *next.incarnation, Since: *next.since, Reason: textOf(next.reason),
		}
	}
	return p, err
}

// textOf is "" for null: a reader who may not see the pack reads no version of it.
func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

const nodeColumns = `n.id::text, n.name, n.runtime_type::text, n.status::text, n.last_heartbeat, n.capabilities, n.conditions,
	coalesce(n.registered_by::text, ''), n.shared, n.namespaces, coalesce(n.ip_address, ''), coalesce(n.user_agent, ''),
	n.allocatable, n.labels, n.annotations, n.taints, n.unschedulable, n.maintenance, n.drain, n.created_at, n.updated_at, ` + nodeVersion

func scanNode(row pgx.CollectableRow) (api.Node, error) {
	var n api.Node
	err := row.Scan(&n.ID, &n.Name, &n.RuntimeType, &n.Status, &n.LastHeartbeat, &n.Capabilities, &n.Conditions,
		&n.RegisteredBy, &n.Shared, &n.Namespaces, &n.IPAddress, &n.UserAgent,
		&n.Allocatable, &n.Labels, &n.Annotations, &n.Taints, &n.Unschedulable, &n.Maintenance, &n.Drain, &n.CreatedAt, &n.UpdatedAt, &n.ResourceVersion)
	return n, err
}

const packColumns = `k.id::text, k.name, k.version, k.runtime_tag::text, k.owner_id::text, k.visibility::text, k.status::text,
	k.format, k.bundle_path, coalesce(k.bundle_sha256, ''), k.bundle_size, coalesce(k.description, ''), k.metadata,
	k.created_at, k.updated_at, ` + packVersion

func scanPack(row pgx.CollectableRow) (api.Pack, error) {
	var k api.Pack
	err := row.Scan(&k.ID, &k.Name, &k.Version, &k.RuntimeTag, &k.OwnerID, &k.Visibility, &k.Status,
		&k.Format, &k.BundlePath, &k.BundleSHA256, &k.BundleSize, &k.Description, &k.Metadata,
		&k.CreatedAt, &k.UpdatedAt, &k.ResourceVersion)
	return k, err
}

const userColumns = `u.id::text, coalesce(u.email, ''), coalesce(u.display_name, ''),
	array(select r.role::text from public.user_roles r where r.user_id = u.id order by r.role),
	u.created_at, u.updated_at, u.disabled_at, ` + userVersion

func scanUser(row pgx.CollectableRow) (api.User, error) {
	var u api.User
	var roles []string
	err := row.Scan(&u.ID, &u.Email, &u.DisplayName, &roles, &u.CreatedAt, &u.UpdatedAt, &u.DisabledAt, &u.ResourceVersion)
	u.Roles = toRoles(roles)
	return u, err
}

func toRoles(names []string) []api.Role {
	roles := make([]api.Role, len(names))
	for i, name := range names {
		roles[i] = api.Role(name)
	}
	return roles
}

const namespaceColumns = `s.id::text, s.name, s.phase::text, s.labels, s.annotations, s.resource_quota, s.limit_range,
	s.resource_usage, s.disruption_budget, coalesce(s.created_by::text, ''), s.created_at, s.updated_at, ` + namespaceVersion

func scanNamespace(row pgx.CollectableRow) (api.Namespace, error) {
	var s api.Namespace
	err := row.Scan(&s.ID, &s.Name, &s.Phase, &s.Labels, &s.Annotations, &s.ResourceQuota, &s.LimitRange,
		&s.ResourceUsage, &s.DisruptionBudget, &s.CreatedBy, &s.CreatedAt, &s.UpdatedAt, &s.ResourceVersion)
	return s, err
}

const memberColumns = `m.namespace, m.user_id::text, m.role::text`

func scanMember(row pgx.CollectableRow) (api.NamespaceMember, error) {
	var m api.NamespaceMember
	err := row.Scan(&m.Namespace, &m.UserID, &m.Role)
	return m, err
}

const priorityClassColumns = `c.id::text, c.name, c.value, c.global_default, c.preemption_policy::text, coalesce(c.description, ''), ` + classVersion

func scanPriorityClass(row pgx.CollectableRow) (api.PriorityClass, error) {
	var c api.PriorityClass
	err := row.Scan(&c.ID, &c.Name, &c.Value, &c.GlobalDefault, &c.PreemptionPolicy, &c.Description, &c.ResourceVersion)
	return c, err
}

const configColumns = `g.name, g.max_pods_per_node, g.default_namespace, g.scheduling_policy::text,
	g.default_resource_requests, g.default_resource_limits, g.max_total_pods, g.max_total_nodes,
	g.heartbeat_interval_ms, g.heartbeat_timeout_ms, g.eviction_timeout_ms, g.pod_termination_grace_period_ms,
	g.terminal_pod_retention_ms, g.pod_history_retention_ms, g.enable_preemption, g.score_weights, g.open_registration, ` + configVersion

func scanConfig(row pgx.CollectableRow) (api.ClusterConfig, error) {
	var g api.ClusterConfig
	err := row.Scan(&g.Name, &g.MaxPodsPerNode, &g.DefaultNamespace, &g.SchedulingPolicy,
		&g.DefaultResourceRequests, &g.DefaultResourceLimits, &g.MaxTotalPods, &g.MaxTotalNodes,
		&g.HeartbeatIntervalMS, &g.HeartbeatTimeoutMS, &g.EvictionTimeoutMS, &g.PodTerminationGracePeriodMS,
		&g.TerminalPodRetentionMS, &g.PodHistoryRetentionMS, &g.EnablePreemption, &g.ScoreWeights, &g.OpenRegistration, &g.ResourceVersion)
	return g, err
}

const runColumns = `r.pod_id::text, r.incarnation, r.attempt, coalesce(r.node_id::text, ''), coalesce(r.pack_id::text, ''),
	r.status::text, r.termination, r.created_at, r.started_at, r.ready_at, r.finished_at`

func scanRun(row pgx.CollectableRow) (api.Run, error) {
	var r api.Run
	err := row.Scan(&r.PodID, &r.Incarnation, &r.Attempt, &r.NodeID, &r.PackID,
		&r.Status, &r.Termination, &r.CreatedAt, &r.StartedAt, &r.ReadyAt, &r.FinishedAt)
	return r, err
}

// scanText reads a single text column.
func scanText(row pgx.CollectableRow) (string, error) {
	var s string
	err := row.Scan(&s)
	return s, err
}

// scanInt reads a single whole number.
func scanInt(row pgx.CollectableRow) (int, error) {
	var n int
	err := row.Scan(&n)
	return n, err
}

// scanBool reads a single truth value.
func scanBool(row pgx.CollectableRow) (bool, error) {
	var b bool
	err := row.Scan(&b)
	return b, err
}

// jsonText encodes an argument for a jsonb parameter; text works in every mode
// of the protocol. nil, also inside an interface, becomes SQL null.
func jsonText(v any) (*string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fault.Wrap(err, fault.Validation, "a value cannot be stored")
	}
	if string(b) == "null" {
		return nil, nil //nolint:nilnil // nil is SQL null
	}
	return new(string(b)), nil
}

// checkID answers an id that cannot exist without asking the database.
func checkID(id, what string) error {
	if !api.ValidID(id) {
		return fault.New(fault.NotFound, "%s not found", what)
	}
	return nil
}

// orNull turns "" into SQL null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// likePattern matches s anywhere, literally.
func likePattern(s string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

// HashSecret is how a join token or node credential is stored and looked up.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// newSecret makes 256 random bits behind a prefix.
func newSecret(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the program instead
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

func randomID() string { return rand.Text() }
