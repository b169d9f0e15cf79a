//go:build unix

package nodejs

import (
	"testing"
	"testing/synctest"
	"time"
)

// Starts come before the pool, but neither one that never ends nor a stream of them
// keeps it empty.
func TestThePoolWaitsForStartsButNotForEver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		starts func(p *pool, ended <-chan struct{})
		waits  time.Duration
	}{
		"none":    {func(*pool, <-chan struct{}) {}, 0},
		"a start": {func(p *pool, _ <-chan struct{}) { p.begin(); p.finish() }, poolQuiet},
		"a start that never ends": {func(p *pool, ended <-chan struct{}) {
			p.begin()
			<-ended
		}, poolLate},
		"a stream of starts": {func(p *pool, ended <-chan struct{}) {
			for {
				p.begin()
				p.finish()
				select {
				case <-time.After(poolQuiet / 2):
				case <-ended:
					return
				}
			}
		}, poolLate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPool(nil, 1, 0)
				ended := make(chan struct{})
				defer close(ended)
				go c.starts(p, ended)
				synctest.Wait()
				begin := time.Now()
				for _, missing, quiet := p.missing(); missing && quiet > 0; _, missing, quiet = p.missing() {
					time.Sleep(quiet)
				}
				if waited := time.Since(begin); waited != c.waits {
					t.Errorf("the pool waited for %s, want %s", waited, c.waits)
				}
			})
		})
	}
}
