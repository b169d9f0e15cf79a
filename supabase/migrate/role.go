package migrate

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ServerRole is the login of the servers: it may become authenticated or
// service_role, and has no rights of its own.
const ServerRole = "stark_server"

// ErrServerRole is returned where the database does not let the caller make
// ServerRole or give it its memberships, as Postgres 16 and later do without the
// admin option. The servers then log in as postgres, which is a member of both
// roles, and take one of them in every transaction.
var ErrServerRole = errors.New("the role " + ServerRole + " cannot be made here: log in as postgres instead")

const insufficientPrivilege = "42501"

// EnsureServerRole makes ServerRole with the password, or gives the existing one
// that password and its memberships. The password does not leave this process:
// the database gets the verifier alone.
func EnsureServerRole(ctx context.Context, conn *pgx.Conn, password string) error {
	verifier, err := scram(password)
	if err != nil {
		return fmt.Errorf("server role: %w", err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_roles where rolname = $1)`,
			pgx.QueryExecModeExec, ServerRole).Scan(&exists); err != nil {
			return err
		}
		verb := "create"
		if exists {
			verb = "alter"
		}
		for _, sql := range []string{
			verb + ` role ` + ServerRole + ` with login noinherit password '` + verifier + `'`,
			`grant authenticated, service_role to ` + ServerRole,
			// Postgres looks names up when a statement is prepared, before the
			// transaction takes a role: this lets it find them, and do nothing.
			`grant usage on schema stark to ` + ServerRole,
		} {
			if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
	if fault, ok := errors.AsType[*pgconn.PgError](err); ok && fault.Code == insufficientPrivilege {
		return fmt.Errorf("%w (%s)", ErrServerRole, fault.Message)
	}
	return wrap("server role", err)
}

// scram makes the verifier that Postgres stores for a password (RFC 5803). Its
// alphabet has no character that SQL would have to quote.
func scram(password string) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive key: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s",
		iterations, encode(salt), encode(stored[:]), encode(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // a hash never fails
	return h.Sum(nil)
}
