package rest

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/fault"
	"github.com/stark-orchestrator/stark/shared/wire"
)

const (
	// tailOfMany is how many lines of each pod begin an answer about several: the screen
	// is for all of them.
	tailOfMany = 10
	// manyWindows is how many bytes of lines the pods of one answer may have under way to
	// this server together, and leastWindow what each of them has at the least.
	manyWindows = 4 << 20
	leastWindow = 32 << 10
	mostWindow  = 256 << 10
)

// logsQuery asks for the output of several pods: of those that it names, or of all that
// match.
type logsQuery struct {
	ids       []string
	namespace string
	selector  api.Selector
	matching  bool // all that match; ids is empty then
	maxPods   int
	after     map[string]wire.LogPosition // how far the reader has each pod
	resumable bool
	open      wire.LogsOpen
}

func readLogsQuery(c *gin.Context) (logsQuery, error) {
	q := logsQuery{namespace: c.Query("namespace")}
	v := c.Request.URL.Query()
	if err := knownParams(v, "podId", "labelSelector", "namespace", "maxPods", "after", "resumable", "tail", "since", "follow", "previous"); err != nil {
		return q, err
	}
	var err error
	if q.maxPods, err = intParam(c, "maxPods", api.DefaultLogPods, 1, api.MaxLogPods); err != nil {
		return q, err
	}
	if q.resumable, err = boolParam(c, "resumable"); err != nil {
		return q, err
	}
	if q.open, err = linesWanted(c, tailOfMany); err != nil {
		return q, err
	}
	q.open.Window = min(max(manyWindows/q.maxPods, leastWindow), mostWindow)
	if q.after, err = readPositions(v["after"]); err != nil {
		return q, err
	}
	if q.open.Previous && (q.open.Follow || len(q.after) > 0) {
		return q, api.InvalidField("previous", fault.FieldInvalidValue, "an attempt that has ended cannot be followed")
	}
	if _, q.matching = v["labelSelector"]; q.matching {
		return q, q.matchWhat(c.Query("labelSelector"), v["podId"])
	}
	return q, q.name(v["podId"])
}

func (q *logsQuery) matchWhat(selector string, ids []string) error {
	if len(ids) > 0 {
		return api.InvalidField("podId", fault.FieldInvalidValue, "stands for a labelSelector: give one or the other")
	}
	var err error
	if q.selector, err = api.ParseSelector(selector); err != nil {
		return api.InvalidField("labelSelector", fault.FieldInvalidFormat, "%v", err)
	}
	return (&api.PodQuery{Namespace: q.namespace, LabelSelector: selector}).Validate()
}

// name takes the pods that are named, also by how far the reader has them.
func (q *logsQuery) name(ids []string) error {
	for _, raw := range ids {
		id, err := IDInput{ID: raw}.uuid()
		if err != nil {
			return api.InvalidField("podId", fault.FieldInvalidFormat, "must be the id of a pod")
		}
		if !slices.Contains(q.ids, id) {
			q.ids = append(q.ids, id)
		}
	}
	for id := range q.after {
		if !slices.Contains(q.ids, id) {
			q.ids = append(q.ids, id)
		}
	}
	switch {
	case q.namespace != "":
		return api.InvalidField("namespace", fault.FieldInvalidValue, "narrows a labelSelector: a pod that is named needs none")
	case len(q.ids) == 0:
		return api.InvalidField("podId", fault.FieldRequired, "name pods, or give a labelSelector; an empty one matches all")
	case len(q.ids) > q.maxPods:
		return tooManyPods("podId", len(q.ids), q.maxPods)
	}
	return nil
}

func tooManyPods(field string, found, most int) error {
	return api.InvalidField(field, fault.FieldOutOfRange, "means %d pods, and at most %d are read at once: ask for fewer, or raise maxPods (at most %d)",
		found, most, api.MaxLogPods)
}

// linesWanted reads which lines of a pod are asked for.
func linesWanted(c *gin.Context, tail int) (open wire.LogsOpen, err error) {
	if open.Tail, err = intParam(c, "tail", tail, -1, maxTail); err != nil {
		return open, err
	}
	if open.Follow, err = boolParam(c, "follow"); err != nil {
		return open, err
	}
	if open.Previous, err = boolParam(c, "previous"); err != nil {
		return open, err
	}
	if raw := c.Query("since"); raw != "" {
		t, err := time.Parse(time.RFC3339Nano, raw)
		if err != nil {
			return open, api.InvalidField("since", fault.FieldInvalidFormat, "must be a time such as 2026-01-02T15:04:05Z")
		}
		open.Since = &t
	}
	return open, nil
}

func knownParams(v url.Values, names ...string) error {
	for name := range v {
		if !slices.Contains(names, name) {
			return api.InvalidField(name, fault.FieldUnknown, "unknown query parameter")
		}
	}
	return nil
}

// longestRing bounds the name of a ring, in bytes.
const longestRing = 32

// readPositions reads "<pod>:<position>", where a position is as positionOf writes it.
func readPositions(texts []string) (map[string]wire.LogPosition, error) {
	if len(texts) > api.MaxLogPods {
		return nil, tooManyPods("after", len(texts), api.MaxLogPods)
	}
	all := make(map[string]wire.LogPosition, len(texts))
	for _, text := range texts {
		pod, position, _ := strings.Cut(text, ":")
		ring, number, _ := strings.Cut(position, ".")
		id, err := IDInput{ID: pod}.uuid()
		next, numberErr := strconv.ParseUint(number, 10, 64)
		// The agent counts on from there: nobody has written half of all numbers.
		if err != nil || numberErr != nil || next > math.MaxInt64 || ring == "" || len(ring) > longestRing {
			return nil, api.InvalidField("after", fault.FieldInvalidFormat, "must be the id of a pod, a colon and the position of a line of it")
		}
		all[id] = wire.LogPosition{Ring: ring, Next: next}
	}
	return all, nil
}

// positionOf is how a line says where it stands: a reader that shows it goes on behind
// that line.
func positionOf(ring string, next uint64) string { return ring + "." + strconv.FormatUint(next, 10) }
