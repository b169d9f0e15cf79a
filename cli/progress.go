package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress draws how far an upload is; only at a terminal.
type progress struct {
	w     io.Writer // nil: nobody looks
	label string
	total int64

	mu    sync.Mutex // the sender and end draw
	last  time.Time
	drawn bool
}

const (
	progressWidth = 30
	progressEvery = 80 * time.Millisecond
)

func (a *app) progressBar(label string, total int64) *progress {
	p := &progress{label: label, total: total}
	if atTerminal(a.stderr) && a.format() == formatTable {
		p.w = a.stderr
	}
	return p
}

// set draws the bar, but not so often that drawing costs.
func (p *progress) set(sent int64) {
	if p.w == nil || p.total == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent < p.total && time.Since(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = time.Now(), true
	filled := int(min(sent, p.total) * progressWidth / p.total)
	bar := strings.Repeat("#", filled) + strings.Repeat("-", progressWidth-filled)
	fmt.Fprintf(p.w, "\r%s [%s] %3d%%  %s of %s", p.label, bar, sent*100/p.total, size(sent), size(p.total))
}

// end wipes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
