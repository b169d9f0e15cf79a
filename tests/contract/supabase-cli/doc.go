// Package supabasecli tries the folder supabase/ with the real Supabase CLI:
// configuration, migrations, seed and advisors. The CLI is fetched from npm at
// the version that package.json pins, once, into the user's cache folder; where
// that cannot be done, and with -short, the test is skipped and says why.
package supabasecli
