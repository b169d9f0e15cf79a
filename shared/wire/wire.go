// Package wire holds the messages of the WebSocket endpoint /ws: text frames of
// JSON, each an Envelope. It owns names and shapes and refuses all I/O.
//
// Answers carry the type of the question with ":ack" or ":error" behind it, and
// its correlation id. A frame is at most MaxMessage bytes.
package wire

import (
	"encoding/json"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// MaxMessage bounds one frame, in bytes.
const MaxMessage = 1 << 20

// MaxCorrelationID bounds the id that an answer repeats, in bytes.
const MaxCorrelationID = 256

// MaxReports bounds the entries of one TypeRunReport; whoever has more sends them in
// several messages.
const MaxReports = 4096

// MaxLogStreams bounds the readers of logs that one node serves at the same time.
const MaxLogStreams = 512

// LogLineCost is what a line counts beside its text where lines are counted in bytes.
const LogLineCost = 64

// Subprotocol is the WebSocket subprotocol that both sides speak. A browser may
// send its token as a second offer, BearerSubprotocolPrefix + base64url(token).
const (
	Subprotocol             = "stark.v1"
	BearerSubprotocolPrefix = "stark.bearer."
)

// The message types.
const (
	TypeConnected     = "connected"         // server, first frame
	TypeAuthenticate  = "auth:authenticate" // client; answered by TypeAuthenticated or TypeAuthError
	TypeAuthenticated = "auth:authenticated"
	TypeAuthError     = "auth:error"
	TypePing          = "ping"
	TypePong          = "pong"
	TypeError         = "error"      // server: the frame could not be understood
	TypeDisconnect    = "disconnect" // server, before it closes

	TypeRegister   = "node:register"   // agent
	TypeHeartbeat  = "node:heartbeat"  // agent
	TypeUnregister = "node:unregister" // agent: leaves for good, its runs have ended
	TypeRunsSet    = "runs:set"        // server: the complete wanted set
	TypeRunsDelta  = "runs:delta"      // server: an increment to it
	TypeRunsAck    = "runs:ack"        // agent: has taken in everything up to Seq
	TypeRunsResync = "runs:resync"     // agent: saw a gap, wants TypeRunsSet
	TypeRunReport  = "run:report"      // agent: what became of runs
	TypeBundleURL  = "bundle:url"      // agent: asks where to fetch a bundle
	TypeLogsOpen   = "logs:open"       // server: asks for the output of a pod
	TypeLogsClose  = "logs:close"      // server: the reader has gone
	TypeLogsMore   = "logs:more"       // server: the reader has taken so much in
	TypeLogsChunk  = "logs:chunk"      // agent
	TypeLogsEnd    = "logs:end"        // agent
	// TypeLogsCheckpoint comes from agents: the end of the output of pods that live.
	TypeLogsCheckpoint = "logs:checkpoint"

	TypeWatch       = "watch"    // client
	TypeUnwatch     = "unwatch"  // client
	TypeEvent       = "event"    // server
	TypeBookmark    = "bookmark" // server
	TypeWatchResync = "resync"   // server: the watch lagged or its cursor is gone; it has ended
	AckSuffix       = ":ack"
	ErrorSuffix     = ":error"
)

// Codes of TypeError.
const (
	CodeMessageTooLarge    = "MESSAGE_TOO_LARGE"
	CodeInvalidJSON        = "INVALID_JSON"
	CodeInvalidMessage     = "INVALID_MESSAGE"
	CodeUnknownMessageType = "UNKNOWN_MESSAGE_TYPE"
)

// Envelope is one frame.
type Envelope struct {
	Type          string          `json:"type"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	CorrelationID string          `json:"correlationId,omitempty"`
	Seq           uint64          `json:"seq,omitempty"` // of TypeRunsSet and TypeRunsDelta, per connection
}

// Frame writes an envelope with its payload in one pass; Payload of the envelope does not
// count. An envelope that holds encoded JSON is looked through once more when it is
// written, which for logs is a sixth of what an agent does.
func Frame(e Envelope, payload any) ([]byte, error) {
	return json.Marshal(struct {
		Type          string `json:"type"`
		Payload       any    `json:"payload"`
		CorrelationID string `json:"correlationId,omitempty"`
		Seq           uint64 `json:"seq,omitempty"`
	}{e.Type, payload, e.CorrelationID, e.Seq})
}

// DetailTurn is true in the details of a failure by which a server that is full tells a
// node its turn: come after retryAfter, and within a second of it.
const DetailTurn = "turn"

// Failure is the payload of every ":error" answer and of TypeError.
type Failure struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`

	RetryAfter int `json:"retryAfter,omitempty"` // seconds to wait before the same is asked again
}

// Connected is the payload of TypeConnected.
type Connected struct {
	ConnectionID string `json:"connectionId"`
	RequiresAuth bool   `json:"requiresAuth"` // no valid token came with the handshake
}

// Authenticate is the payload of TypeAuthenticate. Token is a user's access
// token, a node credential or a join token. A user may send it again to renew.
type Authenticate struct {
	Token string `json:"token"`
}

// Authenticated is the payload of TypeAuthenticated.
type Authenticated struct {
	UserID string `json:"userId,omitempty"`
	NodeID string `json:"nodeId,omitempty"`
}

// Register is the payload of TypeRegister. Runs is the agent's inventory: every
// run that is alive on the node now.
type Register struct {
	api.RegisterNodeRequest
	Runs []RunState `json:"runs,omitempty"`
	// Conditions are as in Heartbeat, so that a node is not bound to before they are known.
	Conditions []api.NodeCondition `json:"conditions,omitzero"`
	// Credential is what the agent proposes to be known by, see api.ValidateCredential. It
	// keeps it before it sends it, so that an answer that is lost, or that it does not live
	// to keep, costs neither the node nor the join token: it comes back with the credential,
	// and where that is not known yet, with the token and the same proposal again. Whoever
	// proposes none is given one.
	Credential string `json:"credential,omitempty"`
}

// Registered is the payload of the answer to TypeRegister. Credential is there
// when the connection came with a join token or a user's token and the agent has
// proposed none, and when a new one was asked for: the agent keeps it and uses nothing
// else from then on.
type Registered struct {
	Node                api.Node  `json:"node"`
	Credential          string    `json:"credential,omitempty"`
	HeartbeatIntervalMS int       `json:"heartbeatIntervalMs"`
	ServerTime          time.Time `json:"serverTime"`
}

// Heartbeat is the payload of TypeHeartbeat. Conditions are all that the agent knows:
// an absent one holds no longer; null leaves them as they are. Their times are the
// server's: LastTransitionTime is not read.
type Heartbeat struct {
	NodeID     string              `json:"nodeId"`
	Timestamp  time.Time           `json:"timestamp"`
	ActivePods int                 `json:"activePods"`
	Conditions []api.NodeCondition `json:"conditions,omitzero"`
	Usage      *api.NodeUsage      `json:"usage,omitempty"`
}

// HeartbeatAck is the payload of the answer to TypeHeartbeat.
type HeartbeatAck struct {
	NodeID        string    `json:"nodeId"`
	LastHeartbeat time.Time `json:"lastHeartbeat"`
	// HeartbeatIntervalMS is how often to send one from now on, 0 for as before.
	HeartbeatIntervalMS int `json:"heartbeatIntervalMs,omitempty"`
}

// RunState is one run as the agent sees it.
type RunState struct {
	api.RunKey
	Status api.RunStatus `json:"status"`
}

// Desire is what the control plane wants of a pod on this node.
type Desire string

// The desires.
const (
	DesireRun  Desire = "run"
	DesireStop Desire = "stop"
)

// Assignment is one entry of the wanted set: a pod in one incarnation. The agent
// starts attempts above LastAttempt only.
type Assignment struct {
	PodID       string  `json:"podId"`
	Incarnation int     `json:"incarnation"`
	LastAttempt int     `json:"lastAttempt"` // highest attempt that the control plane knows to have started, 0 for none
	Desire      Desire  `json:"desire"`
	StopReason  string  `json:"stopReason,omitempty"`
	Pod         PodSpec `json:"pod"`
}

// PodSpec is what the agent needs to know of a pod and its pack.
type PodSpec struct {
	Name            string            `json:"name"` // pack name, for people
	Namespace       string            `json:"namespace"`
	OwnerID         string            `json:"ownerId"`
	Labels          map[string]string `json:"labels,omitempty"`
	PackID          string            `json:"packId"`
	PackVersion     string            `json:"packVersion"`
	RuntimeTag      api.RuntimeTag    `json:"runtimeTag"`
	Format          api.ModuleFormat  `json:"format"`
	BundleSHA256    string            `json:"bundleSha256"`
	BundleSize      int64             `json:"bundleSize"`
	Env             map[string]string `json:"env,omitempty"`
	Metadata        map[string]any    `json:"metadata,omitempty"`
	Limits          api.Resources     `json:"limits"`
	RestartPolicy   api.RestartPolicy `json:"restartPolicy"`
	Isolation       api.Isolation     `json:"isolation"`
	GraceSeconds    int               `json:"graceSeconds"`
	DeadlineSeconds *int              `json:"deadlineSeconds,omitempty"`
}

// RunsSet is the payload of TypeRunsSet; the envelope's Seq numbers it. A set that is
// too large for one frame comes in parts, one behind the other and with the same
// number; it means something only when the last part, which has no More, is there.
type RunsSet struct {
	Runs []Assignment `json:"runs"`
	Part int          `json:"part,omitempty"` // from 0
	More bool         `json:"more,omitempty"` // another part follows
}

// MaxSet bounds a complete set, in bytes of the payloads of its parts.
const MaxSet = 256 << 20

// RunsDelta is the payload of TypeRunsDelta. It applies to the state at Prev;
// an agent at another sequence number asks for TypeRunsResync.
type RunsDelta struct {
	Prev   uint64       `json:"prev"`
	Put    []Assignment `json:"put,omitempty"`
	Remove []PodRef     `json:"remove,omitempty"`
}

// PodRef names a pod in one incarnation.
type PodRef struct {
	PodID       string `json:"podId"`
	Incarnation int    `json:"incarnation"`
}

// RunsAck is the payload of TypeRunsAck.
type RunsAck struct {
	Seq uint64 `json:"seq"`
}

// RunReport is what became of one run. Final says that the agent will not start
// another attempt for this incarnation, so the pod itself has ended.
type RunReport struct {
	api.RunKey
	Status      api.RunStatus    `json:"status"`
	Ready       bool             `json:"ready,omitempty"`
	Reason      string           `json:"reason,omitempty"` // e.g. CrashLoopBackOff while waiting to restart
	Message     string           `json:"message,omitempty"`
	Termination *api.Termination `json:"termination,omitempty"`
	Final       bool             `json:"final,omitempty"`
	At          time.Time        `json:"at"`
}

// RunReports is the payload of TypeRunReport: the newest report per run.
type RunReports struct {
	Reports []RunReport `json:"reports"`
}

// RunReportsAck is the payload of the answer to TypeRunReport. The agent forgets
// the accepted reports and the refused ones alike.
type RunReportsAck struct {
	Accepted []api.RunKey `json:"accepted"`
	Refused  []Refusal    `json:"refused,omitempty"`
}

// Refusal says why a report was not taken.
type Refusal struct {
	Key  api.RunKey `json:"key"`
	Code string     `json:"code"` // a fault code, e.g. STALE or FORBIDDEN
}

// BundleURL is the payload of TypeBundleURL.
type BundleURL struct {
	PodID       string `json:"podId"`
	Incarnation int    `json:"incarnation"`
}

// BundleURLAck is the payload of the answer to TypeBundleURL.
type BundleURLAck struct {
	URL       string    `json:"url"` // signed, never logged
	SHA256    string    `json:"sha256"`
	Size      int64     `json:"size"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// LogsOpen is the payload of TypeLogsOpen.
type LogsOpen struct {
	StreamID string     `json:"streamId"`
	PodID    string     `json:"podId"`
	Tail     int        `json:"tail"` // lines from the end; -1 for all that is kept
	Since    *time.Time `json:"since,omitempty"`
	Follow   bool       `json:"follow"`
	Previous bool       `json:"previous"` // of the attempt before the newest
	// Incarnation is whose output is meant; 0 for the newest that the node has.
	Incarnation int `json:"incarnation,omitempty"`
	// After goes on exactly there, where the ring is the same; Tail and Since hold for
	// another one.
	After *LogPosition `json:"after,omitempty"`
	// Window is how many bytes of lines may be under way to the reader, 0 for without
	// limit: the agent goes on when TypeLogsMore has made room.
	Window int `json:"window,omitempty"`
}

// LogPosition is a place in the output of a pod: behind line Next-1 of a ring, where lines
// that are marked as lost have numbers as well. An agent
// makes a ring for each incarnation of a pod, and a new one after its own restart.
type LogPosition struct {
	Ring string `json:"ring"`
	Next uint64 `json:"next"`
}

// LogsMore is the payload of TypeLogsMore.
type LogsMore struct {
	StreamID string `json:"streamId"`
	Bytes    int    `json:"bytes"` // as LogsChunk.Cost counts them
}

// LogsClose is the payload of TypeLogsClose.
type LogsClose struct {
	StreamID string `json:"streamId"`
}

// LogsChunk is the payload of TypeLogsChunk.
type LogsChunk struct {
	StreamID string        `json:"streamId"`
	Lines    []api.LogLine `json:"lines"`
	// Ring and Next are the place behind these lines.
	Ring string `json:"ring,omitempty"`
	Next uint64 `json:"next,omitempty"`
}

// Cost is how many bytes of a reader's window the chunk takes.
func (c LogsChunk) Cost() int {
	n := 0
	for _, l := range c.Lines {
		n += len(l.Line) + LogLineCost
	}
	return n
}

// MaxCheckpoints bounds the entries of one TypeLogsCheckpoint, and MaxCheckpointLines the
// lines of each; their text has at most api.MaxLastOutput bytes.
const (
	MaxCheckpoints     = 64
	MaxCheckpointLines = 1024
)

// LogCheckpoint is the end of the output of a run that lives.
type LogCheckpoint struct {
	api.RunKey
	Lines []api.LogLine `json:"lines"`
}

// LogCheckpoints is the payload of TypeLogsCheckpoint. Its answer says that all are
// stored.
type LogCheckpoints struct {
	Checkpoints []LogCheckpoint `json:"checkpoints"`
}

// StoredLogs is the end of the output of one run, as the database has it.
type StoredLogs struct {
	api.RunKey
	At    time.Time // when it was stored
	Ended bool      // it is the last output of a run that has ended
	Lines []api.LogLine
}

// LogsEnd is the payload of TypeLogsEnd.
type LogsEnd struct {
	StreamID string `json:"streamId"`
	Code     string `json:"code,omitempty"` // a fault code when it ended in error
	Message  string `json:"message,omitempty"`
}

// Watch is the payload of TypeWatch. Events come as puts of what exists, a
// bookmark with Synced, then deltas.
type Watch struct {
	WatchID       string `json:"watchId"`
	Kind          string `json:"kind"` // "pods" or "nodes"
	Namespace     string `json:"namespace,omitempty"`
	LabelSelector string `json:"labelSelector,omitempty"`
	Name          string `json:"name,omitempty"`  // id of one object
	Since         string `json:"since,omitempty"` // cursor of a list, an event or a bookmark: what has changed since comes instead of what exists
}

// Unwatch is the payload of TypeUnwatch.
type Unwatch struct {
	WatchID string `json:"watchId"`
}

// The event types.
const (
	EventPut      = "put"
	EventDelete   = "delete"
	EventBookmark = "bookmark" // in streams of REST only: over the socket it has a type of its own
	EventError    = "error"    // in streams of REST only: the watch has ended
)

// WatchEvent is one line of a watch over REST. Whoever has taken it in may go on from
// its cursor later, where it has one.
type WatchEvent struct {
	Event  string          `json:"event"`
	Object json.RawMessage `json:"object,omitempty"` // of a deleted one the last known state, or its id alone
	Cursor string          `json:"cursor,omitempty"`
	Synced bool            `json:"synced,omitempty"` // everything that existed has been sent
	Error  *fault.Body     `json:"error,omitempty"`  // GONE: list again
}

// Event is the payload of TypeEvent. Object is the whole object; of a deleted
// one the last known state, or its id alone. Whoever has taken it in may go on from
// Cursor later, where it has one.
type Event struct {
	WatchID string          `json:"watchId"`
	Event   string          `json:"event"`
	Object  json.RawMessage `json:"object"`
	Cursor  string          `json:"cursor,omitempty"`
}

// Bookmark is the payload of TypeBookmark.
type Bookmark struct {
	WatchID string `json:"watchId"`
	Cursor  string `json:"cursor"`
	Synced  bool   `json:"synced,omitempty"` // everything that existed has been sent
}

// WatchResync is the payload of TypeWatchResync.
type WatchResync struct {
	WatchID string `json:"watchId"`
	Reason  string `json:"reason"`
}
