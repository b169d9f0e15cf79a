//go:build unix

package nodejs

import (
	"cmp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
)

// cpuMeter turns CPU time that only grows into a rate.
type cpuMeter struct {
	mu   sync.Mutex
	last time.Duration
	at   time.Time
}

// rate gives the millicores since the last call, 0 at the first.
func (m *cpuMeter) rate(used time.Duration, now time.Time) api.Millicores {
	m.mu.Lock()
	defer m.mu.Unlock()
	spent, passed := used-m.last, now.Sub(m.at)
	first := m.at.IsZero()
	m.last, m.at = used, now
	if first || passed <= 0 || spent < 0 {
		return 0
	}
	return api.Millicores(1000 * spent.Seconds() / passed.Seconds())
}

// Usage implements executor.Sampler. Pods that share a host share its figures.
func (e *Executor) Usage() api.NodeUsage {
	u := api.NodeUsage{Pods: []api.PodUsage{}}
	now := time.Now()
	if busy, total, available, ok := machine(); ok {
		u.CPU, u.Memory = new(e.cpu.rate(busy, now)), new(api.Mebibytes((total-available)/mebibyte))
	}
	for _, h := range e.serving() {
		pods := h.all()
		if len(pods) == 0 {
			continue
		}
		n := int64(len(pods))
		cpu := int64(h.cpu.rate(cpuTime(h.cmd.Process.Pid), now))
		for _, c := range pods {
			u.Pods = append(u.Pods, api.PodUsage{
				PodID: c.task.Key.PodID, Incarnation: c.task.Key.Incarnation,
				CPU: new(api.Millicores(cpu / n)), Memory: new(api.Mebibytes(h.rss.Load() / n / mebibyte)), LoopDelayMS: c.delay.Load(),
			})
		}
	}
	slices.SortFunc(u.Pods, func(a, b api.PodUsage) int {
		return cmp.Or(cmp.Compare(*b.CPU, *a.CPU), cmp.Compare(a.PodID, b.PodID))
	})
	u.Pods = u.Pods[:min(len(u.Pods), api.MaxUsagePods)]
	return u
}

// pressure is a condition that holds from low on, and no longer from enough on, so
// that it does not come and go at one mark.
type pressure struct {
	kind, reason, calm, message string
	low, enough                 int64 // per cent that are free
	on                          bool
}

func (p *pressure) judge(free, total int64) api.NodeCondition {
	if total > 0 {
		percent := 100 * free / total
		p.on = percent < p.low || p.on && percent < p.enough
	}
	if p.on {
		return api.NodeCondition{Type: p.kind, Status: true, Reason: p.reason, Message: p.message}
	}
	return api.NodeCondition{Type: p.kind, Reason: p.calm}
}

// health keeps what the conditions of the machine were.
type health struct {
	mu           sync.Mutex
	disk, memory pressure
}

func newHealth() *health {
	return &health{
		disk: pressure{
			kind: api.ConditionDiskPressure, reason: "DiskNearlyFull", calm: "EnoughDisk", low: 5, enough: 8,
			message: "less than 5 % of the disk that holds the agent's state is free: bundles and reports may not be kept",
		},
		memory: pressure{
			kind: api.ConditionMemoryPressure, reason: "MemoryNearlyFull", calm: "EnoughMemory", low: 5, enough: 8,
			message: "less than 5 % of the machine's memory is available",
		},
	}
}

// Conditions tells whether the state's disk or the machine's memory is nearly full;
// what cannot be read stays as it was.
func (e *Executor) Conditions() []api.NodeCondition {
	free, size := diskSpace(e.opts.StateDir)
	_, total, available, _ := machine()
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	return []api.NodeCondition{e.health.disk.judge(free, size), e.health.memory.judge(available, total)}
}

// diskSpace gives the bytes of a folder's file system that anybody may still take,
// and all of them.
func diskSpace(dir string) (free, size int64) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	// Of blocks that are root's alone nobody has anything.
	usable := st.Blocks - st.Bfree + st.Bavail
	return int64(st.Bavail) * int64(st.Bsize), int64(usable) * int64(st.Bsize)
}
