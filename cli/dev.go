package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/cli/local"
	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/supabase/devstack/pg"
)

// devFlags is everything that `dev` takes.
type devFlags struct {
	folder             string
	dir                string
	port, supabasePort int
	noNode, once, json bool
	supabase           bool
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use: "dev [folder]", Short: "Run everything on this machine, and deploy a pack on every save",
		Long: `Run a whole cluster on this machine: Postgres with Supabase-compatible auth and
storage, a server, and a Node.js node. You are signed in as its admin.

With the folder of a pack, the pack is bundled and deployed, and again on every
save; without one, a built-in pack says hello. A saved version starts beside the
present one, which stops when the other is ready, and goes on when it fails. On a
terminal single keys do more: h lists them. Ctrl-C stops everything; the state stays
in the folder that --dir names, and the next start goes on from there.`,
		Example: "  stark dev\n  stark dev ./greeter\n  stark dev --once --json",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.folder = args[0]
			}
			return a.dev(cmd.Context(), f)
		},
	}
	p := cmd.Flags()
	p.StringVar(&f.dir, "dir", ".stark", "folder for the state")
	p.IntVar(&f.port, "port", server.DefaultPort, "port of the server; another one when it is taken")
	p.IntVar(&f.supabasePort, "supabase-port", local.DefaultSupabasePort, "port of the embedded Supabase; another one when it is taken")
	p.BoolVar(&f.noNode, "no-node", false, "start no node")
	p.BoolVar(&f.once, "once", false, "end as soon as the pack has run and its first log line has come back")
	p.BoolVar(&f.json, "json", false, "print one JSON object per line and step")
	p.BoolVar(&f.supabase, "supabase", false, "use the project that \"supabase status\" shows instead of the embedded one")
	return cmd
}

// dev is one run of `stark dev`.
type dev struct {
	app     *app
	flags   devFlags
	out     *devOutput
	begin   time.Time
	cluster *local.Cluster
	client  *client.Client
	source  devSource

	chosen string // the server that commands talked to before
	quit   func() // as Ctrl-C does
}

// closeTimeout bounds the end: pods get their grace periods.
const closeTimeout = 60 * time.Second

func (a *app) dev(ctx context.Context, f devFlags) error {
	if err := supported(); err != nil {
		return err
	}
	if f.once && f.noNode {
		return usagef("--once needs a node: leave --no-node out")
	}
	const maxPort = 65535
	if min(f.port, f.supabasePort) < 0 || max(f.port, f.supabasePort) > maxPort {
		return usagef("--port and --supabase-port: want 1 to %d, or 0 for any", maxPort)
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	d := &dev{app: a, flags: f, quit: quit, begin: time.Now(), out: newDevOutput(a, f.json)}
	err := d.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		d.out.say("stopped; the state is in %s", f.dir)
		return nil
	}
	if failed, ok := errors.AsType[stepError](err); ok && f.json {
		d.out.fail(failed)
		return silent(exitError)
	}
	return err
}

func (d *dev) run(ctx context.Context) (err error) {
	d.out.say("stark %s  dev cluster   ctrl-c stops, state kept in %s\n", Version, d.flags.dir)
	if d.source, err = loadSource(d.flags.folder); err != nil {
		return stepError{"pack", err}
	}
	dir, err := filepath.Abs(d.flags.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return stepError{"database", withHint(err, "name a folder of your own for the state with --dir")}
	}
	log, end, err := d.openLog(dir)
	if err != nil {
		return stepError{"database", withHint(err, "name a folder of your own for the state with --dir")}
	}
	defer end()
	defer context.AfterFunc(ctx, func() { d.out.quiet.Store(true) })()
	if err := d.startCluster(ctx, dir, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop(ctx)) }()
	return d.work(ctx)
}

func (d *dev) startCluster(ctx context.Context, dir string, log *slog.Logger) error {
	o := local.Options{
		Dir: dir, Port: d.flags.port, SupabasePort: d.flags.supabasePort, NoNode: d.flags.noNode,
		NodeName: "node-1", Version: Version, Logger: log, EmbedOrigins: d.app.getenv("STARK_EMBED_ORIGINS"),
		PasswordCost: d.app.passwordCost,
	}
	expected := []string{"database", "schema", "server", "you", "node"}
	if d.flags.supabase {
		project, err := d.findProject(ctx)
		if err != nil {
			return stepError{"database", err}
		}
		o.Project, o.KeptSession = &project, d.app.keptSession
		o.Account = local.Account{Email: d.app.getenv("STARK_EMAIL"), Password: d.app.getenv("STARK_PASSWORD")}
		if o.Account.Email == "" || o.Account.Password == "" {
			o.Account = local.Account{}
		}
		expected = expected[1:]
	}
	done := 0
	o.Report = func(s local.Step) {
		done++
		d.out.step(s.Name, s.Message, s.Took, s.Fields)
	}
	cluster, err := local.Start(ctx, o)
	if _, locked := errors.AsType[*pg.LockedError](err); locked {
		err = withHint(err, "one `stark dev` at a time uses a folder: stop the other, or name another folder with --dir")
	}
	if errors.Is(err, local.ErrUnknownAdmin) {
		err = exitCodeError{exitNotAllowed, withHint(err,
			"set STARK_EMAIL and STARK_PASSWORD to those of an account of the project, or sign in with `stark auth login` while a server runs on it at the same --port")}
	}
	if err != nil {
		return stepError{expected[min(done, len(expected)-1)], err}
	}
	d.cluster = cluster
	return nil
}

// stop ends the cluster; ctx has ended already when it was Ctrl-C.
func (d *dev) stop(ctx context.Context) error {
	d.out.quiet.Store(true)
	if ctx.Err() != nil {
		d.out.say("\nstopping")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(d.cluster.Close(ctx), d.giveBack(ctx))
}

// work deploys the pack and stays until ctx ends or a part of the cluster fails.
func (d *dev) work(ctx context.Context) error {
	if err := d.keepSession(ctx); err != nil {
		return stepError{"you", err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		select {
		case err := <-d.cluster.Failed():
			cancel(fmt.Errorf("a part of the cluster has ended: %w", err))
		case <-ctx.Done():
		}
	}()
	err := d.deployAndStay(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	<-failed
	if err != nil && errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

func (d *dev) deployAndStay(ctx context.Context) error {
	r := &rollout{dev: d}
	defer r.wait()
	if err := r.first(ctx); err != nil {
		return stepError{"pod", err}
	}
	line := ""
	if d.flags.once {
		var err error
		if line, err = d.firstLine(ctx, r.current.ID); err != nil {
			return stepError{"log", err}
		}
	}
	d.ready(r, line)
	if d.flags.once {
		return nil
	}
	r.follow(ctx, r.current)
	var endKeys func()
	r.keys, endKeys = d.startKeys(ctx)
	defer endKeys()
	if d.flags.folder == "" {
		return r.attend(ctx)
	}
	return r.watch(ctx)
}

// ready says what there is and what to do next.
func (d *dev) ready(r *rollout, firstLine string) {
	c := d.cluster
	node := ""
	if c.Node != nil {
		node = "node-1"
	}
	fields := map[string]any{
		"apiUrl": c.URL, "supabaseUrl": c.Project.URL, "anonKey": c.Project.AnonKey,
		"serviceRoleKey": c.Project.ServiceRoleKey, "dbUrl": c.Project.DBURL,
		"email": c.Email, "password": c.Password, "node": node, "pod": r.current.ID,
	}
	if firstLine != "" {
		fields["log"] = firstLine
	}
	d.out.ready(time.Since(d.begin), fields)
	if d.flags.once {
		d.out.say("\n  %s | %s", r.current.PackName, firstLine)
		return
	}
	if d.chosen != "" {
		d.out.say("\n  commands of this user talk to %s until this ends, then to %s again", c.URL, d.chosen)
	}
	if d.flags.folder != "" {
		d.out.say("\n  watching %s - save a file to roll it out", d.flags.folder)
	}
	d.out.say("\n  next, in another terminal:\n    stark pod list\n    stark pod status %s\n    stark pod create %s --wait\n    stark status\n",
		r.current.ID, r.current.PackName)
}
