package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stark-orchestrator/stark/supabase"
)

// lockKey is the advisory lock under which each migration is applied, so that
// servers which start together take turns. Locks of transactions also work
// behind a pooler.
const lockKey = 7_814_269_350_112_001

// Migration is one version, as the files and the database know it.
type Migration struct {
	Version string // 14 digits
	Name    string
	Applied bool
	Unknown bool // recorded in the database, but not among the files of this program
}

// Error says which statement of which file failed.
type Error struct {
	File string // as in the repository, from folder supabase on
	Line int    // from 1
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap gives the fault of the database.
func (e *Error) Unwrap() error { return e.Err }

type file struct {
	version, name, path, text string
}

// Up applies what is missing, in order, each file in a transaction of its own,
// and returns the versions it applied. Several programs may call it at once.
// conn must not be in a transaction.
func Up(ctx context.Context, conn *pgx.Conn) (applied []string, err error) {
	return up(ctx, conn, supabase.Migrations)
}

func up(ctx context.Context, conn *pgx.Conn, from fs.FS) ([]string, error) {
	files, err := list(from)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, conn); err != nil {
		return nil, err
	}
	known, err := versions(ctx, conn)
	if err != nil {
		return nil, err
	}
	var applied []string
	for _, f := range files {
		if _, done := known[f.version]; done {
			continue
		}
		did, err := apply(ctx, conn, f)
		if err != nil {
			return applied, err
		}
		if did {
			applied = append(applied, f.version)
		}
	}
	return applied, nil
}

// Status lists every migration that the files or the database know, in order.
func Status(ctx context.Context, conn *pgx.Conn) ([]Migration, error) {
	files, err := list(supabase.Migrations)
	if err != nil {
		return nil, err
	}
	known, err := versions(ctx, conn)
	if err != nil {
		return nil, err
	}
	out := make([]Migration, 0, len(files))
	for _, f := range files {
		_, done := known[f.version]
		delete(known, f.version)
		out = append(out, Migration{Version: f.version, Name: f.name, Applied: done})
	}
	for version, name := range known {
		out = append(out, Migration{Version: version, Name: name, Applied: true, Unknown: true})
	}
	slices.SortFunc(out, func(a, b Migration) int { return strings.Compare(a.Version, b.Version) })
	return out, nil
}

// Seed applies the development data; it may run any number of times.
func Seed(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return run(ctx, tx, "supabase/seed.sql", split(string(supabase.Seed)))
	})
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}

func list(from fs.FS) ([]file, error) {
	names, err := fs.Glob(from, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	files := make([]file, 0, len(names))
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		version, title, ok := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		if !ok || len(version) != 14 {
			return nil, fmt.Errorf("migration %s: the name must be <14 digits>_<name>.sql", name)
		}
		if n := len(files); n > 0 && files[n-1].version == version {
			return nil, fmt.Errorf("migrations %s and %s have one version: the second would never be applied", files[n-1].path, "supabase/"+name)
		}
		files = append(files, file{version: version, name: title, path: "supabase/" + name, text: string(text)})
	}
	return files, nil
}

// prepare makes the record as the Supabase CLI makes it. Looking first spares
// the notices, and the locks, of the usual case.
func prepare(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		exists, err := recorded(ctx, tx)
		if err != nil || exists {
			return err
		}
		for _, sql := range []string{
			`create schema if not exists supabase_migrations`,
			`create table if not exists supabase_migrations.schema_migrations (version text not null primary key)`,
			`alter table supabase_migrations.schema_migrations add column if not exists statements text[]`,
			`alter table supabase_migrations.schema_migrations add column if not exists name text`,
		} {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the record of migrations: %w", err)
	}
	return nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// recorded reports whether the record is there with all of its columns.
func recorded(ctx context.Context, q querier) (bool, error) {
	var columns int
	err := q.QueryRow(ctx, `select count(*) from pg_catalog.pg_attribute
		where attrelid = to_regclass('supabase_migrations.schema_migrations')
		  and attname in ('version', 'statements', 'name') and not attisdropped`,
		pgx.QueryExecModeSimpleProtocol).Scan(&columns)
	return columns == 3, err
}

// versions returns the recorded versions with their names.
func versions(ctx context.Context, q querier) (map[string]string, error) {
	exists, err := recorded(ctx, q)
	if err != nil || !exists {
		return map[string]string{}, wrap("look for the record of migrations", err)
	}
	rows, err := q.Query(ctx, `select version, coalesce(name, '') from supabase_migrations.schema_migrations`,
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, fmt.Errorf("read the record of migrations: %w", err)
	}
	out := map[string]string{}
	var version, name string
	_, err = pgx.ForEachRow(rows, []any{&version, &name}, func() error {
		out[version] = name
		return nil
	})
	return out, wrap("read the record of migrations", err)
}

// apply runs one file unless another program has done so meanwhile.
func apply(ctx context.Context, conn *pgx.Conn, f file) (did bool, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		known, err := versions(ctx, tx)
		if err != nil {
			return err
		}
		if _, done := known[f.version]; done {
			return nil
		}
		statements := split(f.text)
		if err := run(ctx, tx, f.path, statements); err != nil {
			return err
		}
		texts := make([]string, len(statements))
		for i, s := range statements {
			texts[i] = s.text
		}
		if _, err := tx.Exec(ctx, `insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)`,
			pgx.QueryExecModeExec, f.version, f.name, texts); err != nil {
			return fmt.Errorf("record migration %s: %w", f.version, err)
		}
		did = true
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("migrate: %w", err)
	}
	return did, nil
}

// lock waits for other programs that migrate; later statements of the
// transaction give up sooner where somebody else holds a table.
func lock(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, pgx.QueryExecModeExec, int64(lockKey)); err != nil {
		return fmt.Errorf("wait for other migrations: %w", err)
	}
	_, err := tx.Exec(ctx, `set local lock_timeout = '30s'`, pgx.QueryExecModeSimpleProtocol)
	return wrap("set lock_timeout", err)
}

func run(ctx context.Context, tx pgx.Tx, name string, statements []statement) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s.text, pgx.QueryExecModeSimpleProtocol); err != nil {
			return &Error{File: name, Line: line(s, err), Err: err}
		}
	}
	return nil
}

// line finds where in the file a statement failed: where the database points to,
// else where the statement begins.
func line(s statement, err error) int {
	fault, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || fault.Position <= 0 {
		return s.line
	}
	runes := []rune(s.text)
	at := min(int(fault.Position)-1, len(runes))
	return s.begin + strings.Count(string(runes[:at]), "\n")
}

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// Digest names the content of all migrations, for whoever caches a migrated
// database.
func Digest() string {
	sum := sha256.New()
	names, err := fs.Glob(supabase.Migrations, "migrations/*.sql") // sorted
	for _, name := range names {
		var text []byte
		if text, err = supabase.Migrations.ReadFile(name); err != nil {
			break
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(text))
		sum.Write(text)
	}
	if err != nil { // an embedded file that cannot be read is a broken build
		panic(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
