package main

import (
	"math"
	"testing"
	"time"
)

func of(floor float64, f func(i int) float64) *series {
	s := &series{name: "x", floor: floor}
	for i := range 60 {
		s.add(time.Duration(i)*time.Minute, f(i))
	}
	return s
}

func TestGrowthIsSeenAndNoiseIsNot(t *testing.T) {
	t.Parallel()
	saw := func(i int) float64 { return float64(i%7) * 20 }
	for name, c := range map[string]struct {
		s     *series
		grows bool
	}{
		"level":                       {of(1, func(int) float64 { return 100 }), false},
		"saw teeth":                   {of(1, func(i int) float64 { return 1000 + saw(i) }), false},
		"saw teeth that rise":         {of(1, func(i int) float64 { return 1000 + saw(i) + 10*float64(i) }), true},
		"a leak":                      {of(1, func(i int) float64 { return 100 + float64(i) }), true},
		"a warm-up that ends":         {of(1, func(i int) float64 { return 100 + 20*math.Min(float64(i), 25) }), false},
		"one outlier":                 {of(1, func(i int) float64 { return 100 + 1e6*float64(i/59) }), false},
		"below what says anything":    {of(50, func(i int) float64 { return 10 + float64(i)/2 }), false},
		"shrinks":                     {of(1, func(i int) float64 { return 1000 - 10*float64(i) }), false},
		"from nothing, beyond bounds": {of(5, func(i int) float64 { return math.Max(0, float64(i-30)) }), true},
	} {
		if v := c.s.verdict(); v.grows() != c.grows || !v.known {
			t.Errorf("%s: grows %t (%s)", name, v.grows(), v)
		}
	}
}

func TestFewSamplesSayNothing(t *testing.T) {
	t.Parallel()
	s := &series{name: "x"}
	for i := range 2*minPoints - 2 {
		s.add(time.Duration(i)*time.Minute, float64(i*1000))
	}
	if v := s.verdict(); v.known || v.grows() {
		t.Errorf("%s after %d samples", v, len(s.values))
	}
}

func TestRowsThatStayOnPurposeAreNoGrowthUntilTheFirstOnesGo(t *testing.T) {
	t.Parallel()
	s := of(1, func(i int) float64 { return float64(i) })
	if s.keeps = 40 * time.Minute; s.verdict().known || s.verdict().grows() {
		t.Errorf("%s", s.verdict())
	}
	if s.keeps = 20 * time.Minute; !s.verdict().grows() {
		t.Errorf("%s", s.verdict())
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	t.Parallel()
	all := []verdict{of(1, func(int) float64 { return 5 }).verdict(), of(1, func(i int) float64 { return float64(i) }).verdict()}
	worst(all)
	if !all[0].grows() || all[1].grows() {
		t.Errorf("order %v", all)
	}
}
