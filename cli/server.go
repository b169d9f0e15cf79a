package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/stark-orchestrator/stark/server"
	"github.com/stark-orchestrator/stark/shared/logging"
	"github.com/stark-orchestrator/stark/supabase/migrate"
)

func (a *app) serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "server", Short: "Run the control plane",
		Example: "  stark server start\n  stark server start --host 0.0.0.0 --port 8480",
	}
	cmd.AddCommand(a.serverStartCommand())
	return cmd
}

func (a *app) serverStartCommand() *cobra.Command {
	var host string
	var port int
	var migrations, fromStatus bool
	cmd := &cobra.Command{
		Use: "start", Short: "Run a server until it is stopped",
		Long: `Run a server until it is stopped. It is configured by its environment:

  SUPABASE_URL
  SUPABASE_PUBLISHABLE_KEY or SUPABASE_ANON_KEY
  SUPABASE_SECRET_KEY or SUPABASE_SERVICE_ROLE_KEY
  STARK_DATABASE_URL or DATABASE_URL or SUPABASE_DB_URL

and a STARK_ variable for each setting that has a default. With --supabase it
asks "supabase status" for what is not set.`,
		Example: "  stark server start\n  stark server start --port 9000 --migrate\n  stark server start --supabase --migrate",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]string{}
			if cmd.Flags().Changed("host") {
				flags["STARK_HOST"] = host
			}
			if cmd.Flags().Changed("port") {
				flags["STARK_PORT"] = strconv.Itoa(port)
			}
			getenv := func(name string) string {
				if v, ok := flags[name]; ok {
					return v
				}
				return a.getenv(name)
			}
			if fromStatus {
				p, err := runningProject(cmd.Context())
				if err != nil {
					return err
				}
				getenv = withProject(getenv, p)
			}
			return a.serve(cmd.Context(), getenv, migrations)
		},
	}
	f := cmd.Flags()
	f.StringVar(&host, "host", "127.0.0.1", "address to listen on (env STARK_HOST)")
	f.IntVar(&port, "port", server.DefaultPort, "port to listen on (env STARK_PORT)")
	f.BoolVar(&fromStatus, "supabase", false, "take the project that `supabase status` shows; what is set in the environment goes before")
	f.BoolVar(&migrations, "migrate", false, "bring the database's schema up to date first")
	return cmd
}

func (a *app) serve(ctx context.Context, getenv func(string) string, migrations bool) error {
	cfg, err := server.LoadConfig(getenv)
	if err != nil {
		return withHint(err, "`stark server start --help` lists the variables; `stark dev` needs none")
	}
	cfg.Version = Version
	log := a.logger(cfg.LogLevel, "server")
	for _, setting := range slices.Sorted(maps.Keys(cfg.Sources)) {
		log.InfoContext(ctx, "setting from the environment", slog.String("setting", setting), slog.String("name", cfg.Sources[setting]))
	}
	if migrations {
		if err := migrateUp(ctx, cfg.DatabaseURL, log); err != nil {
			return err
		}
	}
	s, err := server.New(cfg, log)
	if err != nil {
		return err
	}
	if err := s.RunAlone(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func migrateUp(ctx context.Context, url string, log *slog.Logger) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the migrations are committed
	applied, err := migrate.Up(ctx, conn)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "schema is up to date", slog.Any("applied", applied))
	return nil
}

// logger writes JSON lines to stderr, or short coloured ones at a terminal.
func (a *app) logger(level slog.Level, component string) *slog.Logger {
	if !atTerminal(a.stderr) {
		return logging.New(a.stderr, level, component)
	}
	return slog.New(tint.NewTextHandler(a.stderr, &tint.Options{
		Level: level, TimeFormat: time.TimeOnly, NoColor: !a.color(a.stderr), ReplaceAttr: logging.Redact,
	}))
}
