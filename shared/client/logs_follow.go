package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

const (
	// logOverlap is how far the clocks of nodes may be apart: of a pod that has come and
	// gone while there was no connection, lines may be so much older than the newest line.
	logOverlap = 30 * time.Second
	// goneFor is how long a pod is remembered whose output has ended: a server may tell of
	// it once more to who goes on from a time.
	goneFor = 10 * time.Minute
)

// logFollower keeps how far each pod was read, so that it goes on there.
type logFollower struct {
	c      *Client
	q      LogQuery
	after  map[string]string    // position of the last line of each pod
	gone   map[string]time.Time // pods of which nothing comes any more, and since when
	newest time.Time            // of all lines, by the clocks of their nodes
	over   bool                 // the reader wants no more
	ended  bool                 // the server has sent all there is
	yield  func(api.LogLine, error) bool
}

func (f *logFollower) run(ctx context.Context) {
	pause, cut := watchRetry, false
	for began := false; ; {
		heard, err := f.stream(ctx, cut)
		switch {
		case f.over || f.ended:
			return
		case ctx.Err() != nil:
			f.yield(api.LogLine{}, ctx.Err())
			return
		case !passes(err) && fault.CodeOf(err) != fault.Gone, !began && !heard:
			f.yield(api.LogLine{}, err)
			return
		}
		if _, more := f.question(); !more {
			return
		}
		if began = true; heard {
			pause, cut = watchRetry, true
			if f.say("the stream has ended, and is taken up again: %s", messageOf(err)); f.over {
				return
			}
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // spreads load, guards nothing
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			f.yield(api.LogLine{}, ctx.Err())
			return
		}
		pause = min(2*pause, watchPause)
	}
}

func (f *logFollower) say(format string, args ...any) {
	l := api.LogLine{Time: time.Now().UTC(), Stream: api.StreamLog, Notice: fmt.Sprintf(format, args...)}
	f.over = !f.yield(l, nil)
}

// stream reads one connection to its end and reports whether it was opened.
func (f *logFollower) stream(ctx context.Context, again bool) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if errors.Is(context.Cause(ctx), errSilent) {
			err = fault.New(fault.Unavailable, "%s has said nothing for %s", f.c.base.Host, watchIdle)
		}
		cancel(nil)
	}()
	silence := time.AfterFunc(watchIdle, func() { cancel(errSilent) })
	defer silence.Stop()
	v, _ := f.question()
	resp, err := f.c.send(ctx, call{method: http.MethodGet, path: []string{"api", "logs"}, query: v, noTimeout: true})
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }() // the reader has what it wanted
	if again {
		if f.say("connected again: the output goes on behind the last line of each pod"); f.over {
			return true, nil
		}
	}
	err = f.c.readLines(ctx, resp.Body, func(l api.LogLine) bool {
		// The reader's own slowness is not the server's.
		silence.Stop()
		ok := f.take(l)
		silence.Reset(watchIdle)
		return ok
	}, func() { silence.Reset(watchIdle) })
	f.ended = err == nil
	return true, err
}

// question asks for what has not been told; false says that nothing is left.
func (f *logFollower) question() (url.Values, bool) {
	q := f.q
	q.PodIDs = slices.DeleteFunc(slices.Clone(q.PodIDs), func(id string) bool {
		_, gone := f.gone[id]
		_, read := f.after[id] // which names it
		return gone || read
	})
	if !f.newest.IsZero() {
		q.Tail = new(-1)
		if since := f.newest.Add(-logOverlap); q.Matching && (q.Since == nil || since.After(*q.Since)) {
			q.Since = &since
		}
	}
	v := q.query()
	v.Set("resumable", "true")
	for _, id := range slices.Sorted(maps.Keys(f.after)) {
		v.Add("after", id+":"+f.after[id])
	}
	return v, q.Matching || len(q.PodIDs) > 0 || len(f.after) > 0
}

// take tells the reader of one line.
func (f *logFollower) take(l api.LogLine) bool {
	if l.PodID != "" && !f.place(l) {
		return true
	}
	if l.Notice == "" && l.Dropped == 0 && l.Time.After(f.newest) {
		f.newest = l.Time
	}
	f.over = !f.yield(l, nil)
	return !f.over
}

// place notes how far a pod was read; false says that the line is of a pod that the
// reader was told to have ended.
func (f *logFollower) place(l api.LogLine) bool {
	if l.Event == api.LogJoined {
		delete(f.gone, l.PodID)
	}
	if _, gone := f.gone[l.PodID]; gone {
		return false
	}
	if l.Position != "" {
		f.after[l.PodID] = l.Position
	}
	if l.Event.Final() {
		now := time.Now()
		delete(f.after, l.PodID)
		f.gone[l.PodID] = now
		maps.DeleteFunc(f.gone, func(id string, since time.Time) bool {
			return !slices.Contains(f.q.PodIDs, id) && now.Sub(since) > goneFor
		})
	}
	return true
}

func messageOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
