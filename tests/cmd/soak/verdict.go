package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// series is what was measured of one thing, in the order of time.
type series struct {
	name   string
	unit   string
	floor  float64       // growth that says nothing, in the unit
	keeps  time.Duration // how long rows stay on purpose; until then there are ever more of them
	at     []time.Duration
	values []float64
}

func (s *series) add(at time.Duration, value float64) {
	s.at, s.values = append(s.at, at), append(s.values, value)
}

// minPoints are needed in the second half for a slope to mean something.
const minPoints = 6

// slope gives the growth per hour over the second half, as the median of the slopes
// between all pairs of points (Theil and Sen): a few outliers, such as a sample beside a
// garbage collection or a vacuum, change nothing.
func (s *series) slope() (perHour float64, ok bool) {
	half := len(s.values) / 2
	at, values := s.at[half:], s.values[half:]
	if len(values) < minPoints {
		return 0, false
	}
	var slopes []float64
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			if hours := (at[j] - at[i]).Hours(); hours > 0 {
				slopes = append(slopes, (values[j]-values[i])/hours)
			}
		}
	}
	return median(slopes), len(slopes) > 0
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// tolerated is how much of its median a thing may grow in the second half.
const tolerated = 0.10

// verdict says whether a thing has grown.
type verdict struct {
	series *series
	middle float64 // median of the second half
	growth float64 // over the second half, by the slope
	bound  float64
	known  bool
}

func (s *series) verdict() verdict {
	half := len(s.values) / 2
	v := verdict{series: s, middle: median(s.values[half:])}
	perHour, ok := s.slope()
	if half := len(s.at) / 2; !ok || s.at[half] < s.keeps {
		return v // the second half begins before the first rows go
	}
	v.known = true
	v.growth = perHour * (s.at[len(s.at)-1] - s.at[half]).Hours()
	v.bound = math.Max(s.floor, tolerated*v.middle)
	return v
}

func (v verdict) grows() bool { return v.known && v.growth > v.bound }

func (v verdict) String() string {
	state := "steady"
	switch {
	case !v.known:
		state = "cannot be told in this time"
	case v.grows():
		state = "GROWS"
	}
	first, last := v.series.values[0], v.series.values[len(v.series.values)-1]
	return fmt.Sprintf("%s\t%.0f\t%.0f\t%.0f\t%+.1f\t%.0f\t%s\t%s", v.series.name, first, last, v.middle, v.growth, v.bound, v.series.unit, state)
}

// worst orders verdicts: those that grow the most by their bound come first.
func worst(all []verdict) {
	slices.SortStableFunc(all, func(a, b verdict) int { return cmp.Compare(share(b), share(a)) })
}

func share(v verdict) float64 {
	if v.bound == 0 {
		return 0
	}
	return v.growth / v.bound
}
