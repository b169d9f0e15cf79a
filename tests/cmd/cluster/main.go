// Command cluster runs several servers behind a balancer and several nodes on this
// machine, for trying by hand what happens when one of them goes.
//
// usage: cluster -stark path [-servers n] [-nodes n]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stark-orchestrator/stark/shared/api"
	"github.com/stark-orchestrator/stark/shared/client"
	"github.com/stark-orchestrator/stark/tests/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// program stays until it is told to stop.
const program = `exports.default = async ({ pod, log, signal, ready }) => {
  log.info("attempt " + pod.attempt + " in incarnation " + pod.incarnation);
  ready();
  await new Promise((done) => signal.addEventListener("abort", done));
};`

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	stark := flags.String("stark", "", "path of the stark binary")
	servers := flags.Int("servers", 2, "servers behind the balancer, 1 to 9")
	nodes := flags.Int("nodes", 5, "nodes, 0 to 50")
	if err := flags.Parse(args); err != nil {
		return err
	}
	const maxServers, maxNodes = 9, 50
	if *servers < 1 || *servers > maxServers || *nodes < 0 || *nodes > maxNodes || *stark == "" {
		return fmt.Errorf("-stark must be given, -servers from 1 to %d, -nodes from 0 to %d", maxServers, maxNodes)
	}
	path, err := filepath.Abs(*stark)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "stark-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintf(out, "starting Postgres, auth and storage, %d servers and %d nodes\n", *servers, *nodes)
	c, err := harness.Start(ctx, harness.Options{Stark: path, Dir: dir, Servers: *servers})
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(out, "\nstopping")
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, c.Close(closing))
	}()
	return work(ctx, c, *nodes, out)
}

func work(ctx context.Context, c *harness.Cluster, nodes int, out io.Writer) error {
	agents := make([]*harness.Process, nodes)
	for i := range agents {
		var err error
		if agents[i], err = c.Agent(ctx, fmt.Sprintf("node-%d", i+1), "--warm-pool", "0"); err != nil {
			return err
		}
	}
	_, err := c.Client.CreatePack(ctx, api.CreatePackRequest{Name: "steady", Version: "1.0.0", RuntimeTag: api.TagUniversal}, client.Bundle{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(program)), nil }, Size: int64(len(program)),
	})
	if err != nil {
		return err
	}
	login, err := c.CLI(ctx, harness.AdminPassword+"\n", "auth", "login", "--email", harness.AdminEmail, "--password-stdin")
	if err != nil || login.Code != 0 {
		return errors.Join(err, errors.New(login.Stderr))
	}
	tell(ctx, c, agents, out)
	<-ctx.Done()
	return nil
}

// tell says what there is and what to try.
func tell(ctx context.Context, c *harness.Cluster, agents []*harness.Process, out io.Writer) {
	leaders := map[*harness.Server]bool{}
	for _, s := range c.Leaders(ctx) {
		leaders[s] = true
	}
	fmt.Fprintf(out, "\n  balancer  %s   all commands and nodes talk to this\n", c.URL)
	for _, s := range c.Servers {
		role := ""
		if leaders[s] {
			role = "   leads"
		}
		fmt.Fprintf(out, "  server    %s   process %d%s\n", s.URL, s.PID(), role)
	}
	for i, a := range agents {
		fmt.Fprintf(out, "  node-%d    process %d\n", i+1, a.PID())
	}
	fmt.Fprintf(out, "  database  %s\n", c.Stack.DBURL)
	fmt.Fprintf(out, `
next, in another terminal, signed in as %s (%s):
  export STARK_HOME=%s STARK_API_URL=%s PATH=%s:$PATH
  for i in 1 2 3 4 5; do stark pod create steady; done; stark pod list
  stark node list --watch
  kill -TERM <server>    its lease and its nodes go over to the other at once
  kill -9 <server>       the other follows within 16 s; pods are not touched
  kill -STOP <server>    and -CONT after 20 s: what it had planned is refused
  kill -9 <node>         its pods are placed elsewhere after a minute and a half
Ctrl-C ends all.
`, harness.AdminEmail, harness.AdminPassword, filepath.Join(c.Dir, "home"), c.URL, filepath.Dir(c.Stark))
}
