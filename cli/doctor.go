package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/server"
)

// findingStatus is how a check went.
type findingStatus string

const (
	findingOK      findingStatus = "ok"
	findingWarning findingStatus = "warning" // works, but not as it should
	findingFailed  findingStatus = "failed"
	findingSkipped findingStatus = "skipped" // could not be tried
)

// finding is what one check has found, and what helps.
type finding struct {
	Check   string        `json:"check"`
	Status  findingStatus `json:"status"`
	Message string        `json:"message"`
	Fix     string        `json:"fix,omitempty"`
}

// doctor runs the checks one after the other; later ones build on earlier ones.
type doctor struct {
	app      *app
	config   server.Config
	token    string // access token of the kept session, if any
	report   func(finding)
	findings []finding
}

func (a *app) doctorCommand() *cobra.Command {
	var fromStatus bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the set-up, and say how to mend it",
		Long: `Check this machine, the server, and the Supabase project that the environment
names by the variables of "stark server start": its keys, database, migrations,
token hook, bucket, LISTEN and connections. Nothing is changed. Each finding comes
with what helps; the exit code is 1 when something is wrong.`,
		Example: "  stark doctor\n  stark doctor --supabase\n  stark doctor -o json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), fromStatus) },
	}
	cmd.Flags().BoolVar(&fromStatus, "supabase", false, "check the project that `supabase status` shows")
	return cmd
}

func (a *app) doctor(ctx context.Context, fromStatus bool) error {
	live := a.format() == formatTable
	d := &doctor{app: a, report: func(f finding) {
		if live {
			a.printFinding(f)
		}
	}}
	d.machine(ctx)
	d.server(ctx)
	if d.settings(ctx, fromStatus) {
		d.project(ctx)
		d.database(ctx)
	}
	if !live {
		v := view[finding]{kind: "check", id: func(f finding) string { return f.Check + "/" + string(f.Status) }}
		if err := printList(a, v, d.findings); err != nil {
			return err
		}
	}
	counts := map[findingStatus]int{}
	for _, f := range d.findings {
		counts[f.Status]++
	}
	if live {
		fmt.Fprintf(a.stdout, "\n%d ok, %s, %d failed, %d skipped\n",
			counts[findingOK], plural(counts[findingWarning], "warning"), counts[findingFailed], counts[findingSkipped])
	}
	if counts[findingFailed] > 0 {
		return silent(exitError)
	}
	return nil
}

// printFinding writes a finding, and what helps under it.
func (a *app) printFinding(f finding) {
	const name = 14 // the longest of a check
	fmt.Fprintf(a.stdout, "[%-7s] %-*s %s\n", f.Status, name, f.Check, f.Message)
	if f.Fix != "" {
		_, _ = io.WriteString(a.stdout, strings.Repeat(" ", name-3)+"fix: "+f.Fix+"\n")
	}
}

func (d *doctor) add(status findingStatus, check, fix, format string, args ...any) {
	f := finding{Check: check, Status: status, Message: clean(fmt.Sprintf(format, args...)), Fix: fix}
	d.findings = append(d.findings, f)
	d.report(f)
}

func (d *doctor) ok(check, format string, args ...any) { d.add(findingOK, check, "", format, args...) }

func (d *doctor) warn(check, fix, format string, args ...any) {
	d.add(findingWarning, check, fix, format, args...)
}

func (d *doctor) fail(check, fix, format string, args ...any) {
	d.add(findingFailed, check, fix, format, args...)
}

func (d *doctor) skip(check, fix, format string, args ...any) {
	d.add(findingSkipped, check, fix, format, args...)
}

// settings reads what names the project, and reports whether there is one to check.
func (d *doctor) settings(ctx context.Context, fromStatus bool) bool {
	const check = "settings"
	getenv := d.app.getenv
	if fromStatus {
		p, err := runningProject(ctx)
		if err != nil {
			d.fail(check, d.app.hint(err), "%s", message(err))
			return false
		}
		getenv = withProject(getenv, p)
	}
	named := false
	for _, name := range []string{"SUPABASE_URL", "STARK_DATABASE_URL", "DATABASE_URL", "SUPABASE_DB_URL"} {
		named = named || getenv(name) != ""
	}
	if !named {
		d.skip(check, "set the variables that `stark server start --help` lists, or use --supabase", "the environment names no project, so it is not checked")
		return false
	}
	var err error
	if d.config, err = server.LoadConfig(getenv); err != nil {
		lines := strings.Split(err.Error(), "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(strings.TrimSpace(lines[i]), "- ")
		}
		d.fail(check, "correct the environment; docs/operations.md explains each variable", "%s", strings.Join(lines[min(1, len(lines)-1):], "; "))
		return false
	}
	d.ok(check, "%s, database as %s", d.config.SupabaseURL, orDefault(d.config.Sources["databaseUrl"], "`supabase status` says"))
	return true
}
