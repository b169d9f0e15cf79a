package server

import (
	"math"
	"testing"
	"time"
)

func TestTheHeapGetsRoomByWhatIsInUse(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 100, 8 * mib: 100, smallHeap - 1: 100, smallHeap: 400, 32 * mib: 400, 64 * mib: 200, 100 * mib: 128, 128 * mib: 100, 4096 * mib: 100,
	} {
		for _, pace := range []float64{math.Inf(1), 1 << 40} {
			if got := percentFor(live, pace); got != want {
				t.Errorf("%d bytes in a hurry: %d %%, want %d", live, got, want)
			}
		}
		if room := percentFor(live, math.Inf(1)) * int(live/100); live < 128*mib && room > heapRoom+mib {
			t.Errorf("%d bytes: the heap may grow by %d", live, room)
		}
	}
}

func TestTheHeapOfAServerAtRestIsSmall(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct {
		live uint64
		pace float64
		want int
	}{
		{8 * mib, 0, 100}, // too small to be worth it
		{32 * mib, 0, 100},
		{160 * mib, 0, 25},
		{160 * mib, 8 * mib, 25},
		{160 * mib, 20 * mib, 50},
		{160 * mib, 200 * mib, 100},
		{32 * mib, 20 * mib, 250},
		{960 * mib, 0, 25},
	} {
		if got := percentFor(c.live, c.pace); got != c.want {
			t.Errorf("%d MiB in use and %.0f asked for in a second: %d %%, want %d", c.live/mib, c.pace/mib, got, c.want)
		}
	}
}

func TestTheHeapIsGivenBackOnceAfterEachLoad(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	p := newHeapPacer(0)
	asked := uint64(0)
	// looks gives how often a load was over, while so many bytes are asked for in a second.
	looks := func(live uint64, pace float64, n int) (over int) {
		for range n {
			asked += uint64(pace * heapEvery.Seconds())
			if p.look(live, asked) {
				over++
			}
		}
		return over
	}
	const aMinute = int(time.Minute / heapEvery)
	for i, c := range []struct {
		live  uint64
		pace  float64
		looks int
		over  int
	}{
		{160 * mib, 0, aMinute, 1}, // the start was a load
		{160 * mib, mib, 10 * aMinute, 0},
		{160 * mib, 100 * mib, aMinute, 0}, // while it lasts
		{160 * mib, mib, 2, 0},             // it may go on
		{160 * mib, 100 * mib, 2, 0},
		{160 * mib, mib, aMinute, 1},
		{160 * mib, mib, 10 * aMinute, 0},
		{160 * mib, 12 * mib, aMinute, 0}, // a trickle is none
		{160 * mib, mib, aMinute, 0},
		{8 * mib, 0, aMinute, 0},
		{8 * mib, 500 * mib, aMinute, 0}, // too small to be worth it
		{8 * mib, 0, aMinute, 0},
	} {
		if got := looks(c.live, c.pace, c.looks); got != c.over {
			t.Errorf("step %d: a load was over %d times, want %d", i, got, c.over)
		}
	}
	if p.percent != usualPercent {
		t.Errorf("a small heap may grow by %d %%", p.percent)
	}
}
