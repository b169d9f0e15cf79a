package rest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// notice is a word of ours among the lines of a pod.
func notice(text string) api.LogLine {
	return api.LogLine{Time: time.Now().UTC(), Stream: api.StreamLog, Notice: text}
}

// storedOf gives what the database has of the output of one pod; false when it has nothing.
type storedOf func(podID string) (wire.StoredLogs, bool, error)

// storedOnce asks the database for all pods of one request together, when the first of
// them needs it.
func (s *server) storedOnce(ctx context.Context, pods []api.Pod, previous bool) storedOf {
	ask := sync.OnceValues(func() (map[string]wire.StoredLogs, error) {
		ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
		defer cancel()
		ids := make([]string, len(pods))
		for i, p := range pods {
			ids[i] = p.ID
		}
		return s.DB.StoredLogs(ctx, ids, previous)
	})
	return func(podID string) (wire.StoredLogs, bool, error) {
		all, err := ask()
		run, ok := all[podID]
		return run, ok, err
	}
}

// keptLogs asks the node. Where no node can say, what the runs left behind in the
// database stands in, and says so.
func (s *server) keptLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen, stored storedOf) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		if pod.NodeID == nil || s.Logs == nil {
			s.storedLogs(ctx, pod, open, stored, nil, yield)
			return
		}
		open.Incarnation = pod.Incarnation
		first := true
		for chunk, err := range s.Logs.OpenLogs(ctx, *pod.NodeID, open) {
			if code := fault.CodeOf(err); first && (code == fault.Unavailable || code == fault.NotFound || code == fault.Timeout) {
				s.storedLogs(ctx, pod, open, stored, err, yield)
				return
			}
			first = false
			if !yield(chunk, err) || err != nil {
				return
			}
		}
	}
}

// storedLogs gives the end of a run's output from the database; failed is why the node
// could not be asked, and the answer where nothing is stored.
func (s *server) storedLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen, stored storedOf, failed error, yield func(wire.LogsChunk, error) bool) {
	run, ok, err := stored(pod.ID)
	if err != nil {
		s.log.WarnContext(ctx, "stored logs could not be read", slog.Any("error", err))
		if failed == nil {
			failed = err
		}
		yield(wire.LogsChunk{}, failed)
		return
	}
	if !ok {
		if failed != nil {
			yield(wire.LogsChunk{}, failed)
		}
		return
	}
	lines := selected(run.Lines, open)
	mark := notice(storedText(run))
	mark.Time, mark.Attempt = run.At.UTC(), run.Attempt
	yield(wire.LogsChunk{Lines: append([]api.LogLine{mark}, lines...)}, nil)
}

func storedText(run wire.StoredLogs) string {
	if run.Ended {
		return fmt.Sprintf("no node keeps this output any more: this is the end of attempt %d, as stored when it ended", run.Attempt)
	}
	return fmt.Sprintf("the node does not answer: this is the end of attempt %d as stored at %s; what came later is missing",
		run.Attempt, run.At.UTC().Format(time.RFC3339))
}

// selected applies tail and since.
func selected(lines []api.LogLine, open wire.LogsOpen) []api.LogLine {
	start := len(lines)
	for start > 0 && (open.Tail < 0 || len(lines)-start < open.Tail) && (open.Since == nil || !lines[start-1].Time.Before(*open.Since)) {
		start--
	}
	return lines[start:]
}
