package watch

import "testing"

// A watcher holds the same whichever way it is written down.
func TestShown(t *testing.T) {
	t.Parallel()
	for _, rest := range []bool{false, true} {
		s := shown{rest: rest}
		want := func(id string, holds bool) {
			t.Helper()
			if s.has(id) != holds {
				t.Errorf("rest %v: %s: got %v, want %v", rest, id, !holds, holds)
			}
		}
		s.note("seen", true)
		s.note("hidden", false)
		s.note("taken away", true)
		s.note("taken away", false)
		s.note("given", false)
		s.note("given", true)
		for id, holds := range map[string]bool{"seen": true, "hidden": false, "taken away": false, "given": true} {
			want(id, holds)
		}
		s.forget("seen")
		s.forget("hidden")
		s.note("seen", false)
		s.note("hidden", true)
		want("seen", false)
		want("hidden", true)
		small := map[bool]int{false: 2, true: 2}[rest]
		if len(s.ids) != small {
			t.Errorf("rest %v: %d ids are kept, want %d", rest, len(s.ids), small)
		}
	}
}
