// Package supabase holds what a Supabase project of Stark consists of: the
// migrations, which are the only DDL, the configuration of the Supabase CLI and
// the development seed. Package migrate applies them.
package supabase

import "embed"

// Migrations holds migrations/*.sql, to be applied in the order of their names.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Config is config.toml of the Supabase CLI.
//
//go:embed config.toml
var Config []byte

// Seed is development data; it may be applied any number of times.
//
//go:embed seed.sql
var Seed []byte
