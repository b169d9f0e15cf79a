// Package container tries the migrations, the seed and the rights on the database
// image of Supabase itself, where a Docker engine runs and has the image; it never
// pulls one. Elsewhere that test is skipped with one line that says why, and the
// same check on the embedded database, which always runs, stands for it.
package container
