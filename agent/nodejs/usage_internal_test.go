//go:build unix

package nodejs

import (
	"testing"
	"time"
)

func TestPressureDoesNotFlicker(t *testing.T) {
	t.Parallel()
	p := pressure{kind: "DiskPressure", low: 5, enough: 8}
	for i, tc := range []struct {
		free int64
		want bool
	}{{50, false}, {6, false}, {4, true}, {6, true}, {7, true}, {8, false}, {6, false}} {
		if got := p.judge(tc.free, 100).Status; got != tc.want {
			t.Errorf("step %d, %d %% free: got %t", i, tc.free, got)
		}
	}
	p.judge(1, 100)
	if !p.judge(0, 0).Status {
		t.Error("what cannot be read has ended the pressure")
	}
}

func TestCPUMeter(t *testing.T) {
	t.Parallel()
	var m cpuMeter
	at := time.Now()
	if got := m.rate(time.Second, at); got != 0 {
		t.Errorf("the first call gives %s", got)
	}
	if got := m.rate(time.Second+500*time.Millisecond, at.Add(time.Second)); got != 500 {
		t.Errorf("got %s, want 500m", got)
	}
	if got := m.rate(0, at.Add(2*time.Second)); got != 0 {
		t.Errorf("a process that began anew gives %s", got)
	}
}
