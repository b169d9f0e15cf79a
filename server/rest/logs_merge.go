package rest

import (
	"container/heap"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

// mergedLines is how many lines go out in one piece.
const mergedLines = 512

// kept is one step of the output of a pod.
type kept struct {
	chunk wire.LogsChunk
	err   error
}

// mergedPod is a pod whose output is merged with that of others.
type mergedPod struct {
	id   string
	from <-chan kept
	head []api.LogLine // the next lines
}

// merger brings the output of pods, each of which is in the order of its node's clock,
// into one order.
type merger struct {
	pods    []*mergedPod // as a heap while it runs
	batch   []api.LogLine
	failed  int
	failure error // of the first that could not be read
	explain func(error) string
	yield   func(wire.LogsChunk, error) bool
}

// run reports whether its reader has stayed to the end.
func (m *merger) run() bool {
	all := m.pods
	m.pods = nil
	for _, p := range all {
		if m.fill(p) {
			m.pods = append(m.pods, p)
		}
	}
	if m.failed == len(all) { // the error says it all
		return true
	}
	heap.Init(m)
	for len(m.pods) > 0 {
		first := m.pods[0]
		m.batch = append(m.batch, first.head[0])
		if first.head = first.head[1:]; len(first.head) > 0 || m.fill(first) {
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
		if len(m.batch) >= mergedLines && !m.flush() {
			return false
		}
	}
	return m.flush()
}

func (m *merger) flush() bool {
	if len(m.batch) == 0 {
		return true
	}
	batch := m.batch
	m.batch = nil
	return m.yield(wire.LogsChunk{Lines: batch}, nil)
}

// fill waits for more of a pod, and is false at its end.
func (m *merger) fill(p *mergedPod) bool {
	for k := range p.from {
		if k.err != nil {
			if m.failed++; m.failure == nil {
				m.failure = k.err
			}
			m.batch = append(m.batch, noticeOf(p.id, "", "its output cannot be read: %s", m.explain(k.err)).Lines...)
			continue
		}
		if p.head = k.chunk.Lines; len(p.head) > 0 {
			return true
		}
	}
	return false
}

// Len implements heap.Interface.
func (m *merger) Len() int { return len(m.pods) }

// Less implements heap.Interface.
func (m *merger) Less(i, j int) bool {
	a, b := m.pods[i], m.pods[j]
	if order := a.head[0].Time.Compare(b.head[0].Time); order != 0 {
		return order < 0
	}
	return a.id < b.id
}

// Swap implements heap.Interface.
func (m *merger) Swap(i, j int) { m.pods[i], m.pods[j] = m.pods[j], m.pods[i] }

// Push implements heap.Interface.
func (m *merger) Push(p any) { m.pods = append(m.pods, p.(*mergedPod)) }

// Pop implements heap.Interface.
func (m *merger) Pop() any {
	last := m.pods[len(m.pods)-1]
	m.pods = m.pods[:len(m.pods)-1]
	return last
}
