package postgres

import (
	"testing"
	"time"
)

func TestClockFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	var c clock
	for _, s := range []struct {
		what               string
		told, sent, answer float64
		want               time.Duration
	}{
		{"clocks that agree", 1, 0.5, 1.5, 0},
		{"a time that was rounded down", 1.9995, 2, 2, 0},
		{"a database ten minutes ahead", 603, 3, 3, 10 * time.Minute},
		{"an answer that took long", 604.5, 4, 5, 10 * time.Minute},
		{"a database whose clock was set back", 5.999, 6, 6, 0},
		{"a database ten minutes behind", -593.001, 7, 8, -10 * time.Minute},
	} {
		c.heard(at(s.told), at(s.sent), at(s.answer))
		if got := time.Duration(c.ahead.Load()); got != s.want {
			t.Errorf("%s: the database is taken to be ahead by %s, want %s", s.what, got, s.want)
		}
	}
}
