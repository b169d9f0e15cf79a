package rest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// notice is a word of ours among the lines of a pod.
func notice(text string) api.LogLine {
	return api.LogLine{Time: time.Now().UTC(), Stream: api.StreamLog, Notice: text}
}

// keptLogs asks the node. Where no node can say, what the runs left behind in the
// database stands in, and says so.
func (s *server) keptLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen) iter.Seq2[wire.LogsChunk, error] {
	return func(yield func(wire.LogsChunk, error) bool) {
		if pod.NodeID == nil || s.Logs == nil {
			s.storedLogs(ctx, pod, open, nil, yield)
			return
		}
		open.Incarnation = pod.Incarnation
		first := true
		for chunk, err := range s.Logs.OpenLogs(ctx, *pod.NodeID, open) {
			if code := fault.CodeOf(err); first && (code == fault.Unavailable || code == fault.NotFound || code == fault.Timeout) {
				s.storedLogs(ctx, pod, open, err, yield)
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
func (s *server) storedLogs(ctx context.Context, pod api.Pod, open wire.LogsOpen, failed error, yield func(wire.LogsChunk, error) bool) {
	call, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	all, err := s.DB.StoredLogs(call, pod.ID)
	if err != nil {
		s.log.WarnContext(ctx, "stored logs could not be read", slog.Any("error", err))
		if failed == nil {
			failed = err
		}
		yield(wire.LogsChunk{}, failed)
		return
	}
	run, ok := whichRun(all, open.Previous)
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

// whichRun chooses of a pod's runs, newest first: the newest that left anything, or the
// one before the newest.
func whichRun(all []wire.StoredLogs, previous bool) (wire.StoredLogs, bool) {
	if previous && len(all) > 0 {
		all = all[1:]
	}
	for _, run := range all {
		if len(run.Lines) > 0 {
			return run, true
		}
	}
	return wire.StoredLogs{}, false
}

// selected applies tail and since.
func selected(lines []api.LogLine, open wire.LogsOpen) []api.LogLine {
	start := len(lines)
	for start > 0 && (open.Tail < 0 || len(lines)-start < open.Tail) && (open.Since == nil || !lines[start-1].Time.Before(*open.Since)) {
		start--
	}
	return lines[start:]
}
