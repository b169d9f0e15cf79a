package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
)

// maxLogLine bounds one line of a stream of logs, in bytes.
const maxLogLine = 4 << 20

// LogOptions select the lines of PodLogs and Logs.
type LogOptions struct {
	Tail     *int // lines from the end; nil leaves it to the server, -1 is all that is kept
	Since    *time.Time
	Follow   bool // go on until the pod has ended
	Previous bool // of the attempt before the newest
}

func (o LogOptions) query() url.Values {
	v := url.Values{}
	if o.Tail != nil {
		v.Set("tail", strconv.Itoa(*o.Tail))
	}
	if o.Since != nil {
		v.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	if o.Follow {
		v.Set("follow", "true")
	}
	if o.Previous {
		v.Set("previous", "true")
	}
	return v
}

// PodLogs gives the output of a pod line by line. An error comes last and once;
// the end of the loop closes the stream.
func (c *Client) PodLogs(ctx context.Context, id string, o LogOptions) iter.Seq2[api.LogLine, error] {
	k := call{method: http.MethodGet, path: []string{"api", "pods", id, "logs"}, query: o.query(), noTimeout: true}
	return c.lines(ctx, k)
}

// LogQuery asks for the output of several pods: of those that PodIDs names, or, with
// Matching, of all that match.
type LogQuery struct {
	LogOptions
	PodIDs        []string
	Matching      bool
	LabelSelector string // as in Kubernetes; "" matches all
	Namespace     string // "" for all
	MaxPods       int    // more are refused; 0 leaves it to the server
}

func (q LogQuery) query() url.Values {
	v := q.LogOptions.query()
	v["podId"] = slices.Clone(q.PodIDs)
	if q.Matching {
		v.Set("labelSelector", q.LabelSelector)
	}
	set(v, "namespace", q.Namespace)
	if q.MaxPods > 0 {
		v.Set("maxPods", strconv.Itoa(q.MaxPods))
	}
	return v
}

// Logs gives the output of several pods line by line; each names its pod. An error comes
// last and once; the end of the loop closes the stream. With Follow it outlives its
// connection: it goes on at any server behind the last line of each pod, tells of it by
// a notice, and gives no line twice. What the first attempt fails with ends it; later it
// tries again until ctx ends, unless the server refuses.
func (c *Client) Logs(ctx context.Context, q LogQuery) iter.Seq2[api.LogLine, error] {
	if q.Follow {
		return func(yield func(api.LogLine, error) bool) {
			f := &logFollower{c: c, q: q, after: map[string]string{}, gone: map[string]time.Time{}, yield: yield}
			f.run(ctx)
		}
	}
	return c.lines(ctx, call{method: http.MethodGet, path: []string{"api", "logs"}, query: q.query(), noTimeout: true})
}

func (c *Client) lines(ctx context.Context, k call) iter.Seq2[api.LogLine, error] {
	return func(yield func(api.LogLine, error) bool) {
		resp, err := c.send(ctx, k)
		if err != nil {
			yield(api.LogLine{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // the reader has what it wanted
		if err := c.readLines(ctx, resp.Body, func(l api.LogLine) bool { return yield(l, nil) }, func() {}); err != nil {
			yield(api.LogLine{}, err)
		}
	}
}

// readLines gives the lines of a stream until its end, or until yield wants no more;
// heard is called for each, and for each sign of life.
func (c *Client) readLines(ctx context.Context, r io.Reader, yield func(api.LogLine) bool, heard func()) error {
	const firstBuffer = 64 << 10
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, firstBuffer), maxLogLine)
	for scan.Scan() {
		heard()
		if len(scan.Bytes()) == 0 {
			continue
		}
		var line struct {
			api.LogLine
			Error *fault.Body `json:"error"`
		}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			return fault.Wrap(err, fault.Internal, "%s sent a log line that cannot be read", c.base.Host)
		}
		if line.Error != nil {
			return line.Error.Fault()
		}
		if !yield(line.LogLine) {
			return nil
		}
	}
	switch err := scan.Err(); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, bufio.ErrTooLong):
		return fault.New(fault.PayloadTooLarge, "a log line is longer than %d bytes", maxLogLine)
	default:
		return fault.FromNetwork(err, c.base.Host)
	}
}
