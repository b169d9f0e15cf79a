package server

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// smallHeap is what may be in use before the collector is given more room, in bytes:
	// a server without much to hold stays small.
	smallHeap = 24 << 20
	// heapRoom is by how much the heap may grow between two collections, in bytes, where
	// by itself it would grow by less.
	heapRoom = 128 << 20
	// mostPercent keeps the heap within a few times of what is in use all the same.
	mostPercent = 400
	// leastRoom is what a server has that does next to nothing, as one with thousands of
	// agents at rest: room that it does not need would be half of its memory. It is for
	// bursts, which begin before they are seen.
	leastRoom = 32 << 20
	// leastPercent bounds how often the whole of a large heap is looked at.
	leastPercent = 25
	// roomFor is how long the room should last at the pace at which memory is asked for.
	roomFor = 4 * time.Second

	usualPercent = 100 // of the runtime
	heapEvery    = 250 * time.Millisecond
	// calmer is what is left of a pace after each heapEvery: load comes in bursts.
	calmer = 0.95
)

// RunAlone is Run in a process that is a server and nothing else: it also paces the heap
// of the process.
func (s *Server) RunAlone(ctx context.Context) error {
	pacing, stop := context.WithCancel(ctx)
	var paced sync.WaitGroup
	paced.Go(func() { s.paceHeap(pacing) })
	defer paced.Wait()
	defer stop()
	return s.Run(ctx)
}

// paceHeap gives the garbage collector of this process room according to what is in use
// and how fast memory is asked for, until ctx ends. The read model is a large heap of small
// objects: each collection looks at all of it, and with the usual pace of the runtime that
// took a quarter of the time of a server that answers thousands of requests a second. What
// the start of a server leaves is given back to the system once the read model is there,
// and what a load leaves once it is over.
//
// It does nothing where GOGC says otherwise. A limit by GOMEMLIMIT holds as ever.
func (s *Server) paceHeap(ctx context.Context) {
	if before := debug.SetGCPercent(usualPercent); before != usualPercent {
		debug.SetGCPercent(before)
		return
	}
	select {
	case <-s.store.Synced():
	case <-ctx.Done():
		return
	}
	debug.FreeOSMemory()
	defer debug.SetGCPercent(usualPercent)
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	pacer := newHeapPacer(samples[1].Value.Uint64())
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(samples)
		before := pacer.percent
		over := pacer.look(samples[0].Value.Uint64(), samples[1].Value.Uint64())
		if pacer.percent != before {
			debug.SetGCPercent(pacer.percent)
		}
		if over {
			debug.FreeOSMemory()
		}
	}
}

// heapPacer follows what is in use of a heap and how fast memory is asked for.
type heapPacer struct {
	percent int     // by which the heap may grow until the next collection
	pace    float64 // bytes that are asked for in a second, of late
	asked   uint64  // bytes that were ever asked for
	busy    bool    // there was a load whose end was not seen yet
}

func newHeapPacer(asked uint64) *heapPacer {
	return &heapPacer{percent: usualPercent, pace: math.Inf(1), asked: asked, busy: true}
}

// look takes in what is in use and what was ever asked for, in bytes, heapEvery after it
// did so before. It reports whether a load has just ended: what it has left is free then.
func (p *heapPacer) look(live, asked uint64) (over bool) {
	p.pace = max(float64(asked-p.asked)/heapEvery.Seconds(), min(calmer*p.pace, heapRoom))
	p.asked = asked
	p.percent = percentFor(live, p.pace)
	switch least := percentFor(live, 0); {
	case p.percent > 2*least:
		p.busy = true
	case p.percent == least && p.busy:
		p.busy = false
		return true
	}
	return false
}

// percentFor gives the growth of a heap with so many bytes in use, in percent of them,
// when so many are asked for in a second.
func percentFor(live uint64, pace float64) int {
	if live < smallHeap {
		return usualPercent
	}
	percent := func(room float64) int { return int(math.Round(room * 100 / float64(live))) }
	most := max(usualPercent, min(mostPercent, percent(heapRoom)))
	room := min(pace*roomFor.Seconds(), heapRoom+float64(live)) // as much as there may be at most
	return min(most, max(leastPercent, percent(max(room, leastRoom))))
}
