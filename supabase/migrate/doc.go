// Package migrate applies the migrations of package supabase to a database and
// keeps the record that the Supabase CLI keeps, supabase_migrations.schema_migrations,
// so that either may go on where the other stopped. It needs no superuser: the
// role postgres of a Supabase project is enough. It never takes a migration back.
package migrate
