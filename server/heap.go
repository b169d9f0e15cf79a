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

	usualPercent = 100 // of the runtime
	heapEvery    = 5 * time.Second
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

// paceHeap gives the garbage collector of this process room according to what is in use,
// until ctx ends. The read model is a large heap of small objects: each collection looks
// at all of it, and with the usual pace of the runtime that took a quarter of the time of
// a server that answers thousands of requests a second. What the start of a server leaves
// is given back to the system once the read model is there.
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
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		metrics.Read(live)
		debug.SetGCPercent(percentFor(live[0].Value.Uint64()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// percentFor gives the growth of a heap with so many bytes in use, in percent of them.
func percentFor(live uint64) int {
	if live < smallHeap {
		return usualPercent
	}
	return max(usualPercent, min(mostPercent, int(math.Round(heapRoom*100/float64(live)))))
}
