package cli

import (
	"context"
	"io"
	"time"

	"golang.org/x/term"

	"github.com/stark-orchestrator/stark/shared/api"
)

// devKey is a single-key action of `stark dev` on a terminal.
type devKey byte

const (
	keyRestart devKey = 'r'
	keyPause   devKey = 'p'
	keyStatus  devKey = 's'
	keyOpen    devKey = 'o'
	keyClear   devKey = 'l'
	keyHelp    devKey = 'h'
	keyQuit    devKey = 'q'

	keyInterrupt devKey = 3 // Ctrl-C: a raw terminal sends no signal
	keyEnd       devKey = 4 // Ctrl-D
)

const keysHelp = `
  r  roll out again     s  show the pods      l  clear the screen
  p  pause, or go on    o  show the addresses q  stop everything`

// startKeys reads single keys when somebody sits at the terminal. What it gives back
// ends that; the channel has what the rollout has to do, and is nil without a terminal.
func (d *dev) startKeys(ctx context.Context) (keys <-chan devKey, end func()) {
	file, ok := d.app.stdin.terminal()
	if !ok || d.flags.json || d.flags.once || !atTerminal(d.out.stdout) || !inForeground(file) {
		return nil, func() {}
	}
	state, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, func() {} // some terminals cannot: Ctrl-C still works there
	}
	d.out.raw.Store(true)
	out := make(chan devKey, 1)
	// A read of the terminal cannot be broken off: it ends with the process.
	go d.readKeys(ctx, file, out)
	d.out.say("  keys: h help, q quit")
	return out, func() {
		d.out.raw.Store(false)
		if err := term.Restore(int(file.Fd()), state); err != nil {
			d.out.problem("terminal", err)
		}
	}
}

// readKeys does at once what needs nobody else, and hands the rest on. A key that comes
// while the one before it waits is dropped.
func (d *dev) readKeys(ctx context.Context, file io.Reader, out chan<- devKey) {
	name, buffer := d.source.Name, make([]byte, 1)
	for ctx.Err() == nil {
		if n, err := file.Read(buffer); err != nil || n == 0 {
			return
		}
		switch key := devKey(buffer[0]); key {
		case keyQuit, keyInterrupt, keyEnd:
			d.quit()
			return
		case keyHelp, '?':
			d.out.say("%s\n", keysHelp)
		case keyClear:
			d.out.say("\x1b[2J\x1b[3J\x1b[H  %s  keys: h help, q quit", name)
		case keyOpen:
			d.addresses()
		case keyStatus:
			d.showPods(ctx, name)
		case keyRestart, keyPause:
			select {
			case out <- key:
			default:
			}
		}
	}
}

// addresses shows where the parts are; no secret is among them.
func (d *dev) addresses() {
	d.out.say("\n  server    %s\n  api       %s/openapi.json\n  supabase  %s\n", d.cluster.URL, d.cluster.URL, d.cluster.Project.URL)
}

func (d *dev) showPods(ctx context.Context, name string) {
	page, err := d.client.ListPods(ctx, api.PodQuery{
		PageQuery: api.PageQuery{PageSize: api.MaxPageSize}, PackName: name, LabelSelector: devLabel + "=true",
	})
	if err != nil {
		d.out.problem("status", err)
		return
	}
	for _, p := range page.Items {
		if p.Status.Terminal() {
			continue
		}
		next := ""
		if p.Rollout != nil {
			next = "  -> " + p.Rollout.PackVersion
		}
		d.out.say("  %s %s%s  %s on %s  %s%s", p.PackName, p.PackVersion, next, podStatus(p), nodeOf(p), p.ID, because(p))
	}
}

// key does what a key asks of the rollout.
func (r *rollout) key(ctx context.Context, k devKey) {
	switch k {
	case keyPause:
		if r.paused = !r.paused; r.paused {
			r.dev.out.say("  paused: saves wait until you press p again")
		} else {
			r.dev.out.say("  going on")
		}
	case keyRestart:
		if err := r.again(ctx); err != nil && ctx.Err() == nil {
			r.dev.out.problem("pod", err)
		}
	default: // readKeys has done it
	}
}

// again rolls out what is on the disk, also when nothing has changed: then a new pod of
// the same version takes the place of the present one.
func (r *rollout) again(ctx context.Context) error {
	source, err := loadSource(r.dev.flags.folder)
	if err != nil {
		r.dev.out.problem("pack", err)
		return nil
	}
	if source.SHA256 != r.dev.source.SHA256 || source.Version != r.dev.source.Version {
		return r.next(ctx, source)
	}
	pack, err := r.dev.publish(ctx, source.registration)
	if err != nil {
		return err
	}
	r.dev.source, r.read = source, stamps(source.inputs)
	return r.renew(ctx, pack, time.Now())
}

// attend does what keys ask for until ctx ends, where no files are watched.
func (r *rollout) attend(ctx context.Context) error {
	for {
		select {
		case k := <-r.keys:
			r.key(ctx, k)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
