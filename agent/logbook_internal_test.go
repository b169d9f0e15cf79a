package agent

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/wire"
)

func ref(pod string, incarnation int) wire.PodRef {
	return wire.PodRef{PodID: pod, Incarnation: incarnation}
}

func texts(lines []api.LogLine) string {
	var got []string
	for _, l := range lines {
		got = append(got, l.Line)
	}
	return strings.Join(got, " ")
}

func TestRingDropsAndMarks(t *testing.T) {
	t.Parallel()
	r := newLogbook(10*(lineOverhead+10), 1<<20).open(ref("p", 1))
	part, _ := r.seek(wire.LogsOpen{Tail: -1}, 0)
	for i := range 25 {
		r.append(api.LogLine{Line: fmt.Sprintf("line %05d", i), Attempt: 1 + i/20})
	}
	got := r.read(part, 4, 1<<20)
	if got.dropped != 15 || len(got.lines) != 4 || got.lines[0].Line != "line 00015" || !got.more {
		t.Errorf("read %+v", got)
	}
	part.from = got.next
	rest := r.read(part, 100, 1<<20)
	if rest.dropped != 0 || len(rest.lines) != 6 || rest.more {
		t.Errorf("the rest: %+v", rest)
	}
	r.append(api.LogLine{Line: "more", Attempt: 2})
	select {
	case <-rest.changed:
	default:
		t.Error("the reader was not woken")
	}
	if got := r.tail(2, 16); got != "line 00024\nmore\n" {
		t.Errorf("tail %q", got)
	}
}

// A mark that leaves the ring leaves its count behind: a reader is told of every line
// that it has not had, whoever lost it.
func TestRingCountsTheLinesOfLostMarks(t *testing.T) {
	t.Parallel()
	r := newLogbook(4*lineOverhead, 1<<20).open(ref("p", 1))
	part, _ := r.seek(wire.LogsOpen{Tail: -1}, 0)
	r.append(api.LogLine{Attempt: 1})
	r.append(api.LogLine{Dropped: 1000, Attempt: 1})
	got := r.read(part, 10, 1<<20)
	if len(got.lines) != 2 || got.next != 1001 {
		t.Errorf("read %+v", got)
	}
	for range 5 { // the ring holds four entries
		r.append(api.LogLine{Attempt: 1})
		r.append(api.LogLine{Dropped: 100, Attempt: 1})
	}
	if lost := r.read(part, 10, 1<<20); lost.dropped != 1001+3*101 || len(lost.lines) != 4 || lost.more {
		t.Errorf("from the beginning: %+v", lost)
	}
	part.from = got.next
	lost := r.read(part, 10, 1<<20)
	if lost.dropped != 3*101 || lost.next != 1001+5*101 {
		t.Errorf("from behind the first mark: %+v", lost)
	}
	// A place that is none, inside a mark or beyond the end, is no harm.
	for from, lines := range map[uint64]int{lost.next - 50: 0, lost.next - 101: 2, lost.next + 7: 0} {
		part.from = from
		if got := r.read(part, 10, 1<<20); len(got.lines) != lines || got.dropped != 0 || got.next != lost.next {
			t.Errorf("from %d: %+v", from, got)
		}
	}
}

// A reader goes on behind the very line that it has, also where several have one time.
func TestRingGoesOnBehindALine(t *testing.T) {
	t.Parallel()
	b := newLogbook(1<<20, 1<<20)
	r := b.open(ref("p", 1))
	now := time.Unix(1000, 0)
	for i := range 4 {
		r.append(api.LogLine{Line: fmt.Sprint(i), Time: now, Attempt: 1})
	}
	open := wire.LogsOpen{PodID: "p", Tail: -1, After: &wire.LogPosition{Ring: r.id, Next: 2}}
	ring, part, ok := b.choose(open)
	if !ok || texts(ring.read(part, 10, 1<<10).lines) != "2 3" {
		t.Errorf("the same ring: %v %+v", ok, part)
	}
	open.After.Ring = "of another agent"
	if _, part, _ = b.choose(open); part.from != 0 {
		t.Errorf("another ring: %+v", part)
	}
}

func TestRingSeek(t *testing.T) {
	t.Parallel()
	b := newLogbook(1<<20, 1<<20)
	start := time.Unix(1000, 0)
	r := b.open(ref("p", 2))
	for i := range 6 {
		r.append(api.LogLine{Line: fmt.Sprint(i), Attempt: 1 + i/3, Time: start.Add(time.Duration(i) * time.Second)})
	}
	b.open(ref("p", 3)).append(api.LogLine{Line: "next", Attempt: 1})
	b.open(ref("q", 1)).append(api.LogLine{Line: "q", Attempt: 4})
	for name, tc := range map[string]struct {
		open wire.LogsOpen
		want string
	}{
		"all":                      {wire.LogsOpen{PodID: "p", Incarnation: 2, Tail: -1}, "0 1 2 3 4 5"},
		"tail":                     {wire.LogsOpen{PodID: "p", Incarnation: 2, Tail: 2}, "4 5"},
		"no lines":                 {wire.LogsOpen{PodID: "p", Incarnation: 2, Tail: 0}, ""},
		"since":                    {wire.LogsOpen{PodID: "p", Incarnation: 2, Tail: -1, Since: new(start.Add(4 * time.Second))}, "4 5"},
		"previous":                 {wire.LogsOpen{PodID: "p", Incarnation: 2, Tail: 2, Previous: true}, "1 2"},
		"the newest":               {wire.LogsOpen{PodID: "p", Tail: -1}, "next"},
		"the incarnation before":   {wire.LogsOpen{PodID: "p", Tail: -1, Previous: true}, "3 4 5"},
		"an attempt that is gone":  {wire.LogsOpen{PodID: "q", Tail: -1, Previous: true}, "not found"},
		"an incarnation elsewhere": {wire.LogsOpen{PodID: "p", Incarnation: 9, Tail: -1}, "not found"},
		"nobody":                   {wire.LogsOpen{PodID: "x", Tail: -1}, "not found"},
	} {
		got := "not found"
		if ring, part, ok := b.choose(tc.open); ok {
			got = texts(ring.read(part, 100, 1<<20).lines)
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// What has ended goes first, the oldest before the others; then all that live share.
func TestLogbookKeepsItsBudget(t *testing.T) {
	t.Parallel()
	const line = lineOverhead + 36
	b := newLogbook(100*line, 100*line)
	fill := func(pod string, n int) *ring {
		r := b.open(ref(pod, 1))
		for range n {
			r.append(api.LogLine{Line: strings.Repeat("x", 36), Attempt: 1})
		}
		return r
	}
	for _, pod := range []string{"a", "b", "c"} {
		b.close(fill(pod, 30))
	}
	fill("d", 20)
	has := func(pod string) int {
		r, _ := b.find(pod, 1)
		if r == nil {
			return -1
		}
		return len(r.lines)
	}
	if has("a") != -1 || has("b") != 30 || has("c") != 30 || has("d") != 20 {
		t.Errorf("a %d, b %d, c %d, d %d lines", has("a"), has("b"), has("c"), has("d"))
	}
	late, _ := b.find("b", 1)
	fill("d", 50)
	fill("e", 90)
	if has("b") != -1 || has("c") != -1 || has("d") < 40 || has("e") < 40 {
		t.Errorf("b %d, c %d, d %d, e %d lines", has("b"), has("c"), has("d"), has("e"))
	}
	if used := b.used.Load(); used > 100*line || used != int64((has("d")+has("e"))*line) {
		t.Errorf("%d bytes are counted, %d lines are there", used, has("d")+has("e"))
	}
	if got := late.read(selection{}, 10, 1<<10); got.dropped != 30 || !got.closed {
		t.Errorf("who still reads what was let go: %+v", got)
	}
	late.append(api.LogLine{Line: "too late"})
	if got := b.used.Load(); got != int64((has("d")+has("e"))*line) {
		t.Errorf("a ring that was let go counts: %d", got)
	}
}

func TestCheckpointsAreOfWhatIsNew(t *testing.T) {
	t.Parallel()
	b := newLogbook(1<<20, 1<<20)
	r := b.open(ref("p", 1))
	if _, ok := r.checkpoint(10); ok {
		t.Error("a checkpoint of nothing")
	}
	for i, text := range []string{"old", "four", "five5", "six"} {
		r.append(api.LogLine{Line: text, Attempt: 1 + min(i, 1)})
	}
	k, ok := r.checkpoint(9)
	if !ok || texts(k.Lines) != "five5 six" || k.RunKey != (api.RunKey{PodID: "p", Incarnation: 1, Attempt: 2}) {
		t.Errorf("got %+v, %v", k, ok)
	}
	if _, ok = r.checkpoint(9); !ok {
		t.Error("what was not stored is not sent again")
	}
	r.keep(k.next)
	if _, ok = r.checkpoint(9); ok {
		t.Error("what is stored is sent again")
	}
	r.append(api.LogLine{Line: "seven", Attempt: 2})
	b.close(r)
	if _, ok = r.checkpoint(9); ok {
		t.Error("the report of the end has the output of a pod that has ended")
	}
}
