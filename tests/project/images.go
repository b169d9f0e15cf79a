package project

// The images of Supabase that the tests are meant for, in one place. They are never
// pulled: what is not there is not tried.
const (
	ImagePostgres = "supabase/postgres:17.4.1.067"
	ImageAuth     = "supabase/gotrue:v2.186.0"
	ImageStorage  = "supabase/storage-api:v1.44.2"
	ImageRest     = "postgrest/postgrest:v14.5"
)

// Images lists them all.
var Images = []string{ImagePostgres, ImageAuth, ImageStorage, ImageRest}
