package project

import (
	"fmt"
	"os"
	"strings"
)

// The variables that name a running Supabase.
const (
	envURL       = "STARK_TEST_SUPABASE_URL"
	envAnon      = "STARK_TEST_SUPABASE_ANON_KEY"
	envService   = "STARK_TEST_SUPABASE_SERVICE_ROLE_KEY"
	envDatabase  = "STARK_TEST_SUPABASE_DB_URL"
	envJWTSecret = "STARK_TEST_SUPABASE_JWT_SECRET" // where tokens are signed with HS256
	envReset     = "STARK_TEST_SUPABASE_RESET"      // true: everything of Stark in it may be removed
)

// Named tells whether the environment names a project.
func Named() bool { return os.Getenv(envURL) != "" }

// named gives the Supabase that the environment names; ok is false for none.
func named() (p Project, ok bool, err error) {
	p = Project{
		URL: strings.TrimRight(os.Getenv(envURL), "/"), AnonKey: os.Getenv(envAnon), ServiceRoleKey: os.Getenv(envService),
		DBURL: os.Getenv(envDatabase), JWTSecret: os.Getenv(envJWTSecret), resettable: os.Getenv(envReset) == "true",
	}
	p.PublishableKey, p.SecretKey = p.AnonKey, p.ServiceRoleKey
	if p.URL == "" {
		return p, false, nil
	}
	var missing []string
	for name, value := range map[string]string{envAnon: p.AnonKey, envService: p.ServiceRoleKey, envDatabase: p.DBURL} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return p, false, fmt.Errorf("%s is set, so set these too: %s", envURL, strings.Join(missing, ", "))
	}
	return p, true, nil
}
