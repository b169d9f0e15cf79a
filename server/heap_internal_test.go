package server

import "testing"

func TestTheHeapGetsRoomByWhatIsInUse(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for live, want := range map[uint64]int{
		0: 100, 8 * mib: 100, smallHeap - 1: 100, smallHeap: 400, 32 * mib: 400, 64 * mib: 200, 100 * mib: 128, 128 * mib: 100, 4096 * mib: 100,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes: %d %%, want %d", live, got, want)
		}
		if room := percentFor(live) * int(live/100); live < 128*mib && room > heapRoom+mib {
			t.Errorf("%d bytes: the heap may grow by %d", live, room)
		}
	}
}
