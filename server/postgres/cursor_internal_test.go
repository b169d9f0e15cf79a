package postgres

import (
	"strings"
	"testing"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// FuzzCursor reads cursors, which come from anybody: what is taken is within bounds, is
// written as it came or names the same place, and covers itself.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{
		"", ".", "..", "1.2.3:4:", "1.2.3:4:3,3", "1764200000000.1764100000000000.812:815:812,813", "-1.2.3:4:", "+1.2.3:4:", "1.2.3:4:,", "1.2.3:4", "1.2.3:4:5,",
		"99999999999999999999.1.1:1:", "1.2.18446744073709551615:18446744073709551615:", "1.2.99999999999999999999:99999999999999999999:", "1.2.3:4:\x00", "1.2.3:4:'; drop table pods; --",
		"01.02.03:04:", "\xff", "1.2.٣:4:", "1.2.3:4:" + strings.Repeat("3,", 5000) + "3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parsePosition(cursor)
		if err != nil {
			if fault.CodeOf(err) != fault.Validation || len(cursor) > 0 && len(err.Error()) > 1000 {
				t.Errorf("%q: got %v, want a fault of the field", cursor, err)
			}
			return
		}
		if len(cursor) > maxCursor {
			t.Errorf("a cursor of %d bytes is taken", len(cursor))
		}
		text := p.String()
		again, err := parsePosition(text)
		if err != nil || again != p {
			t.Errorf("%q is written as %q, which gives %+v, %v", cursor, text, again, err)
		}
		if !(*DB)(nil).Covers(text, text) {
			t.Errorf("%q does not cover itself", text)
		}
	})
}

// A position covers another if it sees all that the other one sees.
func TestAPositionCoversWhatItSees(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		have, want string
		covers     bool
	}{
		{"10:10:", "10:10:", true},
		{"10:12:", "10:10:", true},
		{"10:10:", "10:12:", false},
		{"10:12:10", "10:12:10", true},
		{"12:12:", "10:12:10", true},
		{"10:12:10", "12:12:", false}, // 10 has ended since
		{"10:13:10,11", "11:13:11", false},
		{"10:13:10", "10:13:10,11", true},
		{"10:20:15", "10:12:", true}, // 15 began after the other
		{"10:20:11", "10:12:11", true},
		{"10:20:11", "12:12:", false},
	} {
		if got := (*DB)(nil).Covers("5.7."+c.have, "3.7."+c.want); got != c.covers {
			t.Errorf("%s covers %s: %t, want %t", c.have, c.want, got, c.covers)
		}
	}
	if !(*DB)(nil).Covers("5.8.10:10:", "3.7.90:90:") {
		t.Error("a position of another life does not end the waiting")
	}
}
