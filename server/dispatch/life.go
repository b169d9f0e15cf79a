package dispatch

import "sync"

// life counts what runs for a session beside its reader.
type life struct {
	mu   sync.Mutex
	over bool
	wg   sync.WaitGroup
}

// run starts f, unless the session is over.
func (l *life) run(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.wg.Go(f)
	}
}

// end waits for all that runs; nothing is started any more.
func (l *life) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.wg.Wait()
}

// wish is for something that one goroutine does, which is there only while there is
// something to do. Wishes that come together are one.
type wish struct {
	mu    sync.Mutex
	made  bool
	doing bool
	start func() // starts who does it; nil until somebody can
}

// open says how to start who does it, which goes on until take says no.
func (w *wish) open(start func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start = start
	w.begin()
}

func (w *wish) make() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = true
	w.begin()
}

// begin needs the lock.
func (w *wish) begin() {
	if w.made && !w.doing && w.start != nil {
		w.doing = true
		w.start()
	}
}

// take reports whether there is a wish to fulfil.
func (w *wish) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing = w.made
	w.made = false
	return w.doing
}
