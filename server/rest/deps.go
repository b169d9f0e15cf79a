package rest

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/core/idempotency"
	"github.com/stark-orchestrator/stark/core/pack"
	"github.com/stark-orchestrator/stark/core/store"
	"github.com/stark-orchestrator/stark/server/gotrue"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// Database is all that the API asks of Postgres. Every method is safe for
// concurrent use and returns fault.Error for failures that a caller should see.
type Database interface {
	UserDatabase
	PackDatabase
	NodeDatabase
	PodDatabase
	TokenDatabase
	WriteDatabase
	DrainDatabase
	NamespaceDatabase
	SettingsDatabase
	UsageDatabase
	Time() time.Time
	Events(ctx context.Context, id access.Identity, q api.EventQuery) ([]api.Event, error)
	Ping(ctx context.Context) error
}

// UserDatabase holds profiles, roles and the first admin.
type UserDatabase interface {
	Profile(ctx context.Context, id access.Identity) (api.User, error)
	UserRoles(ctx context.Context, userID string) (roles []api.Role, found bool, err error)
	ListUsers(ctx context.Context, id access.Identity, q api.UserQuery) ([]api.User, int, error)
	SetRoles(ctx context.Context, by access.Identity, userID string, roles []api.Role) error
	AccountDatabase
	SetupStatus(ctx context.Context) (api.SetupStatus, error)
	ClaimFirstAdmin(ctx context.Context, userID string) (bool, error)
}

// AccountDatabase changes what accounts may do. Roles change as the caller.
type AccountDatabase interface {
	GetUser(ctx context.Context, id access.Identity, userID string) (api.User, error)
	GrantRoles(ctx context.Context, id access.Identity, userID string, roles []api.Role) (api.User, error)
	RevokeRole(ctx context.Context, id access.Identity, userID string, role api.Role) (api.User, error)
	SetDisabled(ctx context.Context, userID string, disabled bool, by string) (api.User, error)
	OpenRegistration(ctx context.Context) (bool, error)
}

// PackDatabase holds packs; it acts as the user.
type PackDatabase interface {
	CreatePack(ctx context.Context, id access.Identity, p api.Pack) (api.Pack, error)
	BundleObject(ctx context.Context, id access.Identity, path string) (object string, err error)
	CompletePack(ctx context.Context, id access.Identity, packID string, b pack.Bundle) (api.Pack, error)
	AbandonPack(ctx context.Context, id access.Identity, packID string) error
	GetPack(ctx context.Context, id access.Identity, packID string) (api.Pack, error)
	ListPacks(ctx context.Context, id access.Identity, q api.PackQuery) (api.Page[api.Pack], error)
	PackVersions(ctx context.Context, id access.Identity, name string) ([]api.PackVersion, error)
	UpdatePack(ctx context.Context, id access.Identity, packID string, r api.UpdatePackRequest) (api.Pack, error)
	// DeletePack gives where the bundle lay.
	DeletePack(ctx context.Context, id access.Identity, packID string) (bundlePath string, err error)
}

// NodeDatabase holds nodes; it acts as the user.
type NodeDatabase interface {
	CreateNode(ctx context.Context, id access.Identity, r api.RegisterNodeRequest) (api.Node, error)
	GetNode(ctx context.Context, id access.Identity, nodeID string) (api.Node, error)
	GetNodeByName(ctx context.Context, id access.Identity, name string) (api.Node, error)
	ListNodes(ctx context.Context, id access.Identity, q api.NodeQuery) (api.Page[api.Node], error)
	UpdateNode(ctx context.Context, id access.Identity, nodeID string, r api.UpdateNodeRequest) (api.Node, error)
	TakeNode(ctx context.Context, id access.Identity, nodeID string) (api.Node, error)
	DeleteNode(ctx context.Context, id access.Identity, nodeID string) error
}

// PodDatabase holds pods; it acts as the user.
type PodDatabase interface {
	CreatePod(ctx context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error)
	CreatePods(ctx context.Context, id access.Identity, r api.CreatePodsRequest) (ids []string, err error)
	GetPod(ctx context.Context, id access.Identity, podID string) (api.Pod, error)
	ListPods(ctx context.Context, id access.Identity, q api.PodQuery) (api.Page[api.Pod], error)
	UpdatePod(ctx context.Context, id access.Identity, podID string, r api.UpdatePodRequest) (api.Pod, error)
	StopPod(ctx context.Context, id access.Identity, podID string) (pod api.Pod, purged bool, err error)
	// ForceStopPod is StopPod without waiting for the pod's node.
	ForceStopPod(ctx context.Context, id access.Identity, podID string) (pod api.Pod, purged bool, err error)
	PodHistory(ctx context.Context, id access.Identity, podID string, limit, offset int) ([]api.PodHistoryEntry, error)
	PodRuns(ctx context.Context, id access.Identity, podID string) ([]api.Run, error)
	// GetPods gives those of the named pods that the caller may see, by id.
	GetPods(ctx context.Context, id access.Identity, podIDs []string) (map[string]api.Pod, error)
	// PodStatus gives a pod and what it uses now, nil where that is not known.
	PodStatus(ctx context.Context, id access.Identity, podID string) (api.Pod, *api.Figures, error)
	// StoredLogs gives, by pod, the end of the output of its newest run that has left any,
	// or with previous of one before its newest, as the service: whoever asks has been let
	// see the pods.
	StoredLogs(ctx context.Context, podIDs []string, previous bool) (map[string]wire.StoredLogs, error)
	RollbackPod(ctx context.Context, id access.Identity, podID string, r api.RollbackRequest) (api.Rollback, error)
	DryRunPod(ctx context.Context, id access.Identity, r api.CreatePodRequest) (api.Pod, error)
	Verdict(ctx context.Context, id access.Identity, podID string) (*api.Verdict, error)
}

// UsageDatabase holds what pods and nodes use now; it reads as the user which ones.
type UsageDatabase interface {
	PodUsage(ctx context.Context, id access.Identity, q api.UsageQuery) ([]api.PodFigures, error)
	NodeUsage(ctx context.Context, id access.Identity, q api.UsageQuery) ([]api.NodeFigures, error)
}

// DrainDatabase empties nodes; it acts as the user.
type DrainDatabase interface {
	DrainNode(ctx context.Context, id access.Identity, nodeID string, r api.DrainNodeRequest) (api.Node, error)
	CancelDrain(ctx context.Context, id access.Identity, nodeID string) (api.Node, error)
	NodeDrain(ctx context.Context, id access.Identity, nodeID string) (*api.NodeDrain, []api.DrainBlock, error)
}

// NamespaceDatabase holds namespaces and their members; it acts as the user. A key is
// an id or a name.
type NamespaceDatabase interface {
	CreateNamespace(ctx context.Context, id access.Identity, r api.CreateNamespaceRequest) (api.Namespace, error)
	GetNamespace(ctx context.Context, id access.Identity, key string) (api.Namespace, error)
	ListNamespaces(ctx context.Context, id access.Identity, q api.NamespaceQuery) (api.Page[api.Namespace], error)
	UpdateNamespace(ctx context.Context, id access.Identity, key string, r api.UpdateNamespaceRequest) (api.Namespace, error)
	DeleteNamespace(ctx context.Context, id access.Identity, key string) (n api.Namespace, gone bool, err error)
	NamespaceQuota(ctx context.Context, id access.Identity, key string) (api.NamespaceQuota, error)
	ListMembers(ctx context.Context, id access.Identity, key string) ([]api.NamespaceMember, error)
	SetMember(ctx context.Context, id access.Identity, key, userID string, role api.Role) (api.NamespaceMember, error)
	RemoveMember(ctx context.Context, id access.Identity, key, userID string) error
}

// SettingsDatabase holds priority classes and the settings of the cluster; it acts as
// the user.
type SettingsDatabase interface {
	ListPriorityClasses(ctx context.Context, id access.Identity) ([]api.PriorityClass, error)
	GetPriorityClass(ctx context.Context, id access.Identity, name string) (api.PriorityClass, error)
	CreatePriorityClass(ctx context.Context, id access.Identity, p api.PriorityClass) (api.PriorityClass, error)
	UpdatePriorityClass(ctx context.Context, id access.Identity, name string, r api.UpdatePriorityClassRequest) (api.PriorityClass, error)
	DeletePriorityClass(ctx context.Context, id access.Identity, name string) error
	ClusterConfig(ctx context.Context, id access.Identity) (api.ClusterConfig, error)
	UpdateClusterConfig(ctx context.Context, id access.Identity, change func(api.ClusterConfig) (api.ClusterConfig, error)) (api.ClusterConfig, error)
}

// TokenDatabase holds join tokens, credentials of nodes and tickets for sockets; it
// acts as the user.
type TokenDatabase interface {
	CreateJoinToken(ctx context.Context, id access.Identity, r api.CreateJoinTokenRequest) (api.JoinToken, error)
	ListJoinTokens(ctx context.Context, id access.Identity) ([]api.JoinToken, error)
	RevokeJoinToken(ctx context.Context, id access.Identity, tokenID string) error
	RotateCredential(ctx context.Context, id access.Identity, nodeID string) error
	RevokeCredentials(ctx context.Context, id access.Identity, nodeID string) error
	CreateTicket(ctx context.Context, id access.Identity) (api.Ticket, error)
	LeaveNode(ctx context.Context, credential, connectionID string) error
}

// WriteDatabase keeps what makes a repeated request one; it acts as the service on
// what belongs to the write's owner.
type WriteDatabase interface {
	ClaimWrite(ctx context.Context, w idempotency.Write) (idempotency.Claim, error)
	AnswerWrite(ctx context.Context, w idempotency.Write, sealed []byte) error
	ReleaseWrite(ctx context.Context, w idempotency.Write, forget bool) error
}

// IdentityProvider is Supabase Auth.
type IdentityProvider interface {
	SignUp(ctx context.Context, u gotrue.NewUser) (api.Session, error)
	SignIn(ctx context.Context, email, password string) (api.Session, error)
	Refresh(ctx context.Context, refreshToken string) (api.Session, error)
	Logout(ctx context.Context, token string) error
	AdminCreateUser(ctx context.Context, u gotrue.NewUser) (api.User, error)
	AdminMadeBy(ctx context.Context, userID, request string) (bool, error)
	AdminDeleteUser(ctx context.Context, userID string) error
	AdminSetBanned(ctx context.Context, userID string, banned bool) error
	Health(ctx context.Context) error
}

// BundleStore is the bucket of bundles.
type BundleStore interface {
	Put(ctx context.Context, userToken, path string, r io.Reader, size int64, contentType string) (objectID string, err error)
	Open(ctx context.Context, userToken, path string) (body io.ReadCloser, size int64, err error)
	SignedURL(ctx context.Context, path string, ttl time.Duration) (url string, expires time.Time, err error)
	Delete(ctx context.Context, path string) error
	Health(ctx context.Context) error
}

// TokenVerifier tells who an access token speaks for, without roles, and refuses
// who comes with a session that is over.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (access.Identity, error)
	Alive(ctx context.Context, id access.Identity) error
}

// LogSource reads the output of a pod from the node that runs it. The sequence
// ends when the output does or with its first error, and leaving the loop closes
// the stream at the node. A node that this server cannot reach is Unavailable.
type LogSource interface {
	OpenLogs(ctx context.Context, nodeID string, o wire.LogsOpen) iter.Seq2[wire.LogsChunk, error]
}

// Rate is a number of requests within a time; Requests 0 means without limit.
type Rate struct {
	Requests int
	Per      time.Duration
}

// Config are the settings of the API.
type Config struct {
	CORSOrigins    []string // "https://host", "http://localhost:*", or "*"
	TrustedProxies []netip.Prefix
	APIRate        Rate
	AuthRate       Rate
	SetupCode      string        // asked for by /auth/setup from other machines; "" refuses them
	MetricsToken   string        // that GET /metrics asks for; "" lets only this machine read them
	RequestTimeout time.Duration // of one JSON request; 30 s when 0
	UploadTimeout  time.Duration // of one bundle; 10 min when 0
	BundleURLTTL   time.Duration // 5 min when 0, and no more
	SpoolDir       string        // for uploads under way; the system's folder when ""
	Version        string
}

// Deps is what New puts together. All but WS, Tab, Logs, Log, Stopping, Metrics, Ready, Leading and Ended must be set.
type Deps struct {
	DB       Database
	Auth     IdentityProvider
	Bundles  BundleStore
	Verifier TokenVerifier
	Store    *store.Store
	WS       http.Handler         // GET /ws
	Tab      http.Handler         // the page below /node; nil: there is none
	Logs     LogSource            // nil: no node can be reached
	Log      watch.Log            // nil: no watch goes on from a cursor
	Stopping <-chan struct{}      // closed when the watches are to end; nil: never
	Metrics  *prometheus.Registry // nil: a registry of its own
	Ready    func() error         // nil: always; else why the server takes no traffic now
	Leading  func() bool          // nil: never; whether this server leads now
	Ended    func(session string) // told of sessions that end here; may be nil
	Config   Config
	Logger   *slog.Logger
}
