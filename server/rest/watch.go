package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/server/watch"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	watchesPerUser = 32
	watchesAtOnce  = 5000 // of one server
	watchBuffer    = 32 << 10
)

// watched are the lists that can be watched, by route, with the parameters that narrow
// them.
var watched = map[string]struct {
	kind   string
	rule   rule
	params []string
}{
	"/api/pods":      {watch.Pods, may(access.Read, access.Pod), []string{"namespace", "packId", "packName", "nodeId", "status", "labelSelector"}},
	"/api/pods/:id":  {watch.Pods, may(access.Read, access.Pod), nil},
	"/api/nodes":     {watch.Nodes, may(access.Read, access.Node), []string{"runtime", "runtimeType", "status", "search", "labelSelector"}},
	"/api/nodes/:id": {watch.Nodes, may(access.Read, access.Node), nil},
}

// watchable are the errors that a watch adds to those of its list.
var watchable = []int{http.StatusGone}

// watching counts the watches under way.
type watching struct {
	mu    sync.Mutex
	users map[string]int
	all   int
}

func (w *watching) begin(user string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.all >= watchesAtOnce:
		return fault.New(fault.Unavailable, "this server has %d watches already: try again", watchesAtOnce)
	case w.users[user] >= watchesPerUser:
		return fault.New(fault.RateLimited, "a user may have at most %d watches of one server", watchesPerUser)
	}
	w.users[user]++
	w.all++
	return nil
}

func (w *watching) end(user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.users[user]--; w.users[user] <= 0 {
		delete(w.users, user)
	}
}

// watches answers a GET with ?watch by a stream of wire.WatchEvent, one a line, and
// lets everything else pass.
func (s *server) watches(c *gin.Context) {
	list, known := watched[c.FullPath()]
	_, asked := c.GetQuery("watch")
	if !known || !asked || c.Request.Method != http.MethodGet {
		c.Next()
		return
	}
	on, err := boolParam(c, "watch")
	switch {
	case err != nil:
		s.abort(c, err)
		return
	case !on:
		c.Next()
		return
	}
	c.Abort() // nothing behind this answers
	if !s.admit(c, list.rule) {
		return
	}
	who := callerFrom(c.Request.Context())
	request, err := watchRequest(c, list.kind, list.params)
	if err == nil && request.Name != "" {
		err = s.exists(c.Request.Context(), who, request)
	}
	if err == nil {
		err = s.watching.begin(who.UserID)
	}
	if err != nil {
		s.abort(c, err)
		return
	}
	defer s.watching.end(who.UserID)
	s.watch(c, who, request)
}

func watchRequest(c *gin.Context, kind string, params []string) (watch.Request, error) {
	r := watch.Request{Kind: kind, Since: c.Query("since")}
	for name := range c.Request.URL.Query() {
		if name != "watch" && name != "since" && !slices.Contains(params, name) {
			return r, api.InvalidField(name, fault.FieldUnknown, "a watch takes no such parameter")
		}
	}
	if id, one := c.Params.Get("id"); one {
		var err error
		r.Name, err = IDInput{ID: id}.uuid()
		return r, err
	}
	r.LabelSelector = c.Query("labelSelector")
	if kind == watch.Pods {
		q := api.PodQuery{
			Namespace: c.Query("namespace"), PackID: c.Query("packId"), PackName: c.Query("packName"), NodeID: c.Query("nodeId"),
			Status: api.PodStatus(c.Query("status")), LabelSelector: r.LabelSelector,
		}
		if r.Namespace = q.Namespace; q.PackID+q.PackName+q.NodeID+string(q.Status) != "" {
			r.Pod = func(p api.Pod) bool { return matchesPod(q, p) }
		}
		return r, q.Validate()
	}
	q := api.NodeQuery{
		RuntimeType: api.RuntimeType(c.Query("runtime")), Status: api.NodeStatus(c.Query("status")), Search: c.Query("search"),
		LabelSelector: r.LabelSelector,
	}
	if q.RuntimeType == "" {
		q.RuntimeType = api.RuntimeType(c.Query("runtimeType"))
	}
	if string(q.RuntimeType)+string(q.Status)+q.Search != "" {
		r.Node = func(n api.Node) bool {
			return is(q.RuntimeType, n.RuntimeType) && is(q.Status, n.Status) && has(n.Name, q.Search)
		}
	}
	return r, q.Validate()
}

// exists refuses to watch one object that the caller does not see.
func (s *server) exists(ctx context.Context, who caller, r watch.Request) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	var err error
	if r.Kind == watch.Pods {
		_, err = s.getPod(ctx, who, &IDInput{ID: r.Name})
	} else {
		_, err = s.getNode(ctx, who, &IDInput{ID: r.Name})
	}
	if r.Since != "" && fault.CodeOf(err) == fault.NotFound {
		return nil // who goes on from a cursor is told that it has gone
	}
	return err
}

// watch streams until the reader goes, its token expires, its session ends, its user's
// rights change or the server stops.
func (s *server) watch(c *gin.Context, who caller, r watch.Request) {
	var reviewer sync.WaitGroup
	defer reviewer.Wait()
	ctx, cancel := context.WithCancelCause(c.Request.Context())
	defer cancel(nil)
	source := watch.Source{Store: s.Store, Log: s.Log, Node: s.completeNode}
	source.AwaitRoles(ctx, who.UserID, who.Roles)
	before := s.rightsOf(who.UserID)
	gone := ctx.Done()
	go func() {
		select {
		case <-s.Stopping:
			cancel(fault.New(fault.Unavailable, "the server is stopping: watch on from the last cursor"))
		case <-gone:
		}
	}()
	if !who.ExpiresAt.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadlineCause(ctx, who.ExpiresAt, fault.New(fault.TokenExpired, "the token has expired: watch on from the last cursor with a new one"))
		defer stop()
	}
	events, err := source.Open(ctx, func() access.Identity { return s.rolesNow(who.Identity) }, r)
	if err != nil {
		s.abort(c, err)
		return
	}
	lasting := ctx
	reviewer.Go(func() { s.reviewWatch(lasting, cancel, who, before) })
	s.streamEvents(ctx, c, whileAllowed(ctx, s.Verifier, who.token, events))
}

// recheckEvery is how often a stream that goes on asks whether its token still is good.
const recheckEvery = time.Second

// whileAllowed ends a sequence with the error of a token that is good no longer, because
// its session has ended or its account was shut out, before anything more is told.
func whileAllowed[T any](ctx context.Context, v TokenVerifier, token string, events iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		checked := time.Now()
		for event, err := range events {
			if err == nil && time.Since(checked) >= recheckEvery {
				checked = time.Now()
				if _, denied := v.Verify(ctx, token); denied != nil && ctx.Err() == nil {
					var nothing T
					yield(nothing, denied)
					return
				}
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// rolesNow gives the caller with the roles of this moment; a user that the read model
// has not heard of yet keeps those of the request.
func (s *server) rolesNow(id access.Identity) access.Identity {
	if u, ok := s.Store.Users.Snapshot().Get(id.UserID); ok {
		id.Roles = u.Roles
	}
	return id
}

func (s *server) completeNode(n api.Node) api.Node {
	nodes := []api.Node{n}
	s.completeNodes(nodes)
	return nodes[0]
}

// streamEvents writes events as they come: what exists in as few pieces as possible,
// what happens at once. The end of a watch is told as a line, since the status has
// gone out.
func (s *server) streamEvents(ctx context.Context, c *gin.Context, events iter.Seq2[wire.WatchEvent, error]) {
	logHeaders(c)
	rc := http.NewResponseController(c.Writer)
	w := bufio.NewWriterSize(deadlineWriter{rc: rc, w: c.Writer}, watchBuffer)
	enc := json.NewEncoder(w)
	flush := func() bool { return w.Flush() == nil && rc.Flush() == nil }
	if !flush() {
		return
	}
	synced := false
	var line []byte
	for event, err := range events {
		if err != nil {
			s.endEvents(ctx, enc, flush, err)
			return
		}
		synced = synced || event.Synced
		if len(event.Object) > 0 {
			line = append(watch.AppendObject(append(line[:0], '{'), event), "}\n"...)
			_, err = w.Write(line)
		} else {
			err = enc.Encode(event)
		}
		if err != nil || synced && !flush() {
			return // the reader has gone
		}
		if cap(line) > watchBuffer {
			line = nil // what one large object has needed is not kept for the others
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		s.endEvents(ctx, enc, flush, cause)
	}
}

func (s *server) endEvents(ctx context.Context, enc *json.Encoder, flush func() bool, err error) {
	body := s.fail(ctx, err).body.Error
	if enc.Encode(wire.WatchEvent{Event: wire.EventError, Error: &body}) == nil {
		flush()
	}
}

// deadlineWriter gives up on a reader that takes nothing for writeTimeout.
type deadlineWriter struct {
	rc *http.ResponseController
	w  io.Writer
}

// Write implements io.Writer.
func (d deadlineWriter) Write(b []byte) (int, error) {
	if err := d.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return d.w.Write(b)
}

// matchesPod is the condition of a list of pods, but for namespace and labels.
func matchesPod(q api.PodQuery, p api.Pod) bool {
	return is(strings.ToLower(q.PackID), p.PackID) && is(q.PackName, p.PackName) && is(q.Status, p.Status) &&
		(q.NodeID == "" || p.NodeID != nil && strings.EqualFold(*p.NodeID, q.NodeID))
}
