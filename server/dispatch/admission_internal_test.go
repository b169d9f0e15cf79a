package dispatch

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stark-orchestrator/stark/shared/fault"
)

// away is when somebody who found no place is to come again.
func away(t *testing.T, a *admission) time.Duration {
	t.Helper()
	_, err := a.enter()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.Unavailable {
		t.Fatalf("got %v, want to be sent away", err)
	}
	return f.RetryAfter
}

func entered(t *testing.T, a *admission) *place {
	t.Helper()
	p, err := a.enter()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Those who are sent away come again one after the other, as places become free.
func TestTurnsAreHandedOutAtTheSpeedOfThePlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most, crowd = 10, 3000
		a := newAdmission(most, time.Now)
		for range 1000 { // each takes a tenth of a second: with ten places a hundred a second
			p := entered(t, a)
			time.Sleep(100 * time.Millisecond)
			p.leave()
			p.leave() // counts once
		}
		for range most {
			entered(t, a)
		}
		var last time.Duration
		for i := range 2500 {
			told := away(t, a)
			if want := minAway + time.Duration(i+1)*10*time.Millisecond; told < last || told < want-time.Second || told > want+time.Second {
				t.Fatalf("number %d is told to come after %s, want some %s", i, told, want)
			}
			last = told
		}
		late := 0
		for range crowd {
			told := away(t, a)
			if told > maxAway {
				t.Fatalf("told to stay away for %s", told)
			}
			if told < 3*maxAway/4 {
				late++
			}
		}
		if late < crowd/10 {
			t.Errorf("of those who are told to come late only %d come before the others", late)
		}
		time.Sleep(enterWithin) // whoever says nothing keeps nobody out
		synctest.Wait()
		entered(t, a)
	})
}
