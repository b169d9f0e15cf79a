package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/core/access"
	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	defaultTail  = 1000
	maxTail      = 100_000
	writeTimeout = 30 * time.Second // a reader that takes no line for so long has gone
)

// podLogs streams the output of a pod as NDJSON, one api.LogLine per line. An
// error after the first line ends the stream as a line {"error": {...}}, since
// the status has gone out.
func (s *server) podLogs(c *gin.Context) {
	if !s.admit(c, may(access.Read, access.Pod)) {
		return
	}
	ctx := c.Request.Context()
	open, err := logsOpen(c)
	var pod api.Pod
	if err == nil {
		lookup, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
		var one onePod
		one, err = s.getPod(lookup, callerFrom(ctx), &IDInput{ID: open.PodID})
		pod = one.Pod
		cancel()
	}
	if err != nil {
		s.abort(c, err)
		return
	}
	if !open.Follow { // the node answers at once or not at all
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.RequestTimeout)
		defer cancel()
	}
	s.streamLogs(c, s.whileVisible(ctx, callerFrom(ctx), pod, func(ctx context.Context) iter.Seq2[wire.LogsChunk, error] {
		return s.logsOf(ctx, pod, open)
	}))
}

func logsOpen(c *gin.Context) (wire.LogsOpen, error) {
	if err := knownParams(c.Request.URL.Query(), "tail", "follow", "previous", "since"); err != nil {
		return wire.LogsOpen{}, err
	}
	id, err := (IDInput{ID: c.Param("id")}).uuid()
	if err != nil {
		return wire.LogsOpen{}, err
	}
	open, err := linesWanted(c, defaultTail)
	open.StreamID, open.PodID = api.NewID(), id
	return open, err
}

func (s *server) logsOf(ctx context.Context, pod api.Pod, open wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	if open.Follow && s.Logs != nil {
		return s.followLogs(ctx, pod, open)
	}
	return s.keptLogs(ctx, pod, open, s.storedOnce(ctx, []api.Pod{pod}, open.Previous))
}

// streamLogs writes chunks as they come. The status waits for the first of them,
// so that a node that refuses is told as an error.
func (s *server) streamLogs(c *gin.Context, chunks iter.Seq2[wire.LogsChunk, error]) {
	rc := http.NewResponseController(c.Writer)
	enc := json.NewEncoder(c.Writer)
	started := false
	for chunk, err := range chunks {
		if err != nil {
			s.endLogs(c, enc, started, err)
			return
		}
		if !started {
			logHeaders(c)
			started = true
		}
		if err := rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		for _, line := range chunk.Lines {
			if enc.Encode(line) != nil {
				return // the reader has gone
			}
		}
		if len(chunk.Lines) == 0 { // a sign of life
			if _, err := io.WriteString(c.Writer, "\n"); err != nil {
				return
			}
		}
		if rc.Flush() != nil {
			return
		}
	}
	if !started {
		s.writeWithin(c, writeTimeout)
		logHeaders(c)
	}
}

func logHeaders(c *gin.Context) {
	c.Header("Content-Type", "application/x-ndjson; charset=utf-8")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
}

func (s *server) endLogs(c *gin.Context, enc *json.Encoder, started bool, err error) {
	s.writeWithin(c, writeTimeout)
	switch {
	case errors.Is(c.Request.Context().Err(), context.Canceled): // the reader has gone
	case !started:
		s.abort(c, err)
	default:
		if enc.Encode(logFailure{Error: s.fail(c.Request.Context(), err).body.Error}) != nil {
			return
		}
	}
}

// logFailure is the last line of a stream that ended in error.
type logFailure struct {
	Error fault.Body `json:"error"`
}
