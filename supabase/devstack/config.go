package devstack

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pelletier/go-toml/v2"

	"github.com/stark-orchestrator/stark/supabase/devstack/auth"
	"github.com/stark-orchestrator/stark/supabase/devstack/rest"
)

// project is the part of config.toml that the stack obeys. Pointers tell absent keys from zero.
type project struct {
	API struct {
		Enabled    *bool    `toml:"enabled"`
		Schemas    []string `toml:"schemas"`
		SearchPath []string `toml:"extra_search_path"`
		MaxRows    *int64   `toml:"max_rows"`
	} `toml:"api"`
	Storage struct {
		FileSizeLimit string            `toml:"file_size_limit"`
		Buckets       map[string]bucket `toml:"buckets"`
	} `toml:"storage"`
	Auth struct {
		JWTExpiry            *int    `toml:"jwt_expiry"`
		Rotation             *bool   `toml:"enable_refresh_token_rotation"`
		ReuseInterval        *int    `toml:"refresh_token_reuse_interval"`
		SignUp               *bool   `toml:"enable_signup"`
		Anonymous            *bool   `toml:"enable_anonymous_sign_ins"`
		MinPassword          *int    `toml:"minimum_password_length"`
		PasswordRequirements *string `toml:"password_requirements"`
		Email                struct {
			SignUp        *bool `toml:"enable_signup"`
			Confirmations *bool `toml:"enable_confirmations"`
		} `toml:"email"`
		Hook struct {
			CustomAccessToken struct {
				Enabled bool   `toml:"enabled"`
				URI     string `toml:"uri"`
			} `toml:"custom_access_token"`
		} `toml:"hook"`
	} `toml:"auth"`
}

type bucket struct {
	Public           bool     `toml:"public"`
	FileSizeLimit    string   `toml:"file_size_limit"`
	AllowedMimeTypes []string `toml:"allowed_mime_types"`
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "!@#$%^&*()_+-=[]{};'\\:\"|<>?,./`~ "
)

// passwordClasses are the values of password_requirements.
var passwordClasses = map[string][]string{
	"":                                   nil,
	"letters_digits":                     {lower + upper, digits},
	"lower_upper_letters_digits":         {lower, upper, digits},
	"lower_upper_letters_digits_symbols": {lower, upper, digits, symbols},
}

func parseConfig(text []byte) (project, error) {
	var p project
	if err := toml.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("config.toml: %w", err)
	}
	return p, nil
}

// authConfig translates the section [auth].
func (p project) authConfig() (auth.Config, error) {
	c, a := auth.Defaults(), p.Auth
	set(&c.MinPassword, a.MinPassword)
	set(&c.Rotate, a.Rotation)
	set(&c.Anonymous, a.Anonymous)
	set(&c.SignUp, a.SignUp)
	if a.Email.SignUp != nil && !*a.Email.SignUp {
		c.SignUp = false
	}
	if a.Email.Confirmations != nil {
		c.AutoConfirm = !*a.Email.Confirmations
	}
	if a.JWTExpiry != nil {
		c.TokenLife = time.Duration(*a.JWTExpiry) * time.Second
	}
	if a.ReuseInterval != nil {
		c.ReuseInterval = time.Duration(*a.ReuseInterval) * time.Second
	}
	if a.PasswordRequirements != nil {
		classes, known := passwordClasses[*a.PasswordRequirements]
		if !known {
			return c, fmt.Errorf("config.toml: unknown auth.password_requirements %q", *a.PasswordRequirements)
		}
		c.PasswordClasses = classes
	}
	if hook := a.Hook.CustomAccessToken; hook.Enabled {
		name, err := hookName(hook.URI)
		if err != nil {
			return c, err
		}
		c.Hook = name
	}
	return c, nil
}

// restConfig translates the section [api]; off tells that it is switched off.
func (p project) restConfig() (c rest.Config, off bool) {
	c = rest.Config{Schemas: []string{"public"}, SearchPath: []string{"public", "extensions"}, MaxRows: 1000}
	set(&c.MaxRows, p.API.MaxRows)
	if p.API.Schemas != nil {
		c.Schemas = p.API.Schemas
	}
	if p.API.SearchPath != nil {
		c.SearchPath = p.API.SearchPath
	}
	return c, p.API.Enabled != nil && !*p.API.Enabled
}

func set[T any](into, value *T) {
	if value != nil {
		*into = *value
	}
}

// hookName reads pg-functions://<database>/<schema>/<function>.
func hookName(uri string) (pgx.Identifier, error) {
	rest, ok := strings.CutPrefix(uri, "pg-functions://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return nil, fmt.Errorf("config.toml: the hook %q is not of the form pg-functions://postgres/<schema>/<function>", uri)
	}
	return pgx.Identifier{parts[1], parts[2]}, nil
}

// size reads "50MiB", "20MB" or a plain number of bytes. All units count in 1024s, as the CLI does.
func size(text string) (int64, error) {
	number := strings.TrimRight(strings.TrimSpace(text), "bBiIkKmMgGtT ")
	unit := strings.ToLower(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), number)))
	factor, known := map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}[strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")]
	n, err := strconv.ParseFloat(number, 64)
	if bytes := n * float64(factor); err != nil || !known || !(bytes >= 0 && bytes <= 1<<50) { // NaN fails too
		return 0, fmt.Errorf("config.toml: %q is no size", text)
	}
	return int64(n * float64(factor)), nil
}
