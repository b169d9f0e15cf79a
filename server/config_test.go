package server_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stark-orchestrator/stark/server"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func good() map[string]string {
	return map[string]string{
		"SUPABASE_URL": "http://127.0.0.1:54321/", "SUPABASE_ANON_KEY": "anon-key-1", "SUPABASE_SERVICE_ROLE_KEY": "service-key-1",
		"DATABASE_URL": "postgres://stark_server:dbpass1@127.0.0.1:54322/postgres",
	}
}

func TestLoadConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := server.LoadConfig(env(good()))
	if err != nil {
		t.Fatal(err)
	}
	if c.Address() != "127.0.0.1:8480" || !c.Loopback() || c.SupabaseURL != "http://127.0.0.1:54321" || c.SupabasePublicURL != c.SupabaseURL ||
		c.JWTIssuer != "http://127.0.0.1:54321/auth/v1" || c.JWTAudience != "authenticated" || c.ListenDatabaseURL != c.DatabaseURL {
		t.Errorf("got %+v", c)
	}
	if c.APIRate != (server.Rate{Requests: 600, Per: time.Minute}) || c.AuthRate != (server.Rate{Requests: 30, Per: time.Minute}) ||
		c.HeartbeatInterval != 0 || c.AdvertiseURL != "" || len(c.CORSOrigins) != 2 || c.LogLevel != slog.LevelInfo {
		t.Errorf("got %+v", c)
	}
	if c.Sources["anonKey"] != "SUPABASE_ANON_KEY" || c.Sources["databaseUrl"] != "DATABASE_URL" {
		t.Errorf("sources %v", c.Sources)
	}
}

// What stands around the page of tabs goes into a header: each is an origin and nothing else.
func TestOriginsThatMayAskForTabs(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]string{
		"": nil, "https://app.example.com, http://localhost:*": {"https://app.example.com", "http://localhost:*"}, "http://[::1]:8080/": {"http://[::1]:8080"},
	} {
		e := good()
		e["STARK_EMBED_ORIGINS"] = value
		if c, err := server.LoadConfig(env(e)); err != nil || !slices.Equal(c.EmbedOrigins, want) {
			t.Errorf("%q: got %v, %v", value, c.EmbedOrigins, err)
		}
	}
	for _, value := range []string{"*", "app.example.com", "https://*", "https://*.example.com", "https://a.example; script-src *", "https://a.example/path", "https://u@a.example", "https://", "ftp://a.example", "https://a.example 'self'", "https://:80"} {
		e := good()
		e["STARK_EMBED_ORIGINS"] = value
		if c, err := server.LoadConfig(env(e)); err == nil || !strings.Contains(err.Error(), "STARK_EMBED_ORIGINS") {
			t.Errorf("%q: got %v, %v", value, c.EmbedOrigins, err)
		}
	}
}

func TestLoadConfigFirstNameWins(t *testing.T) {
	t.Parallel()
	e := good()
	e["SUPABASE_PUBLISHABLE_KEY"], e["SUPABASE_SECRET_KEY"] = "sb_publishable_1", "sb_secret_1"
	e["STARK_DATABASE_URL"] = "postgresql://a@db.example/stark"
	e["SUPABASE_DB_URL"] = "postgres://never@never/never"
	e["STARK_LISTEN_DATABASE_URL"] = "postgres://a@direct.example/stark"
	e["STARK_HOST"], e["STARK_PORT"], e["STARK_ADVERTISE_URL"] = "0.0.0.0", "0", "https://one.example/"
	e["STARK_CORS_ORIGINS"] = "https://a.example/, https://b.example:*"
	e["STARK_TRUSTED_PROXIES"] = "10.0.0.0/8, 127.0.0.1,::1"
	e["STARK_RATE_LIMIT_API"], e["STARK_RATE_LIMIT_AUTH"] = "100/15m", "off"
	e["STARK_LOG_LEVEL"], e["STARK_SETUP_CODE"] = "debug", "long-enough"
	e["STARK_JWT_ISSUER"], e["STARK_SUPABASE_PUBLIC_URL"] = "https://other/auth/v1", "https://public.example"
	e["STARK_OPEN_REGISTRATION"] = "false"
	e["SUPABASE_JWT_SECRET"] = strings.Repeat("s", 32)
	c, err := server.LoadConfig(env(e))
	if err != nil {
		t.Fatal(err)
	}
	if c.AnonKey != "sb_publishable_1" || c.ServiceKey != "sb_secret_1" || c.DatabaseURL != e["STARK_DATABASE_URL"] || c.Sources["databaseUrl"] != "STARK_DATABASE_URL" {
		t.Errorf("got %+v", c)
	}
	if c.Loopback() || c.Port != 0 || c.APIRate.String() != "100/15m0s" || c.AuthRate.String() != "off" || c.CORSOrigins[0] != "https://a.example" ||
		c.OpenRegistration == nil || *c.OpenRegistration || len(c.TrustedProxies) != 3 || !c.TrustedProxies[0].Contains(netip.MustParseAddr("10.9.9.9")) || c.SupabasePublicURL != "https://public.example" ||
		c.AdvertiseURL != "https://one.example" {
		t.Errorf("got %+v", c)
	}
}

func TestLoadConfigTellsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := server.LoadConfig(env(map[string]string{
		"SUPABASE_URL": "ftp://x", "STARK_PORT": "99999", "STARK_ADVERTISE_URL": "one.example", "STARK_RATE_LIMIT_API": "fast", "STARK_TRUSTED_PROXIES": "me", "LOG_LEVEL": "loud",
		"STARK_DATABASE_URL": "mysql://u:dbpass1@h/d", "STARK_REQUEST_TIMEOUT": "0s", "SUPABASE_JWT_SECRET": "hunter2", "STARK_CORS_ORIGINS": "everywhere",
		"STARK_SETUP_CODE": "abc", "STARK_OPEN_REGISTRATION": "perhaps", "STARK_METRICS_TOKEN": "short",
	}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY or SUPABASE_ANON_KEY", "SUPABASE_SECRET_KEY or", "STARK_PORT", "STARK_RATE_LIMIT_API",
		"STARK_ADVERTISE_URL", "STARK_TRUSTED_PROXIES", "LOG_LEVEL", "STARK_DATABASE_URL", "STARK_REQUEST_TIMEOUT", "SUPABASE_JWT_SECRET", "STARK_CORS_ORIGINS", "STARK_SETUP_CODE",
		"STARK_OPEN_REGISTRATION", "STARK_METRICS_TOKEN",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not told: %v", name, err)
		}
	}
	for _, s := range []string{"dbpass1", "hunter2"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error holds the secret %q", s)
		}
	}
	_, err = server.LoadConfig(env(map[string]string{"SUPABASE_ANON_KEY": "same", "SUPABASE_SECRET_KEY": "same"}))
	if err == nil || !strings.Contains(err.Error(), "the same key") || !strings.Contains(err.Error(), "set STARK_DATABASE_URL or DATABASE_URL or SUPABASE_DB_URL") {
		t.Errorf("got %v", err)
	}
}

func TestConfigLogsNoSecrets(t *testing.T) {
	t.Parallel()
	c, err := server.LoadConfig(env(good()))
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	slog.New(slog.NewJSONHandler(&buf, nil)).Info("configuration", slog.Any("config", c))
	for _, s := range []string{"anon-key-1", "service-key-1", "dbpass1"} {
		if strings.Contains(buf.String(), s) {
			t.Errorf("the log holds %q: %s", s, buf.String())
		}
	}
	if !strings.Contains(buf.String(), "127.0.0.1:54322") {
		t.Errorf("the log does not tell the database: %s", buf.String())
	}
}
